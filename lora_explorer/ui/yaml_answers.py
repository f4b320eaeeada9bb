"""From the draft to what the YAML tab shows: the text, what it means, what differs, and fixes written into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from lora_explorer.errors import ExplorerError, UnreadableYaml
from lora_explorer.exports.axolotl import export_axolotl
from lora_explorer.exports.axolotl.filled_in import filled_in
from lora_explorer.exports.axolotl.fixing import with_fix
from lora_explorer.exports.yaml_documents.reading import Document
from lora_explorer.findings import Finding, Fix, errors_among
from lora_explorer.report.mending import fix_pressed
from lora_explorer.report.yaml_tab.difference import difference
from lora_explorer.report.yaml_tab.filled_in import filled_in_list
from lora_explorer.report.yaml_tab.other_program import other_file, refused_pane, unsaid_pane
from lora_explorer.report.yaml_tab.reading import Reading, reading_pane
from lora_explorer.settings import SETTINGS, find_problems
from lora_explorer.ui import opening
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft, open_yaml, read_yaml
from lora_explorer.ui.new_tokens import NewTokenAnswers
from lora_explorer.ui.opened_file import OpenedFile

Outputs = Any

MEANING, SINCE_FILE, SINCE_START = "meaning", "file", "start"


@dataclass(frozen=True)
class YamlAnswers:
    """start: the text that every visit starts with."""

    answers: Answers
    new_tokens: NewTokenAnswers
    start: str

    def write(self, sent: Any) -> Outputs:
        """Output: the YAML of what is on screen; as it was while that cannot be used."""
        draft = Draft.from_page(sent)
        try:
            return export_axolotl(draft.recipe, draft.text)
        except ExplorerError:
            # What is wrong is told with the count, and beside the text.
            return gr.skip()

    def read(self, sent: Any) -> Outputs:
        """Output: what the text means, and everything to say about it."""
        reading = self._reading(Draft.from_page(sent))
        values = reading.document.values if reading.document and not errors_among(reading.findings) else {}
        return reading_pane(reading, filled_in_list(filled_in(values)) if values else None)

    def compare(self, sent: Any, view: Any, sent_file: Any) -> Outputs:
        """Output: the text laid over the file that was opened, or over the one the page starts with."""
        written, opened = Draft.from_page(sent).written, OpenedFile.from_page(sent_file)
        if view == SINCE_FILE and opened.text is not None:
            return difference(opened.text, written, opened.name)
        than = "the start; no file has been opened" if view == SINCE_FILE else "the recipe that the page starts with"
        return difference(self.start, written, than)

    def programs(self) -> Outputs:
        """Output: the programs that the recipe can be written for; the first one's is the file itself."""
        from lora_explorer.exports.tools import TOOLS

        return {"programs": [[tool.name, tool.title] for tool in TOOLS.values()], "chosen": next(iter(TOOLS))}

    def convert(self, sent: Any, sent_programs: Any) -> Outputs:
        """Outputs: the chosen program's file, and what it cannot be told."""
        from lora_explorer.exports.tools import TOOLS, export_recipe

        chosen = sent_programs.get("chosen") if isinstance(sent_programs, Mapping) else None
        tool = TOOLS.get(chosen) if isinstance(chosen, str) else None
        if tool is None:
            return gr.skip(), gr.skip()
        draft = Draft.from_page(sent)
        try:
            recipe, skeleton = self.answers.recipe_and_skeleton(draft)
            written = export_recipe(recipe, tool.name, skeleton, original=draft.text)
        except ExplorerError as error:
            return gr.skip(), refused_pane(tool.title, error.findings)
        return other_file(written.text, tool.file_name), unsaid_pane(tool.title, written.unsaid)

    def mend(self, sent: Any) -> Outputs:
        """Outputs: the editor, the draft, then every widget, after a fix was pressed, as if it had been typed."""
        draft = Draft.from_page(sent)
        pressed = sent.get("mend") if isinstance(sent, Mapping) else None
        fix = self.new_tokens.fix_pressed(pressed, draft) or fix_pressed(pressed, self._reading(draft).findings)
        try:
            return mended(draft, fix) if fix else opening.untouched()
        except UnreadableYaml:
            return opening.untouched()

    def _reading(self, draft: Draft) -> Reading:
        written = draft.written
        try:
            document = read_yaml(written)
        except UnreadableYaml as error:
            return Reading(None, error.findings)
        return Reading(document, _foreign(document) or self._findings(draft, written))

    def _findings(self, draft: Draft, written: str) -> tuple[Finding, ...]:
        """Of the text, of its settings, and of what they come to on the base model."""
        try:
            found = (*find_problems(draft.recipe), *open_yaml(written).findings)
        except ExplorerError as error:
            return error.findings
        return (*found, *self.answers.findings_of_adapter(draft))


def _foreign(document: Document) -> tuple[Finding, ...]:
    """Of another program's file there is one thing to say; that Axolotl drops its keys is none."""
    from lora_explorer.exports.recognition import find_foreign

    try:
        return find_foreign(document.values)
    except ExplorerError as error:
        return error.findings


def mended(draft: Draft, fix: Fix) -> Outputs:
    """Outputs as of `YamlAnswers.mend`. Raises UnreadableYaml where the text on screen is no YAML."""
    if draft.unread is not None:
        return opening.shown_after(draft, draft.with_text(with_fix(draft.unread, fix)))
    keys = [key for key, _ in fix]
    kept = {name: shown for name, shown in draft.touched.items() if not _is_about(SETTINGS[name].key, keys)}
    after = replace(draft, text=with_fix(draft.text, fix), touched=kept)
    return opening.shown_after(draft, after)


def _is_about(setting: str, keys: Iterable[str]) -> bool:
    """Whether one of the keys is that of the setting, or of a block around it or in it."""
    return any(f"{setting}.".startswith(f"{key}.") or f"{key}.".startswith(f"{setting}.") for key in keys)
