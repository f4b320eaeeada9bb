"""Which modules are adapted, and how strongly: what the map shows and what settings have to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lora_explorer.adapters.result import AdapterPlan


class Strength(NamedTuple):
    """Rank and alpha of one module."""

    r: int
    alpha: int


Assignment = Mapping[str, Strength]
"""Adapted modules and parameters by path. What is trained in full beside them is not part of it."""


def assignment_of(plan: AdapterPlan) -> Assignment:
    """What a plan adapts."""
    return {
        module.path: Strength(module.r, int(module.alpha))
        for module in plan.modules
        if module.r is not None and module.alpha is not None
    }
