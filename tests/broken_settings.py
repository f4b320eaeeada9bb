"""For each rule between settings a recipe that breaks it, and nothing else if that can be."""

from __future__ import annotations

from typing import Any

FINE = {
    "base_model": "gpt2",
    "adapter": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_target_modules": ["q_proj"],
    "learning_rate": 1e-4,
}
LIGER = "axolotl.integrations.liger.LigerPlugin"
MIXLORA = "axolotl.integrations.mixlora.MixLoraPlugin"
KERNELS = "axolotl.integrations.kernels.KernelsPlugin"
CUT = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
MANY_NAMES = [f"name_{number}" for number in range(3000)]

# What is added to a fine recipe, the setting at fault, and how bad it is.
BROKEN_SETTINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"adapter": "dora"}, "adapter", "error"),
    ({"bnb_config_kwargs": {"bnb_4bit_quant_type": "nf5"}}, "bnb_config_kwargs", "error"),
    ({"bnb_config_kwargs": {"bnb_4bit_use_double_quant": "no"}}, "bnb_config_kwargs", "error"),
    ({"gradient_checkpointing_kwargs": {"use_reentrant": "maybe"}}, "gradient_checkpointing_kwargs", "error"),
    ({"adapter": None}, "adapter", "warning"),
    ({"adapter": None}, "lora_r", "note"),
    ({"lora_r": None}, "lora_r", "error"),
    ({"lora_alpha": None}, "lora_alpha", "error"),
    ({"lora_target_modules": []}, "lora_target_modules", "error"),
    ({"adapter": None, "load_in_4bit": True}, "load_in_4bit", "error"),
    ({"adapter": None, "load_in_8bit": True}, "load_in_8bit", "error"),
    ({"adapter": "qlora", "load_in_4bit": True, "load_in_8bit": True}, "load_in_8bit", "error"),
    ({"adapter": "qlora", "load_in_4bit": True, "gptq": True}, "gptq", "error"),
    ({"adapter": "qlora"}, "load_in_4bit", "error"),
    ({"load_in_4bit": True}, "load_in_4bit", "error"),
    ({"lora_target_parameters": ["w"], "lora_dropout": 0.1}, "lora_dropout", "error"),
    ({"lora_target_parameters": ["w"], "peft_use_dora": True}, "peft_use_dora", "error"),
    ({"lora_target_parameters": ["w"], "peft_init_lora_weights": "pissa"}, "peft_init_lora_weights", "error"),
    ({"lora_target_parameters": "w"}, "lora_target_parameters", "error"),
    ({"peft_layer_replication": [[0, 32]] * 3000}, "peft_layer_replication", "error"),
    ({"lora_target_modules": MANY_NAMES}, "lora_target_modules", "error"),
    ({"lora_target_parameters": MANY_NAMES}, "lora_target_parameters", "error"),
    ({"lora_modules_to_save": MANY_NAMES}, "lora_modules_to_save", "error"),
    ({"lora_rank_pattern": dict.fromkeys(MANY_NAMES, 4)}, "lora_rank_pattern", "error"),
    ({"lora_alpha_pattern": dict.fromkeys(MANY_NAMES, 4)}, "lora_alpha_pattern", "error"),
    ({"lora_target_modules": "q.*", "peft_layers_to_transform": [1]}, "peft_layers_to_transform", "error"),
    ({"peft_layers_pattern": ["h"]}, "peft_layers_pattern", "error"),
    (
        {"quantize_moe_experts": True, "load_in_8bit": True, "lora_target_linear": True},
        "quantize_moe_experts",
        "error",
    ),
    ({"quantize_moe_experts": True}, "quantize_moe_experts", "error"),
    ({"model_quantization_config": "Mxfp4Config", "load_in_8bit": True}, "model_quantization_config", "error"),
    (
        {"adapter": "qlora", "load_in_4bit": True, "bnb_config_kwargs": {"blocksize": 128}},
        "bnb_config_kwargs",
        "error",
    ),
    ({"ple_cpu_offload": True}, "ple_cpu_offload", "error"),
    ({"nf4_backend": "torchao"}, "nf4_backend", "error"),
    (
        {"adapter": "qlora", "load_in_4bit": True, "nf4_backend": "torchao", "peft_use_dora": True},
        "nf4_backend",
        "error",
    ),
    ({"load_in_8bit": True, "lora_mlp_kernel": True}, "lora_mlp_kernel", "error"),
    ({"attn_implementation": "magic"}, "attn_implementation", "error"),
    ({"attn_implementation": "sdpa", "flash_attention": True}, "attn_implementation", "error"),
    ({"warmup_steps": 10, "warmup_ratio": 0.1}, "warmup_ratio", "error"),
    ({"fp16": True, "bf16": True}, "fp16", "warning"),
    ({"activation_offloading": True}, "activation_offloading", "error"),
    ({"chunked_cross_entropy": True, "plugins": [CUT]}, "chunked_cross_entropy", "error"),
    (
        {"chunked_cross_entropy": True, "liger_cross_entropy": True, "plugins": [LIGER]},
        "chunked_cross_entropy",
        "error",
    ),
    ({"optimizer": "polora", "peft_use_dora": True}, "optimizer", "error"),
    ({"optimizer": "polora", "adapter": None}, "optimizer", "error"),
    ({"loftq_bits": 3}, "peft.loftq_config.loftq_bits", "error"),
    ({"lora_fp32_gradients": True, "adapter": None}, "lora_fp32_gradients", "error"),
    ({"learning_rate": None}, "learning_rate", "warning"),
    ({"base_model": None}, "base_model", "warning"),
    ({"lora_target_linear": True, "lora_target_modules": "q.*"}, "lora_target_modules", "warning"),
    ({"lora_model_dir": "./a"}, "lora_model_dir", "note"),
    ({"peft_init_lora_weights": False}, "peft_init_lora_weights", "note"),
    ({"liger_cross_entropy": True}, "liger_fused_linear_cross_entropy", "warning"),
    ({"cut_cross_entropy": True}, "cut_cross_entropy", "warning"),
    ({"lora_target_modules": "(q_proj"}, "lora_target_modules", "error"),
    ({"lora_rank_pattern": {"*q": 4}}, "lora_rank_pattern", "error"),
    ({"lora_target_modules": [".*q_proj"]}, "lora_target_modules", "warning"),
    ({"adapter": "llama-adapter"}, "adapter", "error"),
    ({"adapter": "mixlora", "plugins": [MIXLORA]}, "adapter", "error"),
    ({"quantize_moe_experts": True, "adapter": None}, "quantize_moe_experts", "error"),
    (
        {"adapter": "qlora", "load_in_4bit": True, "nf4_backend": "torchao", "peft_init_lora_weights": "pissa"},
        "nf4_backend",
        "error",
    ),
    (
        {
            "adapter": "qlora",
            "load_in_4bit": True,
            "nf4_backend": "torchao",
            "bnb_config_kwargs": {"bnb_4bit_quant_type": "fp4"},
        },
        "nf4_backend",
        "error",
    ),
    ({"base_model": "mosaicml/mpt-7b", "gradient_checkpointing": True}, "gradient_checkpointing", "error"),
    (
        {"gradient_checkpointing": True, "activation_offloading": "hidden_states"},
        "activation_offloading",
        "note",
    ),
    ({"cut_cross_entropy": True, "plugins": [CUT], "bf16": False}, "cut_cross_entropy", "error"),
    ({"optimizer": "polora", "weight_decay": 0.1}, "weight_decay", "note"),
    ({"optimizer": "q_galore_adamw8bit"}, "optimizer", "error"),
    ({"attn_implementation": "flash_attention_torch"}, "attn_implementation", "error"),
    ({"attn_implementation": "varlen"}, "attn_implementation", "error"),
    ({"sample_packing": True}, "sample_packing", "warning"),
    (
        {"sample_packing": True, "pad_to_sequence_len": False, "attn_implementation": "sdpa"},
        "pad_to_sequence_len",
        "note",
    ),
    ({"attn_implementation": "sage"}, "attn_implementation", "warning"),
    ({"attn_implementation": "sage", "sample_packing": True, "adapter": None}, "attn_implementation", "warning"),
    ({"warmup_steps": 0.5}, "warmup_steps", "error"),
]
