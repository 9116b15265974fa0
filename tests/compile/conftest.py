from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """No graph of an earlier test counts in this one."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
