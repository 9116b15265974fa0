from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Set for each test, because other suites want another number."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """No graph of an earlier test counts in this one."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
