"""Rules about how A and B start. Facts: PEFT 0.21's LoraLayer.update_layer, Axolotl 0.21's adapter loader."""

from __future__ import annotations

import re

from lora_explorer.findings import Fix
from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.rule import Rule, adapted

# PEFT looks at the case of some of its names and not at that of others.
_NAMES = re.compile(r"(?i:gaussian|olora|mica)|pissa(_niter_\d+)?|eva|corda|loftq|orthogonal|lora_ga")
# From what they would start has to be collected before the adapter is there, which Axolotl does for none of them.
_WITHOUT_THEIR_DATA = ("eva", "lora_ga")
_AS_USUAL: Fix = (("peft_init_lora_weights", True),)
_COLLECTED = "It starts from statistics that have to be collected before the adapter is there."


def _unknown(recipe: Recipe) -> bool:
    start = recipe.peft_init_lora_weights
    return adapted(recipe) and isinstance(start, str) and start != "" and not _NAMES.fullmatch(start)


def _name_that_was_meant(recipe: Recipe) -> Fix:
    """The name in lower case, or the switch that stands in quotes."""
    start = str(recipe.peft_init_lora_weights).strip().lower()
    if _NAMES.fullmatch(start):
        return (("peft_init_lora_weights", start),)
    return (("peft_init_lora_weights", None),) if start == "false" else _AS_USUAL


START_RULES: tuple[Rule[Recipe], ...] = (
    Rule(
        "peft_init_lora_weights",
        "error",
        _unknown,
        "peft_init_lora_weights: PEFT knows no start called '{peft_init_lora_weights:.60}'.",
        outcome="fails at load",
        fix=_name_that_was_meant,
    ),
    Rule(
        "peft_init_lora_weights",
        "error",
        lambda recipe: adapted(recipe) and recipe.peft_init_lora_weights == "corda",
        "peft_init_lora_weights: PEFT's corda does not start in Axolotl.",
        "true",
        "fails at load",
        _COLLECTED,
        _AS_USUAL,
    ),
    Rule(
        "peft_init_lora_weights",
        "error",
        lambda recipe: adapted(recipe) and recipe.peft_init_lora_weights == "loftq" and recipe.loftq_bits is None,
        "peft_init_lora_weights: loftq needs the block peft.loftq_config, which names the bits.",
        "peft: {{loftq_config: {{loftq_bits: 4}}}}",
        "fails at load",
        fix=(("peft.loftq_config.loftq_bits", 4),),
    ),
    Rule(
        "peft_init_lora_weights",
        "note",
        lambda recipe: adapted(recipe) and recipe.peft_init_lora_weights in _WITHOUT_THEIR_DATA,
        "peft_init_lora_weights: with {peft_init_lora_weights}, A starts at random in Axolotl.",
        "true",
        "changes",
        _COLLECTED,
    ),
    Rule(
        "peft_init_lora_weights",
        "note",
        lambda recipe: recipe.peft_init_lora_weights in (False, ""),
        "Axolotl passes neither false nor an empty text on, so A and B start as usual.",
        outcome="changes",
        fix=(("peft_init_lora_weights", None),),
    ),
)
