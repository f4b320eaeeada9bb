"""Where everything stands in the tab YAML: the file on the left, what it means on the right. Nothing is wired here."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from lora_explorer.report.html import Html, tag
from lora_explorer.ui.layout import fragment, script_of
from lora_explorer.ui.opened_file import OpenedFile
from lora_explorer.ui.yaml_answers import MEANING, SINCE_FILE, SINCE_START

_VIEWS = (("Meaning", MEANING), ("Since the file", SINCE_FILE), ("Since the start", SINCE_START))
_SUFFIXES = (".yml", ".yaml", ".json")
_BOTH_WAYS = "edit or paste: the controls follow; comments and unknown keys stay"
_HINT = "Esc, then Tab, leaves the editor by keyboard."
_READING = tag("p", "Reading…", class_="quiet-line")


@dataclass(frozen=True)
class YamlTab:
    """file: the one opened last, shown as the commands that take it. said: what opening it left to say.

    programs: for which of them the text is; other: the text for another one than Axolotl, in place of the editor.
    reading: the right pane, which shows one view.
    """

    editor: gr.Code
    other: gr.HTML
    reading: gr.HTML
    programs: gr.HTML
    view: gr.HTML
    file: gr.HTML
    said: gr.HTML
    upload: gr.UploadButton
    download: gr.Button
    copy: gr.Button


def build_yaml(text: str, copy: gr.Button) -> YamlTab:
    """copy: the button in the header, which copies the text from anywhere."""
    with gr.Column(elem_id="panel-yaml"):
        with gr.Row(elem_id="head-yaml"):
            programs = gr.HTML(
                {},
                html_template=_title(),
                elem_id="yaml-for",
                apply_default_css=False,
                js_on_load=script_of("programs.js"),
            )
            upload = gr.UploadButton("Open a file", file_types=list(_SUFFIXES), type="binary", size="sm", scale=0)
            download = gr.Button("Download", size="sm", scale=0, elem_id="download-yaml")
        said = fragment(Html(""), "yaml-problem")
        with gr.Row(elem_id="yaml-panes"):
            with gr.Column(elem_id="yaml-left", min_width=0):
                editor = gr.Code(text, language="yaml", elem_id="yaml", show_label=False, container=False, buttons=[])
                other = fragment(Html(""), "yaml-other", script_of("clipboard.js") + script_of("copy_buttons.js"))
                gr.HTML(tag("p", _HINT, class_="quiet-line"), elem_id="yaml-hint", apply_default_css=False)
            with gr.Column(elem_id="yaml-right", min_width=0):
                view = gr.HTML(
                    MEANING,
                    html_template=_views(),
                    elem_id="yaml-view",
                    apply_default_css=False,
                    js_on_load=script_of("yaml_view.js") + script_of("editor_ink.js"),
                )
                reading = fragment(_READING, "yaml-reading", script_of("kept_open.js") + script_of("yaml_reading.js"))
        file = gr.HTML(
            OpenedFile().for_page(),
            html_template="${value.said}",
            elem_id="yaml-file",
            apply_default_css=False,
            js_on_load=script_of("clipboard.js") + script_of("copy_buttons.js"),
        )
    return YamlTab(editor, other, reading, programs, view, file, said, upload, download, copy)


def _title() -> Html:
    """A question with the choice of a program in it; which ones there are comes when the tab is opened."""
    choice = tag("select", tag("option", "Axolotl"), aria_label="Program")
    both = tag("span", _BOTH_WAYS, class_="both-ways")
    return tag("div", tag("h2", "What does ", choice, " get?"), both, class_="panel-title")


def _views() -> Html:
    """Radio buttons; a component of Gradio's own would bring its files into the first page, where nobody sees it."""
    legend = tag("legend", "What to show", class_="sr-only")
    return tag("fieldset", legend, *(_view(label, name) for label, name in _VIEWS))


def _view(label: str, name: str) -> Html:
    chosen = tag("input", type="radio", name="yaml-view", value=name, checked=name == MEANING)
    return tag("label", chosen, tag("span", label))
