"""Which operators run, and which of them would wait for a device."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Recorder(TorchDispatchMode):
    """The names of the operators that run, and whether an index was a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        if name in ("index", "index_put", "index_put_"):
            masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
            name = "masked " + name if masks else name
        self.names.add(name)
        return func(*args, **(kwargs or {}))


WAITS_FOR_THE_DEVICE = {
    "nonzero",
    "item",
    "_local_scalar_dense",
    "is_nonzero",
    "masked_select",
    "masked index",
    "masked index_put",
    "masked index_put_",
    "unique",
    "_unique2",
    "equal",
}
