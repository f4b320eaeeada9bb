"""The explanation of a peak: it holds at that moment, adds up, and says what the run really did."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from lora_explorer.memory import MemoryEstimate, estimate_memory
from lora_explorer.memory.explanation import Stretches
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.result import LargeStorage
from lora_explorer.memory.runs.traced_run import timeline_of, trace_run

from .models import LLAMA, Lora, llama_3_8b, model_of, recipe_of, skeleton_of

FULL = {"adapter": None, "lora_target_linear": None, "lora_r": None, "lora_alpha": None}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"gradient_checkpointing": True},
    {"adapter": "qlora", "load_in_4bit": True},
    {"lora_modules_to_save": ["lm_head"]},
    {"attn_implementation": "eager", "gradient_accumulation_steps": 2},
    FULL,
]
CUT = {"plugins": ["axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"]}


def estimated(**settings: Any) -> MemoryEstimate:
    return estimate_memory(recipe_of(**settings), model_of(LLAMA))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_curve_s_highest_point_is_the_peak_with_the_peak_s_parts(settings: dict[str, Any]) -> None:
    estimate = estimated(**settings)
    highest = max(estimate.curve, key=lambda point: point.live_bytes)
    assert highest.live_bytes == estimate.peak_allocated_bytes
    assert highest.parts == estimate.parts
    where = (highest.moment.phase, highest.moment.place, highest.moment.layer, highest.moment.step)
    peak = estimate.peak
    assert where == (peak.phase, peak.place, peak.layer, peak.step)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_parts_of_every_point_of_the_curve_add_up_to_it(settings: dict[str, Any]) -> None:
    for point in estimated(**settings).curve:
        assert sum(size for _, size in point.parts) == point.live_bytes


def test_the_curve_goes_up_through_the_layers_and_down_again() -> None:
    layers = LLAMA["num_hidden_layers"]
    curve = estimated().curve
    assert isinstance(layers, int)
    assert curve[0].moment.phase == "load"
    assert curve[-1].moment.phase == "optimizer"
    forward, backward = (
        [point for point in curve if point.moment.phase == phase and point.moment.layer is not None]
        for phase in ("forward", "backward")
    )
    assert [point.moment.layer for point in forward] == list(range(layers))
    assert [point.moment.layer for point in backward] == list(reversed(range(layers)))
    kept = [dict(point.parts)["saved activations"] for point in forward]
    assert kept == sorted(kept)
    assert {point.moment.step for point in curve[1:]} == {2}


def test_recomputation_is_named_only_where_layers_are_checkpointed() -> None:
    settings = {"sequence_len": 4096, **CUT}
    kept, recomputed = (
        estimate_memory(recipe_of(gradient_checkpointing=on, **settings), llama_3_8b()).peak for on in (False, True)
    )
    assert (recomputed.phase, recomputed.place, recomputed.num_layers) == ("backward", "layer", 32)
    assert recomputed.recomputation != "none"
    assert kept.recomputation == "none"


def test_a_recomputation_is_under_way_until_the_last_activation_is_made() -> None:
    step = Step(1, 256, checkpointing="reentrant")
    timeline = timeline_of(trace_run(skeleton_of(LLAMA), step, Lora()), step, 0)
    start, end = next(
        (start, end)
        for (start, segment), (end, _) in pairwise(timeline.marks)
        if segment.phase == "backward" and segment.place == "layer"
    )
    made = [n for n in range(start, end) if timeline.categories[max(timeline.events[n], 0)] == "saved activations"]
    told = [Stretches(timeline, 7).moment(n).recomputation for n in range(start, end)]
    assert told[made[0] - start] == "under way"
    assert told[-1] == "made"
    assert told == sorted(told, reverse=True)


def test_the_largest_storages_are_alive_at_the_peak_largest_first() -> None:
    estimate = estimate_memory(recipe_of(gradient_checkpointing=True, sequence_len=2048), llama_3_8b())
    sizes = [storage.size_bytes for storage in estimate.largest]
    assert sizes == sorted(sizes, reverse=True)
    of_part: dict[str, int] = {}
    for storage in estimate.largest:
        of_part[storage.part] = of_part.get(storage.part, 0) + storage.count * storage.size_bytes
    assert all(size <= dict(estimate.parts)[part] for part, size in of_part.items())
    bfloat16_table = 128_256 * 4096 * 2
    embedding_and_head = next(storage for storage in estimate.largest if storage.part == "base weights")
    assert (embedding_and_head.size_bytes, embedding_and_head.count) == (bfloat16_table, 2)
    assert embedding_and_head.made.phase == "load"


def test_the_logits_are_said_to_come_from_the_head() -> None:
    estimate = estimate_memory(recipe_of(gradient_checkpointing=True, sequence_len=2048), llama_3_8b())
    logits: LargeStorage = next(storage for storage in estimate.largest if storage.part == "logits and loss")
    assert logits.size_bytes == 2048 * 128_256 * 4
    assert logits.made.place == "head"


def test_copies_of_saved_modules_are_part_of_the_adapter() -> None:
    without, copied = (dict(estimated(lora_modules_to_save=saved).parts)["adapter"] for saved in (None, ["lm_head"]))
    vocabulary, hidden = LLAMA["vocab_size"], LLAMA["hidden_size"]
    assert isinstance(vocabulary, int)
    assert isinstance(hidden, int)
    assert copied - without >= 2 * vocabulary * hidden
