"""The rules that an adapter takes."""

from __future__ import annotations

from ..rule import AssignRule
from ..top_k_rules import Atss, TopKRule

StaticRule = AssignRule | Atss
"""Of any family that reads no predictions, for detectors whose losses hand none to an assigner."""

AnyRule = AssignRule | TopKRule
"""Of any family."""


def check_static_rule(rule: object) -> None:
    """Raises TypeError for what is no such rule."""
    if not isinstance(rule, StaticRule):
        raise TypeError(f"rule: expected an AssignRule or an Atss, got {type(rule).__name__}")


def check_any_rule(rule: object) -> None:
    """Raises TypeError for what is no rule."""
    if not isinstance(rule, AnyRule):
        raise TypeError(f"rule: expected an AssignRule or a rule of assign_top_k, got {type(rule).__name__}")
