"""Rules between settings that hold for every base model.

An error is what Axolotl rejects, or accepts and PEFT then refuses; a warning is what runs but not as written.
Facts: Axolotl 0.21's validators and adapter loader, PEFT 0.21's LoraConfig.
"""

from __future__ import annotations

from lora_explorer.findings import Finding
from lora_explorer.settings.recipe import Recipe
from lora_explorer.settings.rules.adapter import ADAPTER_RULES
from lora_explorer.settings.rules.quantization import QUANTIZATION_RULES
from lora_explorer.settings.rules.rule import Rule
from lora_explorer.settings.rules.targets import TARGET_RULES, regex_findings
from lora_explorer.settings.rules.training import TRAINING_RULES

__all__ = ["RULES", "Rule", "find_problems"]

RULES: tuple[Rule, ...] = (*ADAPTER_RULES, *TARGET_RULES, *QUANTIZATION_RULES, *TRAINING_RULES)


def find_problems(recipe: Recipe) -> tuple[Finding, ...]:
    """Everything that can be said about a recipe without looking at its base model."""
    ruled = (rule.finding(recipe) for rule in RULES)
    return (*(finding for finding in ruled if finding), *regex_findings(recipe))
