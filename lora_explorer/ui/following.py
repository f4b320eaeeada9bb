"""What the widgets show when the draft is changed by something else than them: a press, or another whole draft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from lora_explorer.errors import ExplorerError
from lora_explorer.settings import SETTINGS
from lora_explorer.ui.desk import BESIDE
from lora_explorer.ui.draft import Draft, shown_by
from lora_explorer.ui.opening import shown_after

Outputs = Any


def show_pressed(sent: Any) -> Outputs:
    """Outputs: what is chosen beside the recipe, then every widget. Only those that a press has changed are written."""
    draft = Draft.from_page(sent)
    pressed = sent.get("pressed") if isinstance(sent, Mapping) else None
    names = {name for name in pressed if isinstance(name, str)} if isinstance(pressed, list) else set()
    try:
        shown = shown_by(draft.recipe)
    except ExplorerError:
        # The widgets are told; what is wrong is said at the settings.
        shown, names = {}, names.intersection(BESIDE)
    beside = (getattr(draft, name) if name in names else gr.skip() for name in BESIDE)
    return *beside, *(shown[name] if name in names else gr.skip() for name in SETTINGS)


def show_replaced(sent: Any) -> Outputs:
    """Outputs: what is chosen beside the recipe, the editor, the draft, then every widget.

    sent: the new draft, and beside its fields the one `before` it.
    """
    draft = Draft.from_page(sent)
    before = Draft.from_page(sent.get("before") if isinstance(sent, Mapping) else None)
    return *(getattr(draft, name) for name in BESIDE), *shown_after(draft.beside(before), draft)
