"""Optimizer states and temporaries, from the real optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers.optimization import Adafactor

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.plan.known_optimizers import OPTIMIZERS
from lora_explorer.memory.plan.optimizers import (
    SMALLEST_PAGED_PARAMS,
    StepEvents,
    TrainedTensor,
    managed_bytes,
    trace_optimizer,
    trained_tensors,
)
from lora_explorer.memory.watching.watch import StorageWatch

TENSORS = (
    TrainedTensor((32, 4096), torch.float32),
    TrainedTensor((4096, 32), torch.float32),
    TrainedTensor((64, 4096), torch.float32, decayed=False),
)
PARAMS = 2 * 32 * 4096 + 64 * 4096


def state_bytes(name: str) -> int:
    first = trace_optimizer(name, TENSORS, clips_gradients=True).first
    return sum(s for s, kind in zip(first.sizes_bytes, first.categories, strict=True) if kind == "optimizer states")


def held_bytes(watch: StorageWatch) -> int:
    trace = watch.trace()
    return sum(trace.sizes_bytes[n] if n >= 0 else -trace.sizes_bytes[~n] for n in trace.events)


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
        ("lion_32bit", 4),
        ("adagrad", 4),
        ("adamw_bnb_8bit", 2),
        ("adamw_8bit", 2),
        ("lion_8bit", 1),
        ("sgd", 0),
        ("rmsprop_bnb_32bit", 4),
        ("rmsprop_bnb_8bit", 1),
        ("adamw_torch_8bit", 2),
        ("adamw_torch_4bit", 1),
        ("ao_adamw_fp8", 2),
        ("optimi_adamw", 8),
        ("adopt_adamw", 8),
        ("adamc", 8),
        ("came_pytorch", 4.3),
        ("schedule_free_adamw", 8),
        ("grokadamw", 0),
        ("muon", 4),
        ("sinkgd", 0),
    ],
)
def test_states_take_the_known_bytes_a_parameter(name: str, bytes_a_param: float) -> None:
    # 8-bit states carry a float32 maximum for every 256 values, and tables.
    assert state_bytes(name) == pytest.approx(bytes_a_param * PARAMS, rel=0.04, abs=64)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_second_step_makes_no_new_state(name: str) -> None:
    tensors = tuple(tensor._replace(dtype=torch.bfloat16) for tensor in TENSORS)
    later = trace_optimizer(name, tensors, clips_gradients=True).later
    assert sum(n >= 0 for n in later.events) == sum(n < 0 for n in later.events)
    watch = StorageWatch("meta", {bool: True, int: 1, float: 1.0})
    parameters = [nn.Parameter(torch.empty(t.shape, dtype=t.dtype, device="meta")) for t in tensors]
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    watch.ignore(iter([*parameters, *(p.grad for p in parameters if p.grad is not None)]))
    held = []
    with torch.no_grad(), watch:
        optimizer = OPTIMIZERS[name].make([{"params": parameters}])
        for _ in range(3):
            optimizer.step()
            held.append(held_bytes(watch))
    assert held[1] == held[2] == held[0]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adamw_torch", lambda parameters: torch.optim.AdamW(parameters, foreach=True)),
        ("adafactor", lambda parameters: Adafactor(parameters, 1e-4, scale_parameter=False, relative_step=False)),
    ],
)
def test_the_trace_equals_one_optimizer_with_all_tensors(name: str, make: Callable[..., Any]) -> None:
    parameters = [nn.Parameter(torch.empty(t.shape, device="meta")) for t in TENSORS[:2]]
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    optimizer = make(parameters)
    watch = StorageWatch("meta", {bool: True, int: 1, float: 1.0})
    watch.ignore(iter([*parameters, *(p.grad for p in parameters if p.grad is not None)]))
    with torch.no_grad(), watch:
        optimizer.step()
    together = trace_optimizer(name, TENSORS[:2], clips_gradients=False).first
    trace = watch.trace()
    assert peak_of(together) == peak_of(StepEvents(tuple(trace.sizes_bytes), (), tuple(trace.events)))


def test_the_foreach_step_has_temporaries_as_large_as_the_gradients_and_the_fused_one_none() -> None:
    assert peak_of(trace_optimizer("adamw_torch", TENSORS, clips_gradients=False).later) >= PARAMS // 2 * 4
    assert peak_of(trace_optimizer("adamw_torch_fused", TENSORS, clips_gradients=False).later) == 0


@pytest.mark.parametrize("name", ["adamw_8bit", "lion_8bit", "lion_32bit", "ademamix_8bit"])
def test_what_a_paged_optimizer_manages_and_what_it_allocates_add_up_to_the_resident_states(name: str) -> None:
    managed = managed_bytes(f"paged_{name}", TENSORS)
    assert managed > 0
    assert managed + state_bytes(f"paged_{name}") == state_bytes(name)


def test_small_tensors_are_not_paged() -> None:
    for params, paged in ((SMALLEST_PAGED_PARAMS - 1, False), (SMALLEST_PAGED_PARAMS, True)):
        tensors = (TrainedTensor((params,), torch.float32),)
        trace = trace_optimizer("paged_adamw_32bit", tensors, clips_gradients=False)
        assert managed_bytes("paged_adamw_32bit", tensors) == (8 * params if paged else 0)
        assert ("optimizer states" in trace.first.categories) is not paged


def test_only_paged_optimizers_manage_memory_of_their_own() -> None:
    assert {name for name in OPTIMIZERS if managed_bytes(name, TENSORS)} == {
        f"paged_{name}" for name in ("adamw_8bit", "adamw_32bit", "lion_8bit", "lion_32bit", "ademamix_8bit")
    } | {"paged_ademamix_32bit"}


@pytest.mark.parametrize("name", ["muon", "muon_8bit", "dion", "sinkgd"])
def test_optimizers_of_matrices_give_embeddings_moments_of_their_own(name: str) -> None:
    matrix = TrainedTensor((512, 4096), torch.float32)
    own, embedding = (
        trace_optimizer(name, (tensor,), clips_gradients=False).first
        for tensor in (matrix, matrix._replace(embedding=True))
    )
    assert own.sizes_bytes != embedding.sizes_bytes
    states = [
        s for s, kind in zip(embedding.sizes_bytes, embedding.categories, strict=True) if kind == "optimizer states"
    ]
    assert sum(size >= 512 * 4096 for size in states) == 2


def test_embeddings_heads_and_saved_modules_are_known_by_their_paths() -> None:
    weight = nn.Parameter(torch.empty(2, 2, device="meta"))
    paths = (
        "model.embed_tokens.lora_embedding_A.default",
        "lm_head.modules_to_save.default.weight",
        "model.layers.0.self_attn.q_proj.lora_A.default.weight",
    )
    assert [tensor.embedding for tensor in trained_tensors([(path, weight) for path in paths])] == [True, True, False]


def test_low_precision_weights_get_what_rounding_took_away() -> None:
    low = (TrainedTensor((512, 4096), torch.bfloat16),)
    high = (TrainedTensor((512, 4096), torch.float32),)
    for name, a_param in (("optimi_adamw", 6), ("stable_adamw", 6)):
        first = trace_optimizer(name, low, clips_gradients=False).first
        states = sum(s for s, k in zip(first.sizes_bytes, first.categories, strict=True) if k == "optimizer states")
        assert states == a_param * 512 * 4096
        assert len(trace_optimizer(name, high, clips_gradients=False).first.sizes_bytes) < len(first.sizes_bytes)


def test_flashoptim_stops_where_everything_trained_is_in_float32() -> None:
    with pytest.raises(MemoryUnknown, match="float32"):
        trace_optimizer("flash_adamw", TENSORS, clips_gradients=True)
    low = tuple(tensor._replace(dtype=torch.bfloat16) for tensor in TENSORS)
    first = trace_optimizer("flash_adamw", low, clips_gradients=True).first
    states = sum(s for s, k in zip(first.sizes_bytes, first.categories, strict=True) if k == "optimizer states")
    assert states == pytest.approx((2 * (1 + 2 / 32) + 1) * PARAMS)


@pytest.mark.parametrize("name", ["polora", "lomo", "ao_adamw_8bit", "apollo_adamw", "galore_adamw_8bit_layerwise"])
def test_what_is_not_known_has_a_reason_and_a_suggestion_that_is_known(name: str) -> None:
    with pytest.raises(MemoryUnknown) as refusal:
        trace_optimizer(name, TENSORS, clips_gradients=True)
    (finding,) = refusal.value.findings
    assert finding.suggestion in OPTIMIZERS
    assert name in finding.message
    assert "cannot be traced here" not in finding.message


def test_an_optimizer_that_the_installed_bitsandbytes_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import bitsandbytes

    monkeypatch.delattr(bitsandbytes.optim, "AdEMAMix8bit")
    with pytest.raises(MemoryUnknown, match="AdEMAMix8bit"):
        trace_optimizer("ademamix_8bit", (TrainedTensor((3, 5), torch.float32),), clips_gradients=False)


def test_every_optimizer_that_the_page_offers_is_traced_or_refused_with_a_reason() -> None:
    from lora_explorer.memory.plan.published_optimizers import UNKNOWN
    from lora_explorer.settings.training import OPTIMIZERS as OFFERED

    assert set(OFFERED) <= set(OPTIMIZERS) | set(UNKNOWN)


def test_an_unknown_optimizer_is_refused_in_a_sentence_at_its_setting() -> None:
    with pytest.raises(MemoryUnknown) as refusal:
        trace_optimizer("sophia", TENSORS, clips_gradients=True)
    (finding,) = refusal.value.findings
    assert finding.setting == "optimizer"
    assert "sophia" in finding.message


def test_the_tables_of_an_8_bit_optimizer_are_there_once_however_many_tensors_it_trains() -> None:
    tensor = TrainedTensor((256, 256), torch.float32)
    one, ten = (trace_optimizer("adamw_8bit", (tensor,) * count, clips_gradients=False).first for count in (1, 10))
    tables_bytes = 2 * 256 * torch.float32.itemsize

    assert sum(ten.sizes_bytes) == 10 * (sum(one.sizes_bytes) - tables_bytes) + tables_bytes
