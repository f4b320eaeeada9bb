"""Rules about the adapter itself: its kind, width, scale and start."""

from __future__ import annotations

from lora_explorer.settings.adapter import ADAPTERS
from lora_explorer.settings.rules.rule import Rule, adapted

_STARTS_OF_TARGET_PARAMETERS = (None, True, False, "gaussian", "true")
# What PEFT's LoftQ start can quantize to.
_LOFTQ_BITS = (2, 4, 8)

ADAPTER_RULES: tuple[Rule, ...] = (
    Rule(
        "adapter",
        "error",
        lambda recipe: recipe.adapter not in (None, "", *ADAPTERS),
        "adapter must be lora, qlora or empty; {adapter} is not one that Axolotl has built in.",
        "lora",
    ),
    Rule(
        "adapter",
        "warning",
        lambda recipe: not recipe.adapter,
        "adapter is empty, so every parameter of the base model is trained.",
        "lora",
    ),
    Rule(
        "lora_r",
        "error",
        lambda recipe: adapted(recipe) and recipe.lora_r is None,
        "lora_r is empty; Axolotl has no default for the rank and fails once the model is loaded.",
        "32",
    ),
    Rule(
        "lora_alpha",
        "error",
        lambda recipe: adapted(recipe) and recipe.lora_alpha is None,
        "lora_alpha is empty; Axolotl has no default for it and fails once the model is loaded.",
        "16",
    ),
    Rule(
        "lora_dropout",
        "error",
        lambda recipe: bool(recipe.target_parameter_names) and recipe.lora_dropout != 0,
        "lora_dropout must be 0 with lora_target_parameters, got {lora_dropout}.",
        "0",
    ),
    Rule(
        "peft_use_dora",
        "error",
        lambda recipe: bool(recipe.target_parameter_names) and recipe.peft_use_dora,
        "peft_use_dora does not work with lora_target_parameters: PEFT has DoRA for modules only.",
        "false",
    ),
    Rule(
        "peft_init_lora_weights",
        "error",
        lambda recipe: (
            bool(recipe.target_parameter_names)
            and (recipe.peft_init_lora_weights not in _STARTS_OF_TARGET_PARAMETERS or recipe.loftq_bits is not None)
        ),
        "lora_target_parameters can only start as usual or gaussian.",
        "true",
    ),
    Rule(
        "lora_model_dir",
        "note",
        lambda recipe: bool(recipe.lora_model_dir),
        "With lora_model_dir the adapter's own adapter_config.json decides rank and targets, not the settings here.",
    ),
    Rule(
        "lora_r",
        "note",
        lambda recipe: not recipe.adapter and recipe.lora_r is not None,
        "adapter is empty, so the LoRA settings have no effect.",
    ),
    Rule(
        "peft_init_lora_weights",
        "note",
        lambda recipe: recipe.peft_init_lora_weights is False,
        "Axolotl does not pass false on, so A and B start as usual.",
    ),
    Rule(
        "peft.loftq_config.loftq_bits",
        "error",
        lambda recipe: recipe.loftq_bits is not None and recipe.loftq_bits not in _LOFTQ_BITS,
        "peft.loftq_config.loftq_bits must be 2, 4 or 8, got {loftq_bits}.",
        "4",
    ),
    Rule(
        "lora_fp32_gradients",
        "error",
        lambda recipe: recipe.lora_fp32_gradients and not adapted(recipe),
        "lora_fp32_gradients needs adapter lora or qlora.",
        "false",
    ),
)
