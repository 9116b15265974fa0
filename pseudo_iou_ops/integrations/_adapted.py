"""Changing what an object of another project does, so that the change is part of the object.

A function or a bound method put into an instance is lost or left behind by some way of copying it: pickle, torch.save
of a whole model, a process that is spawned, the replicas of ``nn.DataParallel``. Here the object gets another class
instead, a subclass of its own in which the adapter's methods come first; every copy is of that class too.
"""

from __future__ import annotations

import functools
import types
from typing import Any, TypeVar

T = TypeVar("T")


def adapt(instance: T, methods: type) -> T:
    """Let an object have the methods of a class; those of an earlier adaptation go. Returns the object."""
    kind: type = type(instance)
    own: type = getattr(kind, "adapted_from", (None, kind))[1]
    instance.__class__ = _adapted_class(methods, own)
    return instance


@functools.cache
def _adapted_class(methods: type, own: type) -> type:
    """A subclass by the name of ``own``, whose objects tell pickle and copy how it is made: no module holds it."""
    body = {"adapted_from": (methods, own), "__reduce_ex__": _reduce, "__module__": own.__module__}
    return types.new_class(own.__name__, (methods, own), exec_body=lambda namespace: namespace.update(body))


def _reduce(instance: Any, protocol: Any) -> tuple[Any, ...]:
    usual: Any = object.__reduce_ex__(instance, max(int(protocol), 2))  # how it is made, from what, and its state
    return (_new, type(instance).adapted_from, *usual[2:])


def _new(methods: type, own: type) -> Any:
    """An empty object of an adapted class, for pickle and copy to fill."""
    kind: Any = _adapted_class(methods, own)
    return kind.__new__(kind)
