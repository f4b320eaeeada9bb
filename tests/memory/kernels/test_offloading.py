"""Activations that leave for the host: what stays on the device, and when what left comes back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from lora_explorer.memory.kernels.offloading import Offloading
from lora_explorer.memory.kernels.saved_tensors import SAVED_ON_THEIR_WAY, SavedTensors, StreamedTensors
from lora_explorer.memory.plan.run_plan import step_from
from lora_explorer.memory.plan.step import Checkpointing, Step
from lora_explorer.memory.replay.timeline import replay
from lora_explorer.memory.runs.traced_run import TracedRun, timeline_of, trace_run
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything
from lora_explorer.memory.watching.trace import Trace, Whole
from lora_explorer.memory.watching.watch import StorageWatch

from ..models import DEEPSEEK, GEMMA_3, LLAMA, MIXTRAL, Lora, peak_of, recipe_of, skeleton_of

WIDE = {**LLAMA, "hidden_size": 256, "intermediate_size": 640, "num_hidden_layers": 12}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
STEP = Step(2, 512, outputs_to_float32=False)
HIDDEN_BYTES = 2 * 512 * 256 * 2
LORA = Lora(targets=LINEAR)
FOUR_BIT = {"adapter": "qlora", "load_in_4bit": True, "gradient_checkpointing": True}


def traced(step: Step, *, full_depth: bool = False, layers: int = 12, adapter: Adapter = LORA) -> Trace:
    return trace_run(skeleton_of({**WIDE, "num_hidden_layers": layers}), step, adapter, full_depth=full_depth).trace


def alive_between_passes(trace: Trace) -> Counter[int]:
    """Sizes of what is there when the backward pass begins."""
    start = next(position for position, segment in trace.marks if segment.phase == "backward")
    born = Counter(number for number in trace.events[:start] if number >= 0)
    dead = Counter(~number for number in trace.events[:start] if number < 0)
    return Counter(trace.sizes_bytes[number] for number in born - dead)


def chained(manager: SavedTensors, count: int, elements: int) -> Tensor:
    """A chain of operations that each save their own output."""
    value = torch.empty(elements, device="meta", requires_grad=True)
    with saved_tensors_hooks(manager.pack, manager.unpack):
        for _ in range(count):
            value = value.exp()
    return value


def alive_at_the_end(watch: StorageWatch) -> int:
    return sum(1 if number >= 0 else -1 for number in watch.trace().events)


def test_a_synchronous_copy_leaves_nothing_behind() -> None:
    with StorageWatch("meta") as watch:
        output = chained(SavedTensors(), 20, 1000)
    assert alive_at_the_end(watch) == 2  # where the chain begins and ends
    del output


def test_a_streamed_copy_leaves_the_last_few_behind() -> None:
    with StorageWatch("meta") as watch:
        manager = StreamedTensors()
        output = chained(manager, 20, 1000)
    assert alive_at_the_end(watch) == SAVED_ON_THEIR_WAY + 1  # where the chain begins
    del output


def test_small_tensors_and_parameters_stay() -> None:
    weight = nn.Parameter(torch.empty(5000, device="meta"))
    manager = SavedTensors()
    for tensor, stays in ((torch.empty(100, device="meta"), True), (weight, True), (weight.detach() + 1, False)):
        assert (manager.unpack(manager.pack(tensor)) is tensor) is stays


def test_what_comes_back_has_the_shape_and_type_that_left() -> None:
    tensor = torch.empty(40, 60, 2, dtype=torch.bfloat16, device="meta").transpose(0, 1)
    manager = SavedTensors()
    back = manager.unpack(manager.pack(tensor))
    assert (back.shape, back.dtype) == (tensor.shape, tensor.dtype)
    assert back is not tensor


def test_a_storage_saved_again_while_it_leaves_stays_on_the_device() -> None:
    manager = StreamedTensors()
    tensor = torch.empty(5000, device="meta")
    manager.pack(tensor)
    again = manager.pack(tensor)
    found: list[Tensor] = []
    # Only a backward pass asks for what was saved.
    start = torch.zeros(1, requires_grad=True)
    start.register_hook(lambda _: found.append(manager.unpack(again)))  # type: ignore[no-untyped-call]
    start.sum().backward()
    assert found[0] is tensor


@pytest.mark.parametrize("kind", ["streamed", "synchronous", "hidden states"])
def test_what_came_back_does_not_outlive_the_backward_pass(kind: Offloading) -> None:
    step = replace(STEP, checkpointing="non-reentrant")
    plain, left = (traced(each, full_depth=True) for each in (step, replace(step, offloading=kind)))
    held = [Counter(trace.sizes_bytes[number] for number in trace.finish) for trace in (plain, left)]
    assert not held[1] - held[0]


@pytest.mark.parametrize("kind", ["streamed", "synchronous"])
def test_offloading_instead_of_checkpointing_makes_more_layers_cost_little(kind: Offloading) -> None:
    few, many = (peak_of(traced(STEP, layers=n)) for n in (6, 12))
    few_left, many_left = (peak_of(traced(replace(STEP, offloading=kind), layers=n)) for n in (6, 12))
    assert many_left - few_left < 0.25 * (many - few)
    assert many_left < many


def test_synchronous_copies_hold_less_than_streamed_ones() -> None:
    kinds: tuple[Offloading, ...] = ("streamed", "synchronous")
    streamed, synchronous = (peak_of(traced(replace(STEP, offloading=kind))) for kind in kinds)
    assert synchronous < streamed


@pytest.mark.parametrize("checkpointing", ["non-reentrant", "reentrant"])
def test_inputs_of_checkpointed_layers_leave_but_for_two(checkpointing: Checkpointing) -> None:
    step = replace(STEP, checkpointing=checkpointing)
    kept = alive_between_passes(traced(step, full_depth=True))[HIDDEN_BYTES]
    left = alive_between_passes(traced(replace(step, offloading="hidden states"), full_depth=True))[HIDDEN_BYTES]
    assert kept >= 12
    assert left <= kept - 12 + 2 + 1  # the embeddings, a leaf of the graph, are held by it


@pytest.mark.parametrize("checkpointing", ["non-reentrant", "reentrant"])
def test_leaving_inputs_come_back_for_the_backward_pass(checkpointing: Checkpointing) -> None:
    step = replace(STEP, checkpointing=checkpointing, offloading="hidden states")
    trace = traced(step, full_depth=True)
    gradients = [s for s, kind in zip(trace.sizes_bytes, trace.categories, strict=True) if kind == "gradients"]
    plain = traced(replace(step, offloading=None), full_depth=True)
    assert sorted(gradients) == sorted(
        s for s, kind in zip(plain.sizes_bytes, plain.categories, strict=True) if kind == "gradients"
    )
    assert peak_of(trace) < peak_of(plain)


@pytest.mark.parametrize(
    ("kind", "checkpointing"),
    [
        ("synchronous", None),
        ("synchronous", "non-reentrant"),
        ("synchronous", "reentrant"),
        ("hidden states", None),
    ],
)
def test_a_few_layers_show_what_all_of_them_do(kind: Offloading, checkpointing: Any) -> None:
    step = replace(STEP, offloading=kind, checkpointing=checkpointing)
    few, whole = (trace_run(skeleton_of(WIDE), step, LORA, full_depth=full) for full in (False, True))
    assert (few.stack.is_whole, whole.stack.is_whole) == (False, True)
    assert peak_of(few.trace) == peak_of(whole.trace)


def moments(run: TracedRun, step: Step) -> list[Any]:
    """Births with the bytes alive by then, where segments begin, and what an allocator makes of it."""
    timeline = timeline_of(run, step, 8 << 20)
    live = np.cumsum(np.where(timeline.events >= 0, 1, -1) * timeline.sizes_bytes[storages_of(timeline.events)])
    births = np.flatnonzero(timeline.events >= 0)
    replayed = [replay(timeline, expandable_segments=each) for each in (False, True)]
    return [live[births].tolist(), timeline.codes.tolist(), timeline.marks, replayed]


def storages_of(events: Whole) -> Whole:
    storages: Whole = np.where(events >= 0, events, ~events)
    return storages


@pytest.mark.parametrize("checkpointing", ["non-reentrant", "reentrant"])
@pytest.mark.parametrize("kind", ["streamed", "hidden states"])
@pytest.mark.parametrize(
    ("config", "layers"),
    [(LLAMA, 4), (LLAMA, 6), (LLAMA, 8), (LLAMA, 32), (GEMMA_3, 12), (GEMMA_3, 13), (MIXTRAL, 12), (DEEPSEEK, 11)],
    ids=lambda value: str(value["model_type"]) if isinstance(value, dict) else str(value),
)
def test_what_is_held_over_the_next_layers_is_known_from_a_few(
    config: dict[str, Any], layers: int, kind: Offloading, checkpointing: Checkpointing
) -> None:
    skeleton = skeleton_of({**config, "num_hidden_layers": layers})
    step = replace(STEP, offloading=kind, checkpointing=checkpointing)
    few, whole = (trace_run(skeleton, step, LORA, full_depth=full) for full in (False, True))
    # A checkpointed layer's own streams hold as much as its kind saves until the next layer is through: where kinds
    # alternate, a few layers do not show it.
    alternate = config is GEMMA_3 and (kind, checkpointing) == ("streamed", "reentrant")
    assert len(few.stack.kept) <= (layers if alternate else 6)
    assert moments(few, step) == moments(whole, step)


@pytest.mark.parametrize("kind", ["streamed", "hidden states"])
def test_embeddings_that_the_model_holds_itself_are_let_go_when_it_returns(kind: Offloading) -> None:
    adapter = Lora(targets=LINEAR, options=(("modules_to_save", ["embed_tokens"]),))
    skeleton = skeleton_of({**LLAMA, "num_hidden_layers": 9})
    step = replace(STEP, offloading=kind, checkpointing="non-reentrant")
    few, whole = (trace_run(skeleton, step, adapter, full_depth=full) for full in (False, True))
    assert moments(few, step) == moments(whole, step)


def test_a_fully_trained_model_is_checkpointed_and_its_layer_inputs_leave() -> None:
    step = replace(STEP, checkpointing="non-reentrant", inputs_require_grads=False)
    kept, left = (
        alive_between_passes(traced(each, full_depth=True, adapter=Everything()))[HIDDEN_BYTES]
        for each in (step, replace(step, offloading="synchronous"))
    )
    assert left <= kept - 11


@pytest.mark.parametrize(
    ("settings", "checkpointing", "kind"),
    [
        ({"gradient_checkpointing": True}, "non-reentrant", None),
        ({"gradient_checkpointing": True, "activation_offloading": True}, "non-reentrant", "streamed"),
        ({"gradient_checkpointing": "offload"}, "non-reentrant", "streamed"),
        ({"gradient_checkpointing": "offload_disk"}, "non-reentrant", "streamed"),
        ({"gradient_checkpointing": True, "activation_offloading": "legacy"}, "reentrant", "synchronous"),
        ({**FOUR_BIT, "activation_offloading": True}, "reentrant", "streamed"),
        ({**FOUR_BIT, "nf4_backend": "torchao", "activation_offloading": True}, "non-reentrant", "streamed"),
        ({**FOUR_BIT, "activation_offloading": "hidden_states"}, "non-reentrant", "hidden states"),
        (FOUR_BIT, "non-reentrant", None),
        ({"gradient_checkpointing": True, "activation_offloading": "disk"}, "non-reentrant", "streamed"),
        ({}, None, None),
        ({"gradient_checkpointing": True, "activation_offloading": "hidden_states"}, "non-reentrant", "hidden states"),
        (
            {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
            "reentrant",
            None,
        ),
    ],
    ids=str,
)
def test_settings_mean_what_axolotl_does_with_them(settings: dict[str, Any], checkpointing: Any, kind: Any) -> None:
    step = step_from(recipe_of(**settings), None)
    assert (step.checkpointing, step.offloading) == (checkpointing, kind)


@pytest.mark.parametrize("reentrant", [True, False])
def test_layers_of_a_fully_trained_model_are_never_checkpointed_reentrantly_beside_offloading(reentrant: bool) -> None:
    without = {"adapter": None, "lora_target_linear": None, "lora_r": None, "lora_alpha": None}
    kwargs = {"use_reentrant": reentrant}
    step = step_from(
        recipe_of(
            gradient_checkpointing=True, gradient_checkpointing_kwargs=kwargs, activation_offloading=True, **without
        ),
        None,
    )
    assert (step.checkpointing, step.offloading) == ("non-reentrant", "streamed")


@pytest.mark.parametrize("checkpointing", ["non-reentrant", "reentrant"])
@pytest.mark.parametrize("kind", ["streamed", "synchronous"])
def test_what_checkpointing_keeps_leaves_too(kind: Offloading, checkpointing: Checkpointing) -> None:
    step = replace(STEP, checkpointing=checkpointing)
    kept, left = (
        alive_between_passes(traced(each, full_depth=True))[HIDDEN_BYTES]
        for each in (step, replace(step, offloading=kind))
    )
    assert left <= kept - 12 + (SAVED_ON_THEIR_WAY if kind == "streamed" else 0) + 2
