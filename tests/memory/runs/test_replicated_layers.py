"""Layers that PEFT replicates: their weights are there once, their adapters and activations as often as they run."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.memory import MemoryEstimate, estimate_memory

from ..models import LLAMA, model_of, recipe_of

FOUR_BIT = {"adapter": "qlora", "load_in_4bit": True}
DEEPER, SHALLOWER, TWICE, INTERLEAVED = [[0, 5], [2, 7]], [[6, 7]], [[0, 2], [0, 2]], [[0, 1], [0, 7]]


def estimated(spans: list[list[int]] | None, *, full_depth: bool = False, **settings: Any) -> MemoryEstimate:
    recipe = recipe_of(peft_layer_replication=spans, gradient_checkpointing=True, **settings)
    return estimate_memory(recipe, model_of(LLAMA), full_depth=full_depth)


def part(estimate: MemoryEstimate, name: str) -> int:
    return dict(estimate.parts).get(name, 0)


@pytest.mark.parametrize("settings", [{}, FOUR_BIT], ids=["plain", "4-bit"])
@pytest.mark.parametrize("spans", [DEEPER, SHALLOWER, TWICE, INTERLEAVED], ids=str)
def test_a_few_layers_show_what_all_replicated_ones_do(spans: list[list[int]], settings: dict[str, Any]) -> None:
    few, whole = (estimated(spans, full_depth=full, **settings) for full in (False, True))
    assert few.parts == whole.parts
    for name in ("allocated_after_load_bytes", "peak_allocated_bytes", "peak_reserved_bytes"):
        assert getattr(few, name) == getattr(whole, name)


def test_replicated_layers_share_their_weights_and_have_adapters_of_their_own() -> None:
    once, deeper = estimated(None), estimated(DEEPER)
    assert part(deeper, "base weights") == part(once, "base weights")
    assert part(deeper, "adapter") == part(once, "adapter") * 10 // 7


def test_layers_that_are_left_out_are_not_held() -> None:
    only_last, once = estimated(SHALLOWER), estimated(None)
    assert part(only_last, "adapter") == part(once, "adapter") // 7
    assert part(only_last, "base weights") < part(once, "base weights")


def test_every_replica_has_a_copy_of_its_weight_s_quantization_state() -> None:
    states = [part(estimated(spans, **FOUR_BIT), "quantization state") for spans in (None, [[0, 7]], [[0, 7], [0, 7]])]
    assert states[1] == 2 * states[0]
    assert states[2] == 3 * states[0]
