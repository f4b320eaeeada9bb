"""Rules about the precision of the base model's weights."""

from __future__ import annotations

from lora_explorer.findings import Fix
from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.rule import Rule, adapted

_BLOCK = 64
# Starts of A and B that do not depend on the weights.
_BLIND_STARTS = (None, True, False, "gaussian")
_STAGED = "torchao's 4-bit weights are put together on the CPU, part by part."


def _quantized(recipe: Recipe) -> bool:
    """Whether Axolotl holds the base model in 4 or 8 bits."""
    return (recipe.adapter, True) in (("qlora", recipe.load_in_4bit), ("lora", recipe.load_in_8bit))


def _bits_of_the_adapter(recipe: Recipe) -> Fix:
    return ((("load_in_4bit" if recipe.adapter == "qlora" else "load_in_8bit"), True),)


def _staged(recipe: Recipe) -> bool:
    return recipe.nf4_backend == "torchao"


QUANTIZATION_RULES: tuple[Rule[Recipe], ...] = (
    Rule(
        "load_in_4bit",
        "error",
        lambda recipe: not recipe.adapter and recipe.load_in_4bit,
        "load_in_4bit needs an adapter: quantized weights cannot be trained themselves.",
        "adapter: qlora",
        "rejects",
        fix=(("adapter", "qlora"),),
    ),
    Rule(
        "load_in_8bit",
        "error",
        lambda recipe: not recipe.adapter and recipe.load_in_8bit,
        "load_in_8bit needs an adapter: quantized weights cannot be trained themselves.",
        "adapter: lora",
        "rejects",
        fix=lambda recipe: () if recipe.load_in_4bit else (("adapter", "lora"),),
    ),
    Rule(
        "load_in_8bit",
        "error",
        lambda recipe: recipe.adapter == "qlora" and recipe.load_in_8bit,
        "adapter qlora does not go with load_in_8bit; use 4-bit weights, or adapter lora.",
        "load_in_8bit: false",
        "rejects",
        fix=(("load_in_8bit", False),),
    ),
    Rule(
        "gptq",
        "error",
        lambda recipe: recipe.adapter == "qlora" and recipe.gptq,
        "adapter qlora does not go with a GPTQ checkpoint; use adapter lora.",
        "adapter: lora",
        "rejects",
        "qlora quantizes weights that are loaded in full; those of a GPTQ checkpoint are quantized already.",
        (("adapter", "lora"), ("load_in_4bit", False)),
    ),
    Rule(
        "load_in_4bit",
        "error",
        lambda recipe: recipe.adapter == "qlora" and not recipe.load_in_4bit,
        "adapter qlora needs 4-bit base weights.",
        "load_in_4bit: true",
        "rejects",
        fix=lambda recipe: () if recipe.gptq else (("load_in_4bit", True),),
    ),
    Rule(
        "load_in_4bit",
        "error",
        lambda recipe: recipe.adapter == "lora" and recipe.load_in_4bit,
        "With adapter lora, Axolotl accepts load_in_4bit but loads the base model unquantized; use adapter qlora.",
        "adapter: qlora",
        "changes",
        fix=lambda recipe: (("load_in_4bit", False),) if recipe.load_in_8bit else (("adapter", "qlora"),),
    ),
    Rule(
        "quantize_moe_experts",
        "error",
        lambda recipe: recipe.quantize_moe_experts and recipe.lora_target_linear,
        "quantize_moe_experts does not go with lora_target_linear; name the target modules.",
        "lora_target_linear: false",
        "rejects",
        fix=(("lora_target_linear", False),),
    ),
    Rule(
        "quantize_moe_experts",
        "error",
        lambda recipe: recipe.quantize_moe_experts and not adapted(recipe),
        "quantize_moe_experts needs adapter lora or qlora.",
        "false",
        "rejects",
        fix=(("quantize_moe_experts", False),),
    ),
    Rule(
        "quantize_moe_experts",
        "error",
        lambda recipe: (
            recipe.quantize_moe_experts and adapted(recipe) and not (recipe.load_in_4bit or recipe.load_in_8bit)
        ),
        "quantize_moe_experts needs load_in_4bit or load_in_8bit.",
        outcome="rejects",
        fix=_bits_of_the_adapter,
    ),
    Rule(
        "model_quantization_config",
        "error",
        lambda recipe: recipe.model_quantization_config is not None and (recipe.load_in_4bit or recipe.load_in_8bit),
        "model_quantization_config does not go with load_in_4bit or load_in_8bit.",
        outcome="rejects",
        fix=(("model_quantization_config", None),),
    ),
    Rule(
        "bnb_config_kwargs",
        "error",
        lambda recipe: recipe.load_in_4bit and recipe.bnb_config_kwargs.get("blocksize", _BLOCK) != _BLOCK,
        "bnb_config_kwargs: the blocksize of 4-bit weights must be 64.",
        outcome="rejects",
        fix=(("bnb_config_kwargs.blocksize", None),),
    ),
    Rule(
        "bnb_config_kwargs",
        "error",
        lambda recipe: recipe.bnb_config_kwargs.get("bnb_4bit_quant_type", "nf4") not in ("nf4", "fp4"),
        "bnb_config_kwargs: bnb_4bit_quant_type must be nf4 or fp4.",
        "{{bnb_4bit_quant_type: nf4}}",
        "fails at load",
        fix=(("bnb_config_kwargs.bnb_4bit_quant_type", "nf4"),),
    ),
    Rule(
        "bnb_config_kwargs",
        "error",
        lambda recipe: not isinstance(recipe.bnb_config_kwargs.get("bnb_4bit_use_double_quant", True), bool),
        "bnb_config_kwargs: bnb_4bit_use_double_quant must be true or false.",
        outcome="fails at load",
        fix=(("bnb_config_kwargs.bnb_4bit_use_double_quant", True),),
    ),
    Rule(
        "ple_cpu_offload",
        "error",
        lambda recipe: recipe.ple_cpu_offload and not _quantized(recipe),
        "ple_cpu_offload needs qlora with load_in_4bit, or lora with load_in_8bit.",
        "false",
        "rejects",
        fix=(("ple_cpu_offload", False),),
    ),
    Rule(
        "nf4_backend",
        "error",
        lambda recipe: _staged(recipe) and not (recipe.adapter == "qlora" and recipe.load_in_4bit),
        "nf4_backend torchao needs adapter qlora with load_in_4bit.",
        "bitsandbytes",
        "rejects",
        fix=(("nf4_backend", None),),
    ),
    Rule(
        "nf4_backend",
        "error",
        lambda recipe: _staged(recipe) and (recipe.peft_use_dora or recipe.lora_modules_to_save),
        "nf4_backend torchao goes neither with peft_use_dora nor with lora_modules_to_save.",
        "bitsandbytes",
        "rejects",
        _STAGED,
        (("nf4_backend", None),),
    ),
    Rule(
        "nf4_backend",
        "error",
        lambda recipe: (
            _staged(recipe) and (recipe.peft_init_lora_weights not in _BLIND_STARTS or recipe.loftq_bits is not None)
        ),
        "nf4_backend torchao needs a start of A and B that does not look at the weights: the usual one or gaussian.",
        "bitsandbytes",
        "rejects",
        _STAGED,
        (("nf4_backend", None),),
    ),
    Rule(
        "nf4_backend",
        "error",
        lambda recipe: (
            _staged(recipe)
            and (
                recipe.bnb_config_kwargs.get("bnb_4bit_quant_type", "nf4") != "nf4"
                or not recipe.bnb_config_kwargs.get("bnb_4bit_use_double_quant", True)
            )
        ),
        "nf4_backend torchao knows NF4 with double quantization only; bnb_config_kwargs asks for something else.",
        "bitsandbytes",
        "rejects",
        fix=(("nf4_backend", None),),
    ),
)
