"""Optimizer states and temporaries, from the real optimizers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.optimizers import OPTIMIZERS, PAGED, StepEvents, TrainedTensor, trace_optimizer
from lora_explorer.memory.watch import StorageWatch

TENSORS = (
    TrainedTensor((32, 4096), torch.float32),
    TrainedTensor((4096, 32), torch.float32),
    TrainedTensor((64, 4096), torch.float32, decayed=False),
)
PARAMS = 2 * 32 * 4096 + 64 * 4096


def state_bytes(name: str) -> int:
    first = trace_optimizer(name, TENSORS, clips_gradients=True).first
    return sum(s for s, kind in zip(first.sizes_bytes, first.categories, strict=True) if kind == "optimizer states")


def peak_of(events: StepEvents) -> int:
    live = peak = 0
    for number in events.events:
        live += events.sizes_bytes[number] if number >= 0 else -events.sizes_bytes[~number]
        peak = max(peak, live)
    return peak


@pytest.mark.parametrize(
    ("name", "bytes_a_param"),
    [
        ("adamw_torch", 8),
        ("adamw_torch_fused", 8),
        ("paged_adamw_32bit", 8),
        ("lion_32bit", 4),
        ("adagrad", 4),
        ("adamw_bnb_8bit", 2),
        ("adamw_8bit", 2),
        ("paged_adamw_8bit", 2),
        ("lion_8bit", 1),
        ("sgd", 0),
    ],
)
def test_states_take_the_known_bytes_a_parameter(name: str, bytes_a_param: float) -> None:
    # 8-bit states carry a float32 maximum for every 256 values, and tables.
    assert state_bytes(name) == pytest.approx(bytes_a_param * PARAMS, rel=0.03, abs=64)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_second_step_makes_no_new_state(name: str) -> None:
    later = trace_optimizer(name, TENSORS, clips_gradients=True).later
    assert "optimizer states" not in later.categories
    assert sum(n >= 0 for n in later.events) == sum(n < 0 for n in later.events)


def test_tensors_traced_one_by_one_equal_all_of_them_in_one_optimizer() -> None:
    parameters = [nn.Parameter(torch.empty(t.shape, device="meta")) for t in TENSORS[:2]]
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    optimizer = torch.optim.AdamW(parameters, foreach=True)
    watch = StorageWatch("meta")
    watch.ignore(iter([*parameters, *(p.grad for p in parameters if p.grad is not None)]))
    with watch:
        optimizer.step()
    together = trace_optimizer("adamw_torch", TENSORS[:2], clips_gradients=False).first
    trace = watch.trace()
    assert peak_of(together) == peak_of(StepEvents(tuple(trace.sizes_bytes), (), tuple(trace.events)))


def test_the_foreach_step_has_temporaries_as_large_as_the_gradients_and_the_fused_one_none() -> None:
    assert peak_of(trace_optimizer("adamw_torch", TENSORS, clips_gradients=False).later) >= PARAMS // 2 * 4
    assert peak_of(trace_optimizer("adamw_torch_fused", TENSORS, clips_gradients=False).later) == 0


def test_paged_optimizers_have_the_states_of_the_resident_ones() -> None:
    for name in PAGED & {"paged_adamw_8bit", "paged_lion_8bit", "paged_lion_32bit"}:
        assert state_bytes(name) == state_bytes(name.removeprefix("paged_"))


def test_an_unknown_optimizer_is_refused_in_a_sentence_at_its_setting() -> None:
    with pytest.raises(MemoryUnknown) as refusal:
        trace_optimizer("sophia", TENSORS, clips_gradients=True)
    (finding,) = refusal.value.findings
    assert finding.setting == "optimizer"
    assert "sophia" in finding.message
