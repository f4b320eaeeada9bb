"""Base models and adapters whose trainable parameters are counted here and by Axolotl's own loader."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import yaml

from lora_explorer.base_models import find_base_model

LLAMA = "meta-llama/Meta-Llama-3-8B"
TIED = "meta-llama/Llama-3.2-1B"
QWEN_MOE = "Qwen/Qwen3-30B-A3B"
MIXTRAL = "mistralai/Mixtral-8x7B-v0.1"
DEEPSEEK = "deepseek-ai/DeepSeek-V3"
GPT_OSS = "openai/gpt-oss-20b"

LINEAR = {"lora_target_linear": True}
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
SEVEN = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


@dataclass(frozen=True)
class Pair:
    """layers: how many are kept of a model that is slow to build; None for all."""

    model: str
    settings: dict[str, Any] = field(hash=False)
    layers: int | None = None

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(find_base_model(self.model).config_json)
        if self.layers is not None:
            kept = {key: value[: self.layers] for key, value in config.items() if key == "layer_types"}
            config |= {"num_hidden_layers": self.layers, **kept}
        return config

    @property
    def text(self) -> str:
        started = {"base_model": self.model, "learning_rate": 0.0002, "datasets": [{"path": "x", "type": "alpaca"}]}
        adapter = {"adapter": "lora", "lora_r": 16, "lora_alpha": 32}
        return yaml.safe_dump({**started, **adapter, **self.settings}, sort_keys=False)


PAIRS = (
    Pair(LLAMA, LINEAR),
    Pair(LLAMA, {**LINEAR, "load_in_8bit": True, "lora_dropout": 0.05}, 4),
    Pair(LLAMA, {**LINEAR, "adapter": "qlora", "load_in_4bit": True}, 4),
    Pair(LLAMA, {"lora_target_modules": ["q_proj", "v_proj"]}, 4),
    Pair(LLAMA, {"lora_target_modules": r"model.layers.[\d]+.self_attn.(q|v)_proj"}, 4),
    Pair(LLAMA, {"lora_target_modules": "all-linear"}, 4),
    Pair(LLAMA, {**LINEAR, "lora_target_modules": ["q_proj", "embed_tokens"]}, 4),
    Pair(LLAMA, {**LINEAR, "lora_target_modules": ["lm_head"]}, 4),
    Pair(LLAMA, {**LINEAR, "lora_target_modules": r".*self_attn\.(q|v)_proj"}, 4),
    Pair(LLAMA, {**LINEAR, "peft_use_dora": True}, 4),
    Pair(LLAMA, {**LINEAR, "peft_use_rslora": True}, 4),
    Pair(LLAMA, {**LINEAR, "lora_rank_pattern": {"q_proj": 64, "layers.0.mlp.down_proj": 4}}, 4),
    Pair(LLAMA, {**LINEAR, "lora_alpha_pattern": {"q_proj": 64}}, 4),
    Pair(LLAMA, {**LINEAR, "peft_layers_to_transform": [0, 31], "peft_layers_pattern": ["layers"]}),
    Pair(LLAMA, {**LINEAR, "peft_layer_replication": [[0, 16], [8, 32]]}),
    Pair(LLAMA, {**LINEAR, "peft_trainable_token_indices": [1, 2, 3]}, 4),
    Pair(LLAMA, {**LINEAR, "peft_trainable_token_indices": {"embed_tokens": [1, 2], "lm_head": [5]}}, 4),
    Pair(LLAMA, {**LINEAR, "lora_modules_to_save": ["embed_tokens", "lm_head"]}, 4),
    Pair(LLAMA, {**LINEAR, "peft_init_lora_weights": False}, 4),
    Pair(LLAMA, {"lora_target_modules": ["c_attn", "q_proj"]}, 4),
    Pair(TIED, LINEAR, 4),
    Pair(TIED, {**LINEAR, "lora_modules_to_save": ["embed_tokens", "lm_head"]}, 4),
    Pair(
        TIED,
        {**LINEAR, "lora_modules_to_save": ["embed_tokens", "lm_head"], "peft_ensure_weight_tying": True},
    ),
    Pair(TIED, {**LINEAR, "peft_trainable_token_indices": [7, 8, 9]}, 4),
    Pair(QWEN_MOE, LINEAR, 4),
    Pair(QWEN_MOE, {"lora_target_modules": ATTENTION, "lora_target_parameters": EXPERTS}, 4),
    Pair(QWEN_MOE, {"lora_target_modules": SEVEN}, 4),
    Pair(QWEN_MOE, {"lora_target_modules": "all-linear"}, 4),
    Pair(MIXTRAL, LINEAR, 4),
    Pair(MIXTRAL, {"lora_target_modules": ATTENTION, "lora_target_parameters": EXPERTS}, 4),
    Pair(MIXTRAL, {"lora_target_modules": ["q_proj", "w1", "w2", "w3"]}, 4),
    Pair(DEEPSEEK, LINEAR, 5),
    Pair(DEEPSEEK, {"lora_target_modules": ["q_a_proj", "kv_b_proj"]}, 5),
    Pair(GPT_OSS, LINEAR, 4),
    Pair(GPT_OSS, {"lora_target_modules": ATTENTION, "lora_target_parameters": EXPERTS}, 4),
    Pair("google/gemma-2-2b", LINEAR, 4),
    Pair("google/gemma-2-2b", {"lora_target_modules": ["q_proj", "embed_tokens"]}, 4),
    Pair("microsoft/Phi-3-mini-4k-instruct", LINEAR, 4),
    Pair("openai-community/gpt2", {"lora_target_modules": ["c_attn", "c_proj"], "lora_fan_in_fan_out": True}),
    Pair("tiiuae/falcon-7b", LINEAR, 4),
    Pair("EleutherAI/pythia-410m", {**LINEAR, "lora_modules_to_save": ["embed_in", "embed_out"]}),
    Pair("Qwen/Qwen2.5-0.5B", LINEAR, 4),
    Pair("bigcode/starcoder2-3b", LINEAR, 4),
    Pair("mistralai/Mistral-7B-v0.1", {**LINEAR, "peft_layers_to_transform": [30, 31]}),
)

# What Axolotl's schema accepts, and its adapter loader or PEFT then ends at.
ENDED = (
    Pair(LLAMA, LINEAR | {"lora_r": None}, 2),
    Pair(LLAMA, LINEAR | {"lora_r": -4}, 2),
    Pair(LLAMA, LINEAR | {"lora_r": 0}, 2),
    Pair(LLAMA, LINEAR | {"lora_alpha": None}, 2),
    Pair(LLAMA, LINEAR | {"lora_dropout": 7}, 2),
    Pair(LLAMA, {}, 2),
    Pair(LLAMA, {"lora_target_modules": "(q_proj"}, 2),
    Pair(LLAMA, LINEAR | {"lora_rank_pattern": {"q(": 4}}, 2),
    Pair(LLAMA, {"lora_target_modules": ".*q_proj", "peft_layers_to_transform": [1]}, 2),
    Pair(LLAMA, LINEAR | {"peft_init_lora_weights": "nonsense"}, 2),
    Pair(QWEN_MOE, {"lora_target_modules": ATTENTION, "lora_target_parameters": EXPERTS[0]}, 2),
    Pair(QWEN_MOE, {"lora_target_parameters": EXPERTS, "peft_use_dora": True}, 2),
)
