"""Where everything stands: header, controls, answers. Nothing is wired here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.components import Component

from lora_explorer.memory import Card
from lora_explorer.report import headline, heat_map, kind_bars, memory_bar, step_curve
from lora_explorer.report.html import Html, tag
from lora_explorer.settings import Group
from lora_explorer.ui.controls import Beneath, Choices, Controls, build_group
from lora_explorer.ui.draft import Shelf
from lora_explorer.ui.link_tools import build_link_tools, build_start_over
from lora_explorer.ui.pins import build_pins

ASSETS = Path(__file__).parent / "assets"
LOADING = "Loading PyTorch, transformers and PEFT: a few seconds, once."
# In the order in which they stand.
TAB_IDS = ("explore", "presets", "fit", "compare", "sweeps", "preview", "yaml", "history")
_OF_THE_WHOLE_PAGE = ("tabs.js", "keyboard.js", "chart_drawing.js", "chart_files.js")
SEGMENTS = "Expandable segments"
ABOUT_SEGMENTS = (
    "PYTORCH_ALLOC_CONF=expandable_segments:True, an environment variable that Axolotl sets unless it is set already. "
    "Not part of the YAML."
)
OFFLINE = "Presets, folders and an uploaded config.json work without a network; another Hub id needs one."
OFFLINE_PUBLIC = "Presets and an uploaded config.json always work; another Hub id is looked up. Folders cannot be read."


@dataclass(frozen=True)
class Answered:
    """The parts of the page that are written to."""

    counts: gr.HTML
    memory_tiles: gr.HTML
    side_notes: gr.HTML
    memory_bar: gr.HTML
    chips: gr.HTML
    peak: gr.HTML
    savings: gr.HTML
    heat_map: gr.HTML
    matrices: gr.HTML
    coverage: gr.HTML
    kinds: gr.HTML
    memory_notes: gr.HTML


@dataclass(frozen=True)
class ModelFile:
    """The line about the base model, and the button that takes a config.json instead."""

    facts: gr.HTML
    upload: gr.UploadButton
    complaint: gr.HTML


def build_header() -> tuple[gr.HTML, gr.Button]:
    """The name, the tools for links and undo, and the button that copies the YAML from anywhere."""
    with gr.Row(elem_id="header"):
        fragment(tag("h1", "LoRA Explorer"), "brand", _of_the_whole_page())
        gr.HTML(tag("a", "Settings ↓", href="#controls"), elem_id="jump", apply_default_css=False)
        tools = build_link_tools()
        return tools, gr.Button("Copy YAML", variant="primary", size="sm", elem_id="copy-yaml", scale=0)


def build_controls(shelf: Shelf, choices: Choices, beneath: Beneath, *, public: bool) -> tuple[Controls, ModelFile]:
    """Every group of settings, and what belongs to the base model beside its setting. beneath: as for `build_group`."""
    found: list[ModelFile] = []
    beneath = {"base_model": lambda: found.append(_model_file(public=public)), **beneath}
    controls: dict[str, Component] = {}
    with gr.Column(elem_id="controls", scale=0):
        build_start_over()
        for group in Group:
            controls |= build_group(group, shelf, choices, beneath)
    return controls, found[0]


def _model_file(*, public: bool) -> ModelFile:
    facts = gr.HTML("", elem_id="model-facts", apply_default_css=False)
    upload = gr.UploadButton(
        "Use a config.json", file_types=[".json"], type="binary", size="sm", elem_id="model-config"
    )
    complaint = fragment(Html(""), "model-config-problem")
    gr.HTML(tag("p", OFFLINE_PUBLIC if public else OFFLINE), elem_classes="quiet", apply_default_css=False)
    return ModelFile(facts, upload, complaint)


def build_tiles(card: Card) -> tuple[tuple[gr.HTML, gr.HTML, gr.HTML], gr.HTML]:
    """The headline numbers and the line beneath them, above every tab; beside them the button that pins."""
    with gr.Row(elem_id="headline"):
        counts = fragment(headline.count_tiles(None), "count-tiles")
        memory = fragment(headline.memory_tiles(None, card), "memory-tiles")
        pins = build_pins()
    loading = tag("div", tag("p", LOADING, class_="side-line"), class_="side-notes")
    notes = gr.HTML(loading, elem_id="side-notes", js_on_load=script_of("side_notes.js"), apply_default_css=False)
    return (counts, memory, notes), pins


def build_charts(
    cards: Sequence[Card], card: Card, tiles: tuple[gr.HTML, gr.HTML, gr.HTML], beneath_map: Callable[[], None]
) -> tuple[Answered, gr.Dropdown, gr.Checkbox]:
    """The reasons behind the headline, each panel under the question it answers. Also: what is chosen in them.

    beneath_map: builds what edits the layer × module map.
    """
    with gr.Column(elem_id="panel-memory"):
        with gr.Row(elem_id="head-memory"):
            question(memory_bar.ASKS, "GiB · one training step, traced on the meta device")
            picker = gr.Dropdown(
                [one.name for one in cards], value=card.name, label="Card", elem_id="card", container=False, scale=0
            )
        names, chosen = json.dumps([one.name for one in cards]), json.dumps(card.name)
        gr.HTML(
            "",
            elem_id="card-problem",
            apply_default_css=False,
            js_on_load=f"const CARDS = {names};\nlet chosen = {chosen};\n{script_of('card_picker.js')}",
        )
        bar = fragment(Html(""), "memory-bar", script_of("kept_open.js"))
        segments = gr.Checkbox(
            True, label=SEGMENTS, info=ABOUT_SEGMENTS, elem_id="expandable_segments", container=False
        )
    with gr.Row(elem_id="explain", elem_classes="charts"):
        with gr.Column(elem_id="panel-step", min_width=0):
            question(step_curve.ASKS, "bytes alive at once, above what is always there")
            peak = fragment(Html(""), "step-curve")
        with gr.Column(elem_id="panel-savings", min_width=0):
            question("What would save memory?", "one change at a time, each traced like the run itself")
            savings = fragment(Html(""), "savings", script_of("kept_open.js"))
            gr.HTML(_to_fit(), apply_default_css=False, js_on_load=script_of("to_fit.js"))
    with gr.Row(elem_classes="charts"):
        with gr.Column(min_width=0):
            with gr.Column(elem_id="panel-layers", min_width=0):
                question(heat_map.ASKS, "stronger: more trainable parameters")
                heat = fragment(Html(""), "heat-map", script_of("layer_map.js"))
                beneath_map()
                matrices = fragment(Html(""), "matrices", script_of("matrices.js"))
            with gr.Column(elem_id="panel-kinds", min_width=0):
                question(kind_bars.ASKS, "")
                kinds = fragment(Html(""), "params-by-kind")
        with gr.Column(min_width=0):
            with gr.Column(elem_id="panel-targets", min_width=0):
                question("What did each target match?", "")
                coverage = fragment(Html(""), "coverage")
            with gr.Column(elem_id="panel-cards", min_width=0):
                question("Which cards run this?", "one card, the same settings")
                chips = fragment(Html(""), "cards", script_of("kept_open.js"))
    said = gr.HTML(
        "",
        elem_id="memory-notes",
        elem_classes="faceless",
        apply_default_css=False,
        js_on_load=script_of("memory_notes.js"),
    )
    return Answered(*tiles, bar, chips, peak, savings, heat, matrices, coverage, kinds, said), picker, segments


def _to_fit() -> Html:
    """The short list leads to the long one, which tells what each change costs."""
    return tag("button", "What each costs, and which card instead", type="button", class_="to-fit")


def question(title: str, quiet: str) -> None:
    gr.HTML(tag("div", tag("h2", title), tag("span", quiet), class_="panel-title"), apply_default_css=False)


def fragment(content: Html, elem_id: str, script: str | None = None) -> gr.HTML:
    return gr.HTML(content, elem_id=elem_id, apply_default_css=False, js_on_load=script)


def _of_the_whole_page() -> str:
    return f"const TAB_IDS = {json.dumps(TAB_IDS)};\n" + "".join(map(script_of, _OF_THE_WHOLE_PAGE))


def script_of(name: str) -> str:
    """An asset's text."""
    return (ASSETS / name).read_text(encoding="utf-8")
