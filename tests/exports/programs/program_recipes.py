"""Recipes that programs are asked about, on a tiny model that every one of them can load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_explorer.base_models import base_model_from_config
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.settings import Recipe, recipe_from

TINY = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 256,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
PLAIN: Mapping[str, Any] = {
    "adapter": "lora",
    "lora_r": 8,
    "lora_alpha": 12,
    "lora_dropout": 0.1,
    "learning_rate": 0.0003,
    "sequence_len": 128,
    "micro_batch_size": 3,
    "gradient_accumulation_steps": 5,
    "num_epochs": 2,
    "weight_decay": 0.02,
    "max_grad_norm": 0.7,
    "optimizer": "adamw_torch",
    "lr_scheduler": "linear",
    "warmup_ratio": 0.1,
    "gradient_checkpointing": True,
}
NAMES: Mapping[str, Any] = {"lora_target_modules": ["q_proj", "v_proj"]}
CASES: Mapping[str, Mapping[str, Any]] = {
    "names": {**PLAIN, **NAMES},
    "one name": {**PLAIN, "lora_target_modules": ["down_proj"]},
    "all linear": {**PLAIN, "lora_target_linear": True},
    "all linear and the head": {**PLAIN, "lora_target_linear": True, "lora_target_modules": ["lm_head"]},
    "rank-stabilised": {**PLAIN, **NAMES, "peft_use_rslora": True},
    "DoRA": {**PLAIN, **NAMES, "peft_use_dora": True, "lora_dropout": 0.0},
    "saved in full": {**PLAIN, **NAMES, "lora_modules_to_save": ["embed_tokens", "lm_head"]},
    "checkpointing options": {**PLAIN, **NAMES, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
    "what Axolotl does by itself": {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "learning_rate": 1e-4, **NAMES},
}
REGEX: Mapping[str, Any] = {**PLAIN, "lora_target_modules": r".*\.[01]\.self_attn\.(q|k)_proj"}
FOUR_BIT: Mapping[str, Any] = {
    **PLAIN,
    **NAMES,
    "adapter": "qlora",
    "load_in_4bit": True,
    "optimizer": "adamw_bnb_8bit",
}


def tiny_skeleton() -> Skeleton:
    return load_skeleton(base_model_from_config(json.dumps(TINY)))


def write_tiny_model(folder: Path) -> Path:
    """A folder with random weights and a tokenizer of a few words."""
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    facts = {key: value for key, value in TINY.items() if key not in ("model_type", "architectures")}
    LlamaForCausalLM(LlamaConfig(**facts)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}, unk_token="<unk>"))
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    return folder


def recipe_on(model: Path | str, values: Mapping[str, Any]) -> Recipe:
    return recipe_from({"base_model": str(model), **values})
