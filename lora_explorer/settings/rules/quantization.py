"""Rules about the precision of the base model's weights."""

from __future__ import annotations

from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.rule import Rule


def _quantized(recipe: Recipe) -> bool:
    """Whether Axolotl holds the base model in 4 or 8 bits."""
    return (recipe.adapter, True) in (("qlora", recipe.load_in_4bit), ("lora", recipe.load_in_8bit))


QUANTIZATION_RULES: tuple[Rule, ...] = (
    Rule(
        "load_in_4bit",
        "error",
        lambda recipe: not recipe.adapter and recipe.load_in_4bit,
        "load_in_4bit needs an adapter: quantized weights cannot be trained themselves.",
        "adapter: qlora",
    ),
    Rule(
        "load_in_8bit",
        "error",
        lambda recipe: not recipe.adapter and recipe.load_in_8bit,
        "load_in_8bit needs an adapter: quantized weights cannot be trained themselves.",
        "adapter: lora",
    ),
    Rule(
        "load_in_8bit",
        "error",
        lambda recipe: recipe.adapter == "qlora" and recipe.load_in_8bit,
        "adapter qlora does not go with load_in_8bit; use 4-bit weights, or adapter lora.",
        "load_in_8bit: false",
    ),
    Rule(
        "gptq",
        "error",
        lambda recipe: recipe.adapter == "qlora" and recipe.gptq,
        "adapter qlora does not go with a GPTQ checkpoint; use adapter lora.",
        "adapter: lora",
    ),
    Rule(
        "load_in_4bit",
        "error",
        lambda recipe: recipe.adapter == "qlora" and not recipe.load_in_4bit,
        "adapter qlora needs 4-bit base weights.",
        "load_in_4bit: true",
    ),
    Rule(
        "load_in_4bit",
        "error",
        lambda recipe: recipe.adapter == "lora" and recipe.load_in_4bit,
        "With adapter lora, Axolotl accepts load_in_4bit but loads the base model unquantized; use adapter qlora.",
        "adapter: qlora",
    ),
    Rule(
        "quantize_moe_experts",
        "error",
        lambda recipe: recipe.quantize_moe_experts and recipe.lora_target_linear,
        "quantize_moe_experts does not go with lora_target_linear; name the target modules.",
        "lora_target_linear: false",
    ),
    Rule(
        "quantize_moe_experts",
        "error",
        lambda recipe: recipe.quantize_moe_experts and not (recipe.load_in_4bit or recipe.load_in_8bit),
        "quantize_moe_experts needs load_in_4bit or load_in_8bit.",
    ),
    Rule(
        "model_quantization_config",
        "error",
        lambda recipe: recipe.model_quantization_config is not None and (recipe.load_in_4bit or recipe.load_in_8bit),
        "model_quantization_config does not go with load_in_4bit or load_in_8bit.",
    ),
    Rule(
        "bnb_config_kwargs",
        "error",
        lambda recipe: recipe.load_in_4bit and recipe.bnb_config_kwargs.get("blocksize", 64) != 64,
        "bnb_config_kwargs: bitsandbytes takes only blocksize 64 here.",
    ),
    Rule(
        "bnb_config_kwargs",
        "error",
        lambda recipe: recipe.bnb_config_kwargs.get("bnb_4bit_quant_type", "nf4") not in ("nf4", "fp4"),
        "bnb_config_kwargs: bnb_4bit_quant_type must be nf4 or fp4.",
        "{{bnb_4bit_quant_type: nf4}}",
    ),
    Rule(
        "bnb_config_kwargs",
        "error",
        lambda recipe: not isinstance(recipe.bnb_config_kwargs.get("bnb_4bit_use_double_quant", True), bool),
        "bnb_config_kwargs: bnb_4bit_use_double_quant must be true or false.",
    ),
    Rule(
        "ple_cpu_offload",
        "error",
        lambda recipe: recipe.ple_cpu_offload and not _quantized(recipe),
        "ple_cpu_offload needs qlora with load_in_4bit, or lora with load_in_8bit.",
        "false",
    ),
    Rule(
        "nf4_backend",
        "error",
        lambda recipe: recipe.nf4_backend == "torchao" and not (recipe.adapter == "qlora" and recipe.load_in_4bit),
        "nf4_backend torchao needs adapter qlora with load_in_4bit.",
        "bitsandbytes",
    ),
    Rule(
        "nf4_backend",
        "error",
        lambda recipe: recipe.nf4_backend == "torchao" and (recipe.peft_use_dora or recipe.lora_modules_to_save),
        "nf4_backend torchao goes neither with peft_use_dora nor with lora_modules_to_save.",
        "bitsandbytes",
    ),
)
