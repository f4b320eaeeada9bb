"""Recipes and small models for the tests of counts."""

from __future__ import annotations

import json
from typing import Any

from lora_explorer.adapters import AdapterPlan, plan_adapter
from lora_explorer.base_models import base_model_from_config, find_base_model
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.settings import Recipe, recipe_from

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
}
_EXPERTS = {**LLAMA, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16}
SMALL = {
    "llama": LLAMA,
    "llama-tied": {**LLAMA, "tie_word_embeddings": True},
    "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 4, "n_head": 4, "vocab_size": 256},
    "qwen3-moe": {**_EXPERTS, "model_type": "qwen3_moe"},
    "mixtral": {**LLAMA, "model_type": "mixtral", "num_local_experts": 4},
    "gpt-oss": {**LLAMA, "model_type": "gpt_oss", "num_local_experts": 4, "head_dim": 16},
    "deepseek-v3": {
        **LLAMA,
        "model_type": "deepseek_v3",
        "num_key_value_heads": 4,
        "first_k_dense_replace": 1,
        "n_routed_experts": 8,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "kv_lora_rank": 16,
        "q_lora_rank": 24,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
    },
    "gemma3": {
        "model_type": "gemma3",
        "text_config": {**LLAMA, "model_type": "gemma3_text", "head_dim": 16},
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        "mm_tokens_per_image": 4,
    },
}


def small(name: str) -> Skeleton:
    """A small model of a real family."""
    return load_skeleton(base_model_from_config(json.dumps(SMALL[name]), name))


def preset(name: str) -> Skeleton:
    return load_skeleton(find_base_model(name))


def recipe(**settings: Any) -> Recipe:
    return recipe_from({"adapter": "lora", "lora_r": 8, "lora_alpha": 16, "learning_rate": 1e-4, **settings})


def plan(skeleton: Skeleton, **settings: Any) -> AdapterPlan:
    return plan_adapter(recipe(**settings), skeleton)
