"""Quantized base models hold the bytes that published runs report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.runs.traced_run import TracedRun, trace_run
from lora_explorer.memory.tracing.layers import whole_stack
from lora_explorer.memory.tracing.prepared_model import prepare
from lora_explorer.memory.tracing.quantization import quantization_tensors

from ..models import LLAMA, MIXTRAL, Lora, llama_3_8b, skeleton_of

LINEAR_PARAMS = 6_979_321_856  # of Llama-3-8B's layers
OTHER_PARAMS = 8_030_261_248 - LINEAR_PARAMS
ADAPTER_PARAMS = 13_631_488


def loaded(step: Step) -> TracedRun:
    return trace_run(load_skeleton(llama_3_8b()), step, Lora(r=16))


def held_bytes(run: TracedRun, *categories: str) -> int:
    return sum(resident.size_bytes for resident in run.residents if resident.category in categories)


def test_4_bit_with_double_quantization_holds_the_published_bytes() -> None:
    run = loaded(Step(1, 16, quantization=Quantization("nf4"), kbit_preparation=True))
    expected = LINEAR_PARAMS * (1 / 2 + 1 / 64 + 4 / 16384) + 2 * OTHER_PARAMS
    assert held_bytes(run, "base weights", "quantization state") == pytest.approx(expected, rel=1e-4)


def test_8_bit_holds_a_float32_scale_for_every_row() -> None:
    run = loaded(Step(1, 16, quantization=Quantization("int8"), kbit_preparation=True))
    rows = 32 * (2 * 4096 + 2 * 1024 + 2 * 14336 + 4096)
    assert held_bytes(run, "quantization state") == 4 * rows


def test_what_is_exempt_is_not_quantized_and_a_list_of_its_own_frees_the_head() -> None:
    usual, exempt = (
        loaded(Step(1, 16, quantization=Quantization("nf4", exempt=names))) for names in (None, ("down_proj",))
    )
    quantized = {r.path.rpartition(".")[0].rpartition(".")[2] for r in exempt.residents if r.quantized}
    assert "down_proj" not in quantized
    assert "lm_head" in quantized
    assert all("lm_head" not in r.path for r in usual.residents if r.quantized)


def test_without_double_quantization_each_block_of_64_has_a_float32_maximum() -> None:
    single, double = (
        loaded(Step(1, 16, quantization=Quantization("nf4", double_quant=double))) for double in (False, True)
    )
    difference = held_bytes(single, "quantization state") - held_bytes(double, "quantization state")
    assert difference == pytest.approx(LINEAR_PARAMS / 64 * 3 - LINEAR_PARAMS * 4 / 16384, rel=1e-3)


def test_8_bit_holds_one_byte_a_parameter_and_a_scale_a_row() -> None:
    run = loaded(Step(1, 16, quantization=Quantization("int8"), kbit_preparation=True))
    expected = LINEAR_PARAMS + 2 * OTHER_PARAMS
    assert held_bytes(run, "base weights") == pytest.approx(expected, rel=1e-4)


def test_lora_holds_two_bytes_a_base_parameter_and_four_an_adapter_parameter() -> None:
    run = loaded(Step(1, 16))
    assert held_bytes(run, "base weights") == pytest.approx(2 * (LINEAR_PARAMS + OTHER_PARAMS), rel=1e-6)
    assert held_bytes(run, "adapter") == 4 * ADAPTER_PARAMS


def test_pefts_preparation_leaves_what_is_not_quantized_in_float32() -> None:
    plain, prepared = (
        loaded(Step(1, 16, quantization=Quantization("nf4"), kbit_preparation=prepares, conversions="none"))
        for prepares in (False, True)
    )
    assert held_bytes(prepared, "base weights") - held_bytes(plain, "base weights") == 2 * OTHER_PARAMS


def test_experts_are_quantized_only_when_asked_for() -> None:
    step = Step(1, 16, quantization=Quantization("nf4"), kbit_preparation=True)
    skeleton = skeleton_of({**MIXTRAL, "hidden_size": 256, "intermediate_size": 512})
    with_experts = replace(step, kbit_preparation=False, quantization=Quantization("nf4", experts=True))
    left, packed = (held_bytes(trace_run(skeleton, each, Lora()), "base weights") for each in (step, with_experts))
    expert_params = 7 * 4 * 3 * 256 * 512
    assert left > 4 * expert_params  # PEFT's preparation turns them to float32
    assert left - packed == pytest.approx(3.5 * expert_params, rel=0.05)


def test_experts_in_8_bits_are_held_in_a_byte_and_a_scale_a_row_and_unpacked_into_float32() -> None:
    skeleton = skeleton_of({**MIXTRAL, "hidden_size": 256, "intermediate_size": 512})
    left, packed = (
        trace_run(skeleton, Step(1, 16, quantization=Quantization("int8", experts=experts)), Lora())
        for experts in (False, True)
    )
    expert_params, rows = 7 * 4 * 3 * 256 * 512, 7 * 4 * (2 * 512 + 256)
    saved = held_bytes(left, "base weights") - held_bytes(packed, "base weights")
    assert saved == expert_params - 4 * rows
    assert 4 * 4 * 2 * 256 * 512 in packed.trace.sizes_bytes


@pytest.mark.parametrize("dora", [False, True])
def test_four_bit_weights_can_be_adapted_by_dora_too(dora: bool) -> None:
    step = Step(1, 16, quantization=Quantization("nf4"))
    run = trace_run(skeleton_of(LLAMA), step, Lora(options=(("use_dora", dora),)))
    assert held_bytes(run, "base weights") > 0


@pytest.mark.parametrize(
    ("kind", "missing", "setting"),
    [("int8", "Linear8bitLt", "load_in_8bit"), ("nf4", "Linear4bit", "load_in_4bit")],
)
def test_a_quantization_that_the_installed_bitsandbytes_lacks_is_refused_at_its_setting(
    monkeypatch: pytest.MonkeyPatch, kind: Any, missing: str, setting: str
) -> None:
    import bitsandbytes

    monkeypatch.delattr(bitsandbytes.nn, missing)
    with pytest.raises(MemoryUnknown, match=missing) as refusal:
        trace_run(skeleton_of(LLAMA), Step(1, 16, quantization=Quantization(kind)), Lora())
    assert refusal.value.findings[0].setting == setting


def test_tables_that_need_no_place_on_the_device_can_stay_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    skeleton = skeleton_of(LLAMA)
    monkeypatch.setattr(type(skeleton.model), "_no_placement_params", ["embed_tokens.weight"], raising=False)
    on_device, on_host = (trace_run(skeleton, Step(1, 16, tables_on_host=host), Lora()) for host in (False, True))
    assert held_bytes(on_device, "base weights") - held_bytes(on_host, "base weights") == 512 * 64 * 2
    assert on_device.trace == on_host.trace


def test_the_output_head_is_not_quantized() -> None:
    step = Step(1, 16, quantization=Quantization("nf4"))
    model = prepare(skeleton_of(LLAMA), whole_stack(7), step, Lora())
    named = dict(model.named_modules())
    assert named["base_model.model.lm_head"].weight.dtype is torch.bfloat16
    assert quantization_tensors(named["base_model.model.model.layers.0.mlp.up_proj"])
