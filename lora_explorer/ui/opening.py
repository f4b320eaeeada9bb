"""What comes in from outside: YAML typed, pasted or uploaded, and a config.json. All of it is a stranger's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from lora_explorer.base_models import base_model_from_config
from lora_explorer.errors import ExplorerError, UnreadableYaml
from lora_explorer.exports.axolotl import Imported
from lora_explorer.exports.yaml_documents.reading import LARGEST_TEXT_BYTES
from lora_explorer.report import notes
from lora_explorer.settings import SETTINGS
from lora_explorer.ui.controls import TELL_WHAT_IS_WRITTEN
from lora_explorer.ui.draft import Draft, Shelf
from lora_explorer.ui.opened_file import OpenedFile, uploaded_name

Outputs = Any
# Else a browser stays silent when the same file is chosen again.
FORGET_FILES_JS = "() => document.querySelectorAll('input[type=file]').forEach((input) => { input.value = ''; })"


def open_text(text: str, sent: Any) -> Outputs:
    """Outputs: draft, then every widget. What cannot be read is kept aside and changes no widget."""
    before = Draft.from_page(sent)
    return shown_after(before, before.with_text(text or ""))[1:]


def open_upload(content: bytes, sent: Any, sent_file: Any) -> Outputs:
    """Outputs: what is said of the file, the file, the editor, then those of `open_text`.

    sent_file: its name is the upload's. Another program's file is opened as the Axolotl YAML that means the same.
    """
    try:
        text = _text_of(content)
        foreign = _foreign(text, uploaded_name(sent_file))
    except ExplorerError as error:
        return notes.findings_list(error.findings), gr.skip(), *untouched()
    if foreign:
        return notes.findings_list(foreign.findings), *opened(OpenedFile(text=foreign.text), sent)
    return "", *opened(replace(OpenedFile.from_page(sent_file), text=text), sent)


def opened(file: OpenedFile, sent: Any) -> Outputs:
    """Outputs: the file, the editor, then those of `open_text`."""
    return file.for_page(), file.text, *open_text(file.text or "", sent)


def _foreign(text: str, name: str) -> Imported | None:
    """The settings in another program's file; None for what is Axolotl's. Raises UnreadableYaml, InvalidSettings."""
    from lora_explorer.exports.recognition import import_foreign

    try:
        return import_foreign(text, name)
    except UnreadableYaml:
        if name.endswith(".json"):
            raise
        # What is wrong with a YAML is told at its line.
        return None


def shown_after(before: Draft, after: Draft) -> Outputs:
    """Outputs: the editor, the draft, then every widget. Only what another draft changes is written."""
    try:
        new = after.shown
    except ExplorerError:
        return after.text, replace(before, unread=after.text).for_page(), *_widgets()
    old = before.shown
    written = {name: new[name] for name in SETTINGS if new[name] != old[name]}
    widgets = (written.get(name, gr.skip()) for name in SETTINGS)
    return after.written, _with_what_widgets_tell(after, written).for_page(), *widgets


def _with_what_widgets_tell(draft: Draft, written: Shelf) -> Draft:
    """Some widgets tell what the server has written into them; a draft that holds it already is not changed by that."""
    told = {name: shown for name, shown in written.items() if SETTINGS[name].control.kind in TELL_WHAT_IS_WRITTEN}
    return replace(draft, touched=told | {**draft.touched})


def untouched() -> Outputs:
    """Outputs as of `shown_after`, where nothing changes."""
    return gr.skip(), gr.skip(), *_widgets()


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


def _text_of(content: bytes) -> str:
    """Raises UnreadableYaml."""
    if len(content) > LARGEST_TEXT_BYTES:
        raise UnreadableYaml(f"The file is larger than {LARGEST_TEXT_BYTES // 1024} KiB, far more than a YAML needs.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableYaml("The file is not UTF-8 text.") from error


def _widgets() -> tuple[Any, ...]:
    return tuple(gr.skip() for _ in SETTINGS)
