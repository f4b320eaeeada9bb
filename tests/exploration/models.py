"""Small base models and recipes for the tests of exploration."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from small_architectures import DEEPSEEK_V3

from lora_explorer.base_models import BaseModel, base_model_from_config
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.memory import Card, find_card
from lora_explorer.settings import Recipe, recipe_from

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 4096,
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "n_embd": 64,
    "n_layer": 12,
    "n_head": 4,
    "vocab_size": 256,
    "n_positions": 1024,
}
QWEN_3_MOE: dict[str, Any] = {
    **LLAMA,
    "model_type": "qwen3_moe",
    "head_dim": 32,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "mlp_only_layers": [0],
}
MIXTRAL: dict[str, Any] = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
GPT_OSS: dict[str, Any] = {**MIXTRAL, "model_type": "gpt_oss", "head_dim": 32}
DEEPSEEK: dict[str, Any] = {**LLAMA, **DEEPSEEK_V3}
GEMMA_3: dict[str, Any] = {
    "model_type": "gemma3",
    "text_config": {**LLAMA, "model_type": "gemma3_text", "head_dim": 32, "sliding_window": 64},
    "vision_config": {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    },
    "mm_tokens_per_image": 1,
}
ARCHITECTURES = {
    "llama": LLAMA,
    "gpt2": GPT2,
    "qwen3-moe": QWEN_3_MOE,
    "mixtral": MIXTRAL,
    "gpt-oss": GPT_OSS,
    "deepseek-v3": DEEPSEEK,
    "gemma3": GEMMA_3,
}


def model_of(config: dict[str, Any] = LLAMA) -> BaseModel:
    return base_model_from_config(json.dumps(config), str(config["model_type"]))


def skeleton_of(config: dict[str, Any] = LLAMA) -> Skeleton:
    return load_skeleton(model_of(config))


def recipe_of(**settings: Any) -> Recipe:
    """None leaves a setting out."""
    values = {
        "adapter": "lora",
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_target_linear": True,
        "sequence_len": 256,
        "learning_rate": 0.0002,
        **settings,
    }
    return recipe_from({name: value for name, value in values.items() if value is not None})


def card_of(megabytes: int, name: str = "L4") -> Card:
    """A card whose allocator can take so much, of the kind of one that there is."""
    card = find_card(name)
    return replace(card, memory_bytes=card.context_bytes + (megabytes << 20))
