"""Recipes and cards that the tests of this folder share."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from lora_explorer.base_models import BaseModel, base_model_from_config
from lora_explorer.memory import Card, find_card
from lora_explorer.settings import Recipe, recipe_from

LLAMA = {
    "model_type": "llama",
    "vocab_size": 4096,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 8192,
}


@cache
def llama() -> BaseModel:
    return base_model_from_config(json.dumps(LLAMA), "owner/llama")


def recipe_of(**settings: Any) -> Recipe:
    return recipe_from(
        {
            "base_model": "owner/llama",
            "adapter": "lora",
            "lora_r": 16,
            "lora_alpha": 32,
            "lora_target_linear": True,
            "lora_mlp_kernel": False,
            "sequence_len": 2048,
            "micro_batch_size": 8,
            "learning_rate": 0.0002,
            **settings,
        }
    )


def a100() -> Card:
    return find_card("A100 80GB SXM")
