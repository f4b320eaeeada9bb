"""What the user chooses: every setting declared once, and the rules between them. Knows no tensor and no toolkit."""

from lora_explorer.findings import Finding, Severity, errors_among
from lora_explorer.settings.declaration import Control, Group, Setting
from lora_explorer.settings.recipe import SETTINGS, Recipe, recipe_from
from lora_explorer.settings.rules import find_problems

__all__ = [
    "SETTINGS",
    "Control",
    "Finding",
    "Group",
    "Recipe",
    "Setting",
    "Severity",
    "errors_among",
    "find_problems",
    "recipe_from",
]
