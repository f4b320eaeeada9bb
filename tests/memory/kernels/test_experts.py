"""Experts: what their products leave behind, on real tensors and on cards without a grouped product."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.runs.traced_run import trace_run
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything

from ..models import DEEPSEEK, MIXTRAL, Lora, peak_of, skeleton_of
from ..tracing.test_one_pass import traced

SMALL = {**MIXTRAL, "num_hidden_layers": 2}
EXPERTS = (("target_parameters", ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),)
STEP = Step(
    micro_batch_size=2, sequence_len=64, autocast=False, attention="eager", conversions="none", kernels="host"
)  # fmt: skip
BEFORE_AMPERE = Step(micro_batch_size=2, sequence_len=64, dtype="float16", flash_kernels=False)


@pytest.mark.parametrize("checkpointing", [None, "reentrant"])
@pytest.mark.parametrize(
    "adapter", [Lora(), Lora(options=EXPERTS), Everything()], ids=["attention", "experts", "everything"]
)
def test_experts_leave_the_same_bytes_behind_on_real_tensors(adapter: Adapter, checkpointing: str | None) -> None:
    skeleton, step = skeleton_of(SMALL), replace(STEP, checkpointing=checkpointing)  # type: ignore[arg-type]
    meta, real = traced(skeleton, step, adapter), traced(skeleton, step, adapter, "cpu")
    assert Counter(real.sizes_bytes) == Counter(meta.sizes_bytes)
    assert peak_of(real) == peak_of(meta)


def test_fused_experts_can_be_adapted_and_a_few_layers_still_stand_for_all() -> None:
    skeleton, step, adapter = skeleton_of(MIXTRAL), replace(STEP, kernels="cuda"), Lora(options=EXPERTS)
    shallow, full = (trace_run(skeleton, step, adapter, full_depth=full).trace for full in (False, True))
    assert Counter(shallow.sizes_bytes) == Counter(full.sizes_bytes)
    assert peak_of(shallow) == peak_of(full)


@pytest.mark.parametrize("config", [MIXTRAL, DEEPSEEK], ids=lambda config: str(config["model_type"]))
def test_cards_before_ampere_make_gradients_of_frozen_experts(config: dict[str, object]) -> None:
    skeleton = skeleton_of(config)
    experts = [p for path, p in skeleton.model.named_parameters() if p.dim() == 3 and "experts" in path]
    largest = max(2 * parameter.numel() for parameter in experts)
    old, new = (trace_run(skeleton, replace(BEFORE_AMPERE, flash_kernels=new), Lora()).trace for new in (False, True))
    assert Counter(old.sizes_bytes)[largest] - Counter(new.sizes_bytes)[largest] >= skeleton.num_layers // 2
    assert len(old.sizes_bytes) > len(new.sizes_bytes)
