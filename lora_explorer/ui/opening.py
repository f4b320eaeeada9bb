"""What comes in from outside: YAML typed, pasted or uploaded, and a config.json. All of it is a stranger's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from lora_explorer.base_models import base_model_from_config
from lora_explorer.errors import ExplorerError, UnreadableYaml
from lora_explorer.report import notes
from lora_explorer.settings import SETTINGS
from lora_explorer.ui.answers import what_to_say
from lora_explorer.ui.draft import Draft

Outputs = Any
# Else a browser stays silent when the same file is chosen again.
FORGET_FILES_JS = "() => document.querySelectorAll('input[type=file]').forEach((input) => { input.value = ''; })"


def open_text(text: str, sent: Any) -> Outputs:
    """Outputs: draft, findings, then every widget. What cannot be read is kept aside and changes no widget."""
    before = Draft.from_page(sent)
    after = before.with_text(text or "")
    try:
        said = what_to_say(after, after.recipe)
    except ExplorerError as error:
        return replace(before, unread=text or "").for_page(), notes.findings_list(error.findings), *_untouched()
    old, new = before.shown, after.shown
    widgets = (gr.skip() if new[name] == old[name] else new[name] for name in SETTINGS)
    return after.for_page(), notes.findings_list(said), *widgets


def open_upload(content: bytes, sent: Any) -> Outputs:
    """Outputs: the editor, then those of `open_text`."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        error = UnreadableYaml("The file is not UTF-8 text.")
        return gr.skip(), gr.skip(), notes.findings_list(error.findings), *_untouched()
    return text, *open_text(text, sent)


def open_config(content: bytes, sent: Any) -> Outputs:
    """Outputs: draft, what is wrong with the file. The architecture comes from the file until another base model is
    chosen; a file that no model can be built from changes nothing.
    """
    from lora_explorer.base_models.skeleton import load_skeleton

    draft = Draft.from_page(sent)
    try:
        text = content.decode("utf-8")
        load_skeleton(base_model_from_config(text))
        return replace(draft, config=text, config_for=draft.recipe.base_model).for_page(), ""
    except UnicodeDecodeError:
        return gr.skip(), notes.complaint("The file is not UTF-8 text.")
    except ExplorerError as error:
        return gr.skip(), notes.complaint(str(error))


def untouched_upload() -> Outputs:
    """Outputs as of `open_upload`, where there was nothing to open."""
    return gr.skip(), gr.skip(), gr.skip(), *_untouched()


def _untouched() -> tuple[Any, ...]:
    return tuple(gr.skip() for _ in SETTINGS)
