"""Rules of any family that reads no predictions, for detectors whose losses hand none to an assigner."""

from __future__ import annotations

from ..rule import AssignRule
from ..top_k_rules import Atss

StaticRule = AssignRule | Atss


def check_static_rule(rule: object) -> None:
    """Raises TypeError for what is no such rule."""
    if not isinstance(rule, (AssignRule, Atss)):
        raise TypeError(f"rule: expected an AssignRule or an Atss, got {type(rule).__name__}")
