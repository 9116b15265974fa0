from collections.abc import Iterator

import pytest
import torch
from samples import load_hypothesis_profile

load_hypothesis_profile()


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """More than one, so that tasks are shared out; set for each test, because other suites want another number."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
