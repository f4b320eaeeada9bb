"""What pressing a saving does: the settings change in the draft and in their widgets, as if they were touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.errors import ExplorerError
from lora_explorer.settings import SETTINGS, Recipe
from lora_explorer.ui.draft import Draft, shown_by

if TYPE_CHECKING:
    from lora_explorer.memory.savings import Saving

_SEGMENTS = "expandable_segments"


def touches_of(recipe: Recipe) -> Callable[[Saving], Mapping[str, Any]]:
    """For each saving of a recipe: what the widgets of the settings that it changes hold then."""

    def touches(saving: Saving) -> Mapping[str, Any]:
        if not saving.changes:
            # The allocator's switch is no setting of the recipe.
            return {_SEGMENTS: True}
        shown = shown_by(recipe.changed(**saving.changes))
        return {name: shown[name] for name in saving.changes}

    return touches


def show_pressed(sent: Any) -> Any:
    """Outputs: the allocator's switch, then every widget. Only those that a press has changed are written."""
    draft = Draft.from_page(sent)
    pressed = sent.get("pressed") if isinstance(sent, Mapping) else None
    names = {name for name in pressed if isinstance(name, str)} if isinstance(pressed, list) else set()
    try:
        shown = shown_by(draft.recipe)
    except ExplorerError:
        # The widgets are told; what is wrong is said at the settings.
        names = set()
    segments = draft.expandable_segments if _SEGMENTS in names else gr.skip()
    return segments, *(shown[name] if name in names else gr.skip() for name in SETTINGS)
