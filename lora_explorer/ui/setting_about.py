"""What does this setting change? Asked when its button is pressed: the long help, and its neighbours from here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.errors import ExplorerError, MemoryUnknown
from lora_explorer.report import effects, notes, setting_help
from lora_explorer.report.html import Html, join, tag
from lora_explorer.settings import SETTINGS, Setting
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.interests import Interests, visitor_of
from lora_explorer.ui.layout import script_of
from lora_explorer.ui.savings_press import held_after

if TYPE_CHECKING:
    from lora_explorer.exploration.effects import Effect, Effects
    from lora_explorer.exploration.prediction import Prediction, Question
    from lora_explorer.settings import Recipe

_BY_KEY = {setting.key: setting for setting in SETTINGS.values()}


def build_setting_about() -> gr.HTML:
    """Its value is the setting that is asked about, and what is said of it. Event: `explain`."""
    close = tag("button", "×", type="button", class_="about-close", aria_label="Close")
    head = tag("div", tag("h2", id="about-title"), tag("code", class_="about-key"), close, class_="about-head")
    box = tag(
        "div",
        head,
        tag("div", class_="about-said"),
        popover="auto",
        role="dialog",
        aria_labelledby="about-title",
        tabindex=-1,
        class_="about-box",
    )
    return gr.HTML(
        _value("", Html(""), None),
        html_template=box,
        elem_id="setting-about",
        apply_default_css=False,
        js_on_load=script_of("setting_about.js"),
    )


@dataclass(frozen=True)
class SettingAnswers:
    """What is asked here is waited for, so it does not stand behind the savings."""

    answers: Answers
    interests: Interests = field(default_factory=Interests)

    def explain(self, sent: Any, asked: Any, request: gr.Request | None = None) -> Iterator[Any]:
        """Output: help and counts at once, then memory value by value, until the visitor asks about something else."""
        draft, given = Draft.from_page(sent), asked if isinstance(asked, Mapping) else {}
        key, number = given.get("setting"), given.get("asked")
        visitor = visitor_of(request)
        self.interests.note(visitor, number)
        setting = _BY_KEY.get(key) if isinstance(key, str) else None
        if setting is None:
            return
        for said in self._said(draft, setting):
            yield _value(setting.key, said, number)
            if not self.interests.holds(visitor, number):
                return

    def _said(self, draft: Draft, setting: Setting) -> Iterator[Html]:
        about = setting_help.setting_help(setting)
        try:
            recipe, question = self._question(draft)
            for found, waits in self._effects(setting, question):
                yield join(about, _table(found, recipe, waits=waits))
        except ExplorerError as error:
            yield join(about, notes.complaint(str(error)))

    def _effects(self, setting: Setting, question: Question) -> Iterator[tuple[Effects, bool]]:
        # PEFT and torch are loaded by the first question, not by the page.
        from lora_explorer.exploration.effects import count_effects, with_memory

        counted = count_effects(setting.name, question)
        if not counted.others:
            yield counted, False
            return
        yield counted, True
        steps = 1 + len(counted.others)
        for number, found in enumerate(with_memory(counted, question, self._predict), 1):
            yield found, number < steps

    def _predict(self, question: Question) -> Prediction:
        from lora_explorer.exploration.prediction import count, predict

        try:
            prediction: Prediction = self.answers.memory_of.ask(predict, question)
        except MemoryUnknown as error:
            return replace(count(question), problem=str(error))
        return prediction

    def _question(self, draft: Draft) -> tuple[Recipe, Question]:
        """Raises ExplorerError where the draft cannot be counted."""
        from lora_explorer.exploration.prediction import Question

        read, card = self.answers.read(draft), draft.held_against()
        return read.recipe, Question(read.recipe, read.base_model, (card,), draft.expandable_segments)


def _table(found: Effects, recipe: Recipe, *, waits: bool) -> Html:
    return effects.effects_panel(found, _touches_of(recipe), waits=waits)


def _touches_of(recipe: Recipe) -> Callable[[Effect], Mapping[str, Any]]:
    return lambda effect: held_after(recipe, effect.changes)


def _value(key: str, said: Html, answered: Any) -> dict[str, Any]:
    return {"setting": key, "said": said, "asked": answered, "answered": answered}
