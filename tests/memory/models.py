"""Small base models and steps that the tests of this folder share."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from peft import LoraConfig, get_peft_model
from small_architectures import DEEPSEEK_V3
from torch import nn
from transformers import PreTrainedModel

from lora_explorer.base_models import BaseModel, base_model_from_config, find_base_model
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.memory.watching.trace import Trace
from lora_explorer.settings import Recipe, recipe_from

LLAMA = {
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
GEMMA_3 = {
    **LLAMA,
    "model_type": "gemma3_text",
    "head_dim": 16,
    "num_hidden_layers": 14,
    "sliding_window": 64,
    "_sliding_window_pattern": 6,
}
DEEPSEEK = {**LLAMA, **DEEPSEEK_V3}
GPT_OSS = {**LLAMA, "model_type": "gpt_oss", "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2}


@dataclass(frozen=True)
class Lora:
    """PEFT's LoRA without a recipe. layers: only these, all if empty."""

    r: int = 8
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    dropout: float = 0.0
    layers: tuple[int, ...] = ()
    options: tuple[tuple[str, Any], ...] = field(default=())

    def inject(self, model: PreTrainedModel) -> nn.Module:
        config = LoraConfig(
            r=self.r,
            target_modules=list(self.targets),
            lora_dropout=self.dropout,
            layers_to_transform=list(self.layers) or None,
            task_type="CAUSAL_LM",
            **dict(self.options),
        )
        return get_peft_model(model, config)

    def layer_kinds(self, skeleton: Skeleton) -> Sequence[Hashable]:
        return [index in self.layers for index in range(skeleton.num_layers)]


def model_of(config: dict[str, Any]) -> BaseModel:
    return base_model_from_config(json.dumps(config), str(config["model_type"]))


def skeleton_of(config: dict[str, Any]) -> Skeleton:
    return load_skeleton(model_of(config))


def llama_3_8b() -> BaseModel:
    return find_base_model("meta-llama/Meta-Llama-3-8B")


def recipe_of(**settings: Any) -> Recipe:
    values = {
        "base_model": "meta-llama/Meta-Llama-3-8B",
        "adapter": "lora",
        "lora_r": 16,
        "lora_alpha": 16,
        "lora_target_linear": True,
        "sequence_len": 256,
        "learning_rate": 0.0002,
        **settings,
    }
    return recipe_from({name: value for name, value in values.items() if value is not None})


def peak_of(trace: Trace) -> int:
    """Most bytes alive at once, without any allocator."""
    live = peak = 0
    for number in trace.events:
        live += trace.sizes_bytes[number] if number >= 0 else -trace.sizes_bytes[~number]
        peak = max(peak, live)
    return peak
