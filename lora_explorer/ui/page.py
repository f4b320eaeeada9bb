"""The page, wired: what happens when a control is touched, a text is edited, or a file is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from lora_explorer import presets
from lora_explorer.base_models import Access, preset_models
from lora_explorer.memory import cards, find_card
from lora_explorer.preview.request import Limits
from lora_explorer.preview.supervision.queue import RunQueue
from lora_explorer.ui import layout, opening, preview_layout, preview_page, yaml_layout, yaml_page
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.comparison_answers import ComparisonAnswers
from lora_explorer.ui.comparison_page import build_comparison, wire_comparison
from lora_explorer.ui.controls import Choices, Controls
from lora_explorer.ui.desk import ASK_JS, build_desk, tell
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.fit_answers import FitAnswers
from lora_explorer.ui.fit_page import build_fit, wire_fit
from lora_explorer.ui.following import show_pressed, show_replaced
from lora_explorer.ui.gallery_answers import GalleryAnswers
from lora_explorer.ui.gallery_page import build_gallery, wire_gallery
from lora_explorer.ui.language import build_choice
from lora_explorer.ui.link_answers import LinkAnswers
from lora_explorer.ui.link_tools import wire_link_tools
from lora_explorer.ui.map_edits import build_map_edits
from lora_explorer.ui.new_tokens import NewTokenAnswers, build_new_tokens
from lora_explorer.ui.preview_answers import PreviewAnswers
from lora_explorer.ui.preview_form import PUBLIC_LIMITS
from lora_explorer.ui.preview_page import PreviewTabs
from lora_explorer.ui.run_answers import RunAnswers
from lora_explorer.ui.setting_about import build_setting_about
from lora_explorer.ui.sweep_answers import SweepAnswers
from lora_explorer.ui.sweep_page import build_sweeps, wire_sweeps
from lora_explorer.ui.tour import build_tour
from lora_explorer.ui.tracer import InProcess, Memory
from lora_explorer.ui.understanding import Understanding, wire_understanding
from lora_explorer.ui.yaml_answers import YamlAnswers

START_RECIPE = "llama-3-8b-lora"
# Uploads and archives, in seconds: looked through every hour, gone after a day.
_FORGET_FILES = (3600, 86400)


@dataclass(frozen=True)
class Previews:
    """aside: who plans a run, predicts its memory and looks at its data. queue: who runs it.

    make_ready: has the next run start sooner.
    """

    aside: Memory = field(default_factory=InProcess)
    queue: RunQueue = field(default_factory=RunQueue)
    make_ready: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Page:
    """The parts that are wired to each other. beside: the widgets of what is chosen beside the recipe."""

    answers: Answers
    desk: gr.HTML
    controls: Controls
    model: layout.ModelFile
    new_tokens: gr.HTML
    answered: layout.Answered
    understanding: Understanding
    beside: tuple[gr.Dropdown, gr.Checkbox]
    yaml: yaml_layout.YamlTab
    preview: PreviewTabs
    tools: gr.HTML

    @property
    def live(self) -> dict[str, Any]:
        """How every question is asked.

        While a slider moves only the last of the waiting questions is still of interest. Nothing waits in a queue, and
        only one component is told that something is pending: telling each takes longer than the answer. Private hides
        a handler from the list of endpoints and no more: each one checks its input like any stranger's.
        """
        return {
            "queue": False,
            "trigger_mode": "always_last",
            "show_progress": "hidden",
            "show_progress_on": self.answered.side_notes,
            "api_visibility": "private",
        }


def build_page(
    *,
    public: bool = False,
    tracer: Memory | None = None,
    background: Memory | None = None,
    previews: Previews | None = None,
) -> gr.Blocks:
    """The whole page. public: for strangers, who may not name folders of this machine.

    tracer: who estimates memory; background: who does so for changes that might save some. None estimates here.
    previews: who prepares and runs them; None prepares here.
    """
    blocks = gr.Blocks(title="LoRA Explorer", fill_width=True, analytics_enabled=False, delete_cache=_FORGET_FILES)
    access, previews = Access(folders=not public), previews or Previews()
    before = PreviewAnswers(access, PUBLIC_LIMITS if public else Limits(), previews.aside)
    runs = RunAnswers(before, previews.queue, public=public, make_ready=previews.make_ready)
    with blocks:
        page = _build(Answers(access, tracer or InProcess(), background or InProcess()), runs)
        _wire_answers(page)
        wire_understanding(page.understanding, page.answers, page.desk, page.live)
        _wire_yaml(page)
        _wire_model_file(page)
        wire_link_tools(page.tools, LinkAnswers(access, start_draft()), page.desk, page.live)
        preview_page.wire_restore(page.preview, page.yaml, page.controls)
        blocks.load(None, None, None, js=ASK_JS)
        blocks.load(None, None, None, js=preview_page.READY_JS)
    return blocks


def start_draft() -> Draft:
    """The recipe that every visit starts with, opened like any other file."""
    return Draft(presets.recipe_text(START_RECIPE))


def _build(answers: Answers, runs: RunAnswers) -> Page:
    start = start_draft()
    card = find_card(start.card)
    desk = build_desk(start.for_page())
    desks = preview_page.build_desks(desk, public=runs.public)
    tools, copy = layout.build_header()
    with gr.Row(elem_id="columns"):
        token_plan: list[gr.HTML] = []
        beneath = {"lora_modules_to_save": lambda: token_plan.append(build_new_tokens())}
        public = not answers.access.folders
        map_edits: list[gr.HTML] = []
        controls, model = layout.build_controls(start.shown, _preset_choices(), beneath, public=public)
        with gr.Column(elem_id="answers"):
            tiles, pins = layout.build_tiles(card)
            build_tour()
            with gr.Tabs(elem_id="tabs"):
                with gr.Tab("Explore", id="explore"):
                    answered, picker, segments = layout.build_charts(
                        cards(), card, tiles, lambda: map_edits.append(build_map_edits())
                    )
                with gr.Tab("Presets", id="presets") as start_from:
                    gallery = build_gallery()
                with gr.Tab("Fit", id="fit") as fit:
                    fitting = build_fit(cards(), card)
                with gr.Tab("Compare", id="compare") as compare:
                    compared = build_comparison()
                with gr.Tab("Sweeps", id="sweeps") as sweeps:
                    swept = build_sweeps()
                with gr.Tab("Preview", id="preview") as preview:
                    run_card, run = preview_layout.build_start(public=runs.public), preview_layout.build_run()
                with gr.Tab("YAML", id="yaml") as text:
                    yaml = yaml_layout.build_yaml(start.text, copy)
                with gr.Tab("History", id="history") as history:
                    kept = preview_layout.build_history()
            understanding = Understanding(map_edits[0], build_setting_about())
    build_choice()
    tell("card", picker)
    tell("expandable_segments", segments)
    text.select(None, None, None, js=yaml_page.OPENED_JS)
    tabs = PreviewTabs(runs, desks, run_card, run, kept)
    preview_page.wire_preview(tabs, preview=preview, history=history)
    beside = (picker, segments)
    page = Page(answers, desk, controls, model, token_plan[0], answered, understanding, beside, yaml, tabs, tools)
    wire_fit(fit, fitting, FitAnswers(answers, public=runs.public), desk, page.live)
    wire_gallery(start_from, gallery, GalleryAnswers(answers), page.live)
    comparison = ComparisonAnswers(answers, public=runs.public)
    wire_comparison(compare, (pins, compared), comparison, page.live, asked=(desk, desks.wish))
    wire_sweeps(swept, SweepAnswers(answers, public=public), desk, sweeps)
    return page


def _preset_choices() -> Choices:
    by_size = sorted(preset_models(), key=lambda preset: (preset.family.casefold(), preset.total_params))
    return {"base_model": [(preset.label, preset.id) for preset in by_size]}


def _wire_answers(page: Page) -> None:
    """The number first; then what takes longer, pictures and memory, each on its own."""
    answered, answers, desk = page.answered, page.answers, page.desk
    about_model = [page.model.complaint, page.model.facts]
    pictures = [answered.heat_map, answered.matrices, answered.coverage, answered.kinds]
    lists = [page.controls[name] for name in answers.PICK_LISTS]
    desk.count(answers.count, desk, [answered.counts, answered.side_notes], **page.live)
    desk.draw(answers.details, desk, [*about_model, *lists, *pictures], **page.live)
    weighed = [answered.memory_tiles, answered.memory_bar, answered.peak, answered.memory_notes]
    desk.weigh(answers.memory, desk, weighed, **page.live)
    desk.sort(answers.cards, desk, answered.chips, **page.live)
    desk.save(answers.savings, desk, answered.savings, **page.live | {"queue": True, "concurrency_limit": None})
    widgets = page.controls.values()
    desk.press(show_pressed, desk, [*page.beside, *widgets], **page.live)
    desk.replace(show_replaced, desk, [*page.beside, page.yaml.editor, desk, *widgets], **page.live)


def _wire_yaml(page: Page) -> None:
    tokens = NewTokenAnswers(page.answers)
    answers = YamlAnswers(page.answers, tokens, start_draft().text)
    yaml_page.wire_yaml(page.yaml, answers, page.desk, page.controls, page.live)
    slow = page.live | {"queue": True, "concurrency_limit": None}
    page.new_tokens.ask(tokens.weigh, [page.desk, page.new_tokens], page.new_tokens, **slow)


def _wire_model_file(page: Page) -> None:
    model = page.model
    opened = [page.desk, model.complaint]
    uploaded = model.upload.upload(opening.open_config, [model.upload, page.desk], opened, **page.live)
    uploaded.then(None, js=opening.FORGET_FILES_JS)
