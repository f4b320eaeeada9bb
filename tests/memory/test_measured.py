"""Predictions against a few published measurements; benchmarks/accuracy.py holds them against all.

T4: FitCheck 0.3.1's measurement archive. A100: foundation-model-stack/fms-acceleration, a100_80gb.csv.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lora_explorer.memory.cards import WORKSPACE_BYTES
from lora_explorer.memory.prepared_model import Adapter, Everything
from lora_explorer.memory.step import Quantization, Step
from lora_explorer.memory.timeline import Replay, replay
from lora_explorer.memory.traced_run import timeline_of, trace_run

from .models import Lora, skeleton_of

SMOLLM2 = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
MISTRAL = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}
ON_T4 = Step(
    1,
    2048,
    loading="moved",
    dtype="float16",
    autocast=False,
    conversions="none",
    flash_kernels=False,
    checkpointing="non-reentrant",
    inputs_require_grads=False,
    keeps_outputs=True,
    attention_mask=False,
    optimizer="adamw_torch",
    clips_gradients=False,
)
ON_A100 = Step(
    4,
    4096,
    conversions="trl",
    attention="varlen",
    loss="shifted",
    checkpointing="reentrant",
    attention_mask=False,
    optimizer="adamw_torch",
)


def replayed(config: dict[str, Any], step: Step, adapter: Adapter) -> Replay:
    return replay(timeline_of(trace_run(skeleton_of(config), step, adapter), step, WORKSPACE_BYTES))


@pytest.mark.parametrize(
    ("attention", "peak", "reserved"),
    [("sdpa", 5_218_744_320, 5_660_213_248), ("eager", 5_983_418_368, 7_493_124_096)],
)
def test_smollm2_with_lora_on_a_t4_is_met_to_a_ten_thousandth(attention: Any, peak: int, reserved: int) -> None:
    result = replayed(SMOLLM2, replace(ON_T4, attention=attention), Lora(r=32))
    assert result.after_load_bytes == pytest.approx(3_473_085_440, rel=1e-4)
    assert result.peak_allocated_bytes == pytest.approx(peak, rel=1e-4)
    assert result.peak_reserved_bytes == pytest.approx(reserved, rel=1e-3)


@pytest.mark.parametrize(
    ("step", "adapter", "peak"),
    [
        (replace(ON_A100, inputs_require_grads=False), Everything(), 72_434_837_504),
        (ON_A100, Lora(r=16, dropout=0.1), 26_704_571_904),
        (replace(ON_A100, quantization=Quantization("nf4")), Lora(r=16, dropout=0.1), 16_373_838_336),
        (
            replace(ON_A100, quantization=Quantization("nf4"), kbit_preparation=True),
            Lora(r=16, dropout=0.1),
            20_669_338_112,
        ),
    ],
    ids=["full fine-tuning", "LoRA", "QLoRA", "QLoRA prepared by PEFT"],
)
def test_mistral_on_an_a100_is_met_to_two_thousandths(step: Step, adapter: Adapter, peak: int) -> None:
    assert replayed(MISTRAL, step, adapter).peak_allocated_bytes == pytest.approx(peak, rel=2e-3)
