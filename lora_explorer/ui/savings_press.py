"""What pressing a saving does: the settings change in the draft and in their widgets, as if they were touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lora_explorer.settings import Recipe
from lora_explorer.ui.draft import Shelf, shown_by

if TYPE_CHECKING:
    from lora_explorer.memory.savings import Saving

SEGMENTS = "expandable_segments"


def touches_of(recipe: Recipe) -> Callable[[Saving], Mapping[str, Any]]:
    """For each saving of a recipe: what the widgets of the settings that it changes hold then."""

    def touches(saving: Saving) -> Mapping[str, Any]:
        if not saving.changes:
            # The allocator's switch is no setting of the recipe.
            return {SEGMENTS: True}
        return held_after(recipe, saving.changes)

    return touches


def held_after(recipe: Recipe, changes: Mapping[str, Any]) -> Shelf:
    """What the widgets of the settings that change hold then, by field name."""
    shown = shown_by(recipe.changed(**changes))
    return {name: shown[name] for name in changes}
