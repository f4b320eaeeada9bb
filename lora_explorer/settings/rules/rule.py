"""A rule between settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lora_explorer.findings import Finding, Severity
from lora_explorer.settings.adapter import ADAPTERS
from lora_explorer.settings.recipe import Recipe


@dataclass(frozen=True)
class Rule:
    """Holds while `broken` is false; otherwise the message is said at the setting.

    message, suggestion: templates; a setting's name in braces stands for its value.
    """

    setting: str
    severity: Severity
    broken: Callable[[Recipe], object]
    message: str
    suggestion: str | None = None

    def finding(self, recipe: Recipe) -> Finding | None:
        """What to say about a recipe; None while the rule holds."""
        if not self.broken(recipe):
            return None
        values = {name: getattr(recipe, name) for name in type(recipe).model_fields}
        suggestion = self.suggestion.format_map(values) if self.suggestion else None
        return Finding(self.setting, self.severity, self.message.format_map(values), suggestion)


def adapted(recipe: Recipe) -> bool:
    """Whether Axolotl builds an adapter of its own kinds."""
    return recipe.adapter in ADAPTERS
