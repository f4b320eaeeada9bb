"""Layers that differ: which of them are traced, and that these stand for the rest."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.runs.traced_run import RecipeAdapter, trace_run
from lora_explorer.memory.tracing.layers import layer_kinds, shallow_stack

from ..models import DEEPSEEK, GEMMA_3, LLAMA, peak_of, recipe_of, skeleton_of

STEP = Step(micro_batch_size=2, sequence_len=32)
JAMBA = {
    **LLAMA, "model_type": "jamba", "num_hidden_layers": 17, "num_experts": 4, "num_experts_per_tok": 2,
    "attn_layer_period": 8, "attn_layer_offset": 4, "expert_layer_period": 2, "expert_layer_offset": 1,
    "mamba_d_state": 4, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": 8,
}  # fmt: skip
QWEN_3_NEXT = {
    **LLAMA, "model_type": "qwen3_next", "num_hidden_layers": 12, "head_dim": 16, "num_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
}  # fmt: skip
LFM_2 = {
    **LLAMA, "model_type": "lfm2", "num_hidden_layers": 9,
    "layer_types": ["conv", "conv", "full_attention"] * 3,
}  # fmt: skip
GRANITE_HYBRID = {
    **LLAMA, "model_type": "granitemoehybrid", "num_hidden_layers": 10, "num_local_experts": 4,
    "num_experts_per_tok": 2, "shared_intermediate_size": 64, "mamba_n_heads": 8, "mamba_d_head": 16,
    "mamba_d_state": 16, "mamba_chunk_size": 16, "layer_types": ["mamba"] * 4 + ["attention"] + ["mamba"] * 5,
}  # fmt: skip
GEMMA_4 = {
    **LLAMA, "model_type": "gemma4_text", "num_hidden_layers": 12, "head_dim": 16, "sliding_window": 16,
    "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 512,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 2,
    "per_layer_config": {"5": {"head_dim": 32}, "11": {"head_dim": 32}},
}  # fmt: skip
PATTERN = {"lora_rank_pattern": {r"model\.layers\.2\.self_attn\.q_proj": 64}}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dense": (LLAMA, {}),
    "a rank of its own in one layer": (LLAMA, PATTERN),
    "some layers only": (LLAMA, {"peft_layers_to_transform": [1, 2, 5]}),
    "dense layers first, experts after": (DEEPSEEK, {}),
    "sliding and full attention": (GEMMA_3, {}),
    "recurrence, attention and experts": (JAMBA, {}),
    "linear attention and full attention": (QWEN_3_NEXT, {}),
    "convolutions and attention": (LFM_2, {}),
    "one layer of attention among recurrent ones": (GRANITE_HYBRID, {}),
    "wider heads in some layers": (GEMMA_4, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_kept_layers_stand_for_all(case: str) -> None:
    config, settings = CASES[case]
    skeleton, adapter = skeleton_of(config), RecipeAdapter(recipe_of(**settings))
    shallow, full = (trace_run(skeleton, STEP, adapter, full_depth=full) for full in (False, True))
    assert len(shallow.stack.kept) < len(full.stack.kept)
    assert Counter(shallow.trace.sizes_bytes) == Counter(full.trace.sizes_bytes)
    assert peak_of(shallow.trace) == pytest.approx(peak_of(full.trace), rel=1e-3)
    assert sum(r.size_bytes for r in shallow.residents) == sum(r.size_bytes for r in full.residents)
    assert Counter(shallow.trained) == Counter(full.trained)


def test_layers_of_one_kind_are_told_from_those_of_another() -> None:
    kinds = layer_kinds(skeleton_of(DEEPSEEK))
    assert kinds[0] == kinds[1] != kinds[2]
    assert len(set(kinds[2:])) == 1


def test_first_and_last_layer_are_kept_and_one_of_each_kind_between() -> None:
    assert shallow_stack("aaabbba").stands_in == (0, 1, 1, 3, 3, 3, 6)
    assert shallow_stack("a").stands_in == (0,)


def test_more_layers_at_the_end_are_kept_if_asked() -> None:
    assert shallow_stack("aaabbaaa", last=3).stands_in == (0, 1, 1, 3, 3, 5, 6, 7)
    assert shallow_stack("aa", last=3).stands_in == (0, 1)
