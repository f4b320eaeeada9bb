"""Rules between settings that hold for every base model.

An error is what Axolotl rejects, or accepts and PEFT then refuses; a warning is what runs but not as written.
Facts: Axolotl 0.21's validators and adapter loader, PEFT 0.21's LoraConfig. Where an outcome depends on the machine, it
is that of one CUDA card of compute capability 9.0.
"""

from __future__ import annotations

from lora_explorer.findings import Finding
from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.adapter import ADAPTER_RULES
from lora_explorer.settings.rules.attention import ATTENTION_RULES
from lora_explorer.settings.rules.quantization import QUANTIZATION_RULES
from lora_explorer.settings.rules.rule import Rule, broken_among
from lora_explorer.settings.rules.start import START_RULES
from lora_explorer.settings.rules.targets import TARGET_RULES, regex_findings
from lora_explorer.settings.rules.training import TRAINING_RULES

__all__ = ["RULES", "Rule", "broken_among", "find_problems"]

RULES: tuple[Rule[Recipe], ...] = (
    *ADAPTER_RULES,
    *START_RULES,
    *TARGET_RULES,
    *QUANTIZATION_RULES,
    *TRAINING_RULES,
    *ATTENTION_RULES,
)


def find_problems(recipe: Recipe) -> tuple[Finding, ...]:
    """Everything that can be said about a recipe without looking at its base model."""
    values = {name: getattr(recipe, name) for name in type(recipe).model_fields}
    return (*broken_among(RULES, recipe, values), *regex_findings(recipe))
