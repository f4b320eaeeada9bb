"""Every causal language model type of transformers: its step is traced, or it is said why not, with a lower bound."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# benchmarks/architectures.py does the same and prints the table.
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "architectures.py"
FEWEST_TRACED = 150


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("architectures_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def outcomes(script: ModuleType) -> dict[str, Any]:
    return {name: script.try_type(name, tokens=16) for name in script.MODEL_TYPES}


def test_enough_types_are_traced(outcomes: dict[str, Any]) -> None:
    traced = [name for name, outcome in outcomes.items() if outcome.peak_bytes is not None]
    print(f"{len(traced)} of {len(outcomes)} causal language model types traced.")  # noqa: T201 - shown with -rP
    assert len(traced) >= FEWEST_TRACED


def test_a_type_that_is_not_traced_has_a_reason_and_if_it_can_be_built_a_lower_bound(outcomes: dict[str, Any]) -> None:
    for outcome in outcomes.values():
        if outcome.peak_bytes is None:
            assert outcome.reason.endswith((".", "…"))
            assert "\n" not in outcome.reason
            assert (outcome.at_least_bytes or 0) > 0 or outcome.layers == 0


def test_what_is_left_out_of_all_linear_layers_is_what_peft_cannot_adapt(outcomes: dict[str, Any]) -> None:
    less = {name: outcome.targets for name, outcome in outcomes.items() if " but " in outcome.targets}
    assert all(targets.endswith((" out_proj", " router", " o_a_proj")) for targets in less.values())
    assert len(less) < 0.1 * len(outcomes)


def test_few_layers_are_enough(outcomes: dict[str, Any]) -> None:
    deep = [name for name, outcome in outcomes.items() if outcome.layers > 8]
    assert len(deep) < 10
