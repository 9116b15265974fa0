import sys

import pytest
from samples import load_hypothesis_profile

load_hypothesis_profile()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tells a failure when it comes: a run that is cut off at its limit does not reach pytest's list of them."""
    if report.failed:
        print(f"\n{report.nodeid}\n{report.longreprtext}", file=sys.stderr, flush=True)
