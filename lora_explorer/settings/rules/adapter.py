"""Rules about the adapter itself: its kind, width, scale and start."""

from __future__ import annotations

from collections.abc import Mapping

from lora_explorer.findings import Fix
from lora_explorer.settings.adapter import ADAPTERS
from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.rule import Rule, adapted

_STARTS_OF_TARGET_PARAMETERS = (None, True, False, "gaussian")
# What PEFT's LoftQ start can quantize to.
_LOFTQ_BITS = (2, 4, 8)
# Adapters that Axolotl has only through a plugin, and a part of the plugin's name.
_OF_PLUGINS = {"mixlora": "mixlora", "mora": "mora"}
_DEAD = "llama-adapter"
# What people write for no adapter, and names of variants of LoRA, which are switches of their own.
_NO_ADAPTER = ("none", "null", "full", "no", "false")
_SWITCH_OF: Mapping[str, str] = {"dora": "peft_use_dora", "rslora": "peft_use_rslora"}


def _of_listed_plugin(recipe: Recipe) -> bool:
    part = _OF_PLUGINS.get(recipe.adapter or "")
    return part is not None and any(part in plugin.lower().split(".") for plugin in recipe.plugins)


def _adapter_that_was_meant(recipe: Recipe) -> Fix:
    """A name that Axolotl does not have, put right; those of a plugin stay, as nobody else has them."""
    name = (recipe.adapter or "").strip().lower()
    if name in _NO_ADAPTER:
        return (("adapter", None),)
    if name in _OF_PLUGINS:
        return ()
    kind = "qlora" if recipe.load_in_4bit and not recipe.load_in_8bit else "lora"
    named = name if name in ADAPTERS else kind
    return (("adapter", named), *(((_SWITCH_OF[name], True),) if name in _SWITCH_OF else ()))


def _starts_as_usual(recipe: Recipe) -> Fix:
    loftq: Fix = (("peft.loftq_config", None),) if recipe.loftq_bits is not None else ()
    odd = recipe.peft_init_lora_weights not in _STARTS_OF_TARGET_PARAMETERS
    return (*loftq, *((("peft_init_lora_weights", True),) if odd else ()))


ADAPTER_RULES: tuple[Rule[Recipe], ...] = (
    Rule(
        "adapter",
        "error",
        lambda recipe: recipe.adapter not in (None, "", _DEAD, *ADAPTERS) and not _of_listed_plugin(recipe),
        "adapter must be lora, qlora or empty; {adapter} is not one that Axolotl has built in.",
        "lora",
        "rejects",
        fix=_adapter_that_was_meant,
    ),
    Rule(
        "adapter",
        "error",
        _of_listed_plugin,
        "adapter {adapter} comes from a plugin and is not covered here; lora and qlora are.",
        "lora",
    ),
    Rule(
        "adapter",
        "error",
        lambda recipe: recipe.adapter == _DEAD,
        "adapter {adapter} ends once the model is loaded; use lora.",
        "lora",
        "fails at load",
        "Axolotl 0.21 accepts the name, but its schema has none of the keys that its loader then reads.",
        (("adapter", "lora"),),
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
        "fails at load",
        fix=(("lora_r", 32),),
    ),
    Rule(
        "lora_alpha",
        "error",
        lambda recipe: adapted(recipe) and recipe.lora_alpha is None,
        "lora_alpha is empty; Axolotl has no default for it and fails once the model is loaded.",
        "16",
        "fails at load",
        fix=(("lora_alpha", 16),),
    ),
    Rule(
        "lora_dropout",
        "error",
        lambda recipe: bool(recipe.target_parameter_names) and recipe.lora_dropout != 0,
        "lora_dropout must be 0 with lora_target_parameters, got {lora_dropout}.",
        "0",
        "rejects",
        "PEFT wraps a parameter without a module of its own, where dropout has no place.",
        (("lora_dropout", 0),),
    ),
    Rule(
        "peft_use_dora",
        "error",
        lambda recipe: bool(recipe.target_parameter_names) and recipe.peft_use_dora,
        "peft_use_dora does not work with lora_target_parameters: PEFT has DoRA for modules only.",
        "false",
        "fails at load",
        fix=(("peft_use_dora", False),),
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
        "rejects",
        "The other starts are computed from a module's weight, which fused experts do not have.",
        _starts_as_usual,
    ),
    Rule(
        "lora_model_dir",
        "note",
        lambda recipe: bool(recipe.lora_model_dir),
        "With lora_model_dir the adapter's own adapter_config.json decides rank and targets, not the settings here.",
        outcome="drops",
    ),
    Rule(
        "lora_r",
        "note",
        lambda recipe: not recipe.adapter and recipe.lora_r is not None,
        "adapter is empty, so the LoRA settings have no effect.",
        outcome="drops",
    ),
    Rule(
        "peft.loftq_config.loftq_bits",
        "error",
        lambda recipe: recipe.loftq_bits is not None and recipe.loftq_bits not in _LOFTQ_BITS,
        "peft.loftq_config.loftq_bits must be 2, 4 or 8, got {loftq_bits}.",
        "4",
        "fails at load",
        fix=(("peft.loftq_config.loftq_bits", 4),),
    ),
    Rule(
        "lora_fp32_gradients",
        "error",
        lambda recipe: recipe.lora_fp32_gradients and not adapted(recipe),
        "lora_fp32_gradients needs adapter lora or qlora.",
        "false",
        "rejects",
        fix=(("lora_fp32_gradients", False),),
    ),
)
