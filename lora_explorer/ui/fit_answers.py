"""From the draft to what the tab Fit shows: each question asked where it does not slow the page, and told as it comes.

What a card makes of the run, and how long it takes, is asked where the headline has asked already; what takes many
predictions is asked in the background, and ends when its visitor asks about another draft.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.errors import ExplorerError, MemoryUnknown
from lora_explorer.report import fit_panel, time_panel
from lora_explorer.report.html import Html
from lora_explorer.settings import Recipe
from lora_explorer.ui import fit_form
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.background import Background
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.interests import NobodyWaits
from lora_explorer.ui.savings_press import SEGMENTS, held_after

if TYPE_CHECKING:
    from lora_explorer.exploration.advice import Advice
    from lora_explorer.exploration.prediction import Question
    from lora_explorer.report.fit_panel import Found
    from lora_explorer.speed import Price
    from lora_explorer.speed.on_cards import CardTime
    from lora_explorer.ui.fit_form import Form

Outputs = Any


@dataclass(frozen=True)
class FitAnswers:
    answers: Answers
    public: bool = False

    def help(self, sent: Any, sent_card: Any = None, request: gr.Request | None = None) -> Iterator[Outputs]:
        """Outputs: what the card makes of the draft and what then, other cards; more each time.

        sent_card: what the card's chooser holds, with the number of the question.
        """
        draft, number = Draft.from_page(sent), fit_form.number_of(sent_card)
        asked_about = self.answers.interested_in(draft, request)
        background = Background(self.answers.memory_of_changes, asked_about)
        try:
            question = self._question(draft)
            for panels in self._told(question, background):
                yield tuple(fit_panel.whole(number, panel) for panel in panels)
        except NobodyWaits:
            return
        except ExplorerError:
            # What stands in the way is told at the settings; the answer stays, marked as old.
            yield gr.skip(), gr.skip()

    def _told(self, question: Question, background: Background) -> Iterator[tuple[Html, Html]]:
        """What to change, and which card to take instead. Raises ExplorerError where nothing can be counted."""
        presses = presses_of(question.recipe)
        try:
            for found in self._found(question, background):
                yield fit_panel.fit_panel(found, presses), fit_panel.cards_panel(found, presses)
        except MemoryUnknown as error:
            bound = self.answers.lower_bound(question.recipe, question.base_model, question.cards[0], str(error))
            unknown = fit_panel.Unknown(str(error), question.cards[0], bound)
            for known in chain((unknown,), _with_largest(unknown, question, background)):
                yield fit_panel.unknown_panel(known, presses), fit_panel.no_cards()

    def _found(self, question: Question, background: Background) -> Iterator[Found]:
        """Raises MemoryUnknown."""
        # Built on torch, which the first page does without.
        from lora_explorer.exploration.advice import find_advice, find_combination, rank_advice
        from lora_explorer.memory.switches import switches

        recipe, base_model, (card, *_), segments = question
        estimate = self.answers.memory_of.estimate(recipe, base_model, card=card, expandable_segments=segments)
        total = len(list(switches(recipe, base_model, expandable_segments=segments)))
        found = fit_panel.Found(next(fit for fit in estimate.fits if fit.gpu == card.name), total=total)
        yield found
        situation = background.situation(recipe, base_model, card, expandable_segments=segments)
        single: list[Advice | None] = []
        for each in find_advice(situation):
            single.append(each)
            found = replace(found, single=rank_advice(single), tried=len(single))
            yield found
        found = replace(found, offers=background.offers(question))
        yield found
        found = replace(found, several=background.together(question))
        yield found
        if not found.is_helped:
            found = replace(found, together=find_combination(situation), has_sought=True)
            yield found
        yield from _with_largest(found, question, background)

    def time(self, sent: Any, sent_form: Any) -> Outputs:
        """Output: the form, with how long the run takes and what it costs, or a sentence at the field at fault."""
        draft, form = Draft.from_page(sent), fit_form.Form.from_page(sent_form)
        try:
            question = self._question(draft)
        except ExplorerError:
            # That is told at the settings; the figures stay, marked as old.
            return form.answered(said=None)
        form = form.proposing(draft, question.cards[0])
        try:
            price = form.price_an_hour()
            time = self._timed(question, form, price)
        except ExplorerError as error:
            problems = fit_form.problems_among(error.findings)
            return form.answered(said=None if problems else time_panel.unknown(str(error)), problems=problems)
        return form.answered(said=time_panel.time_panel(time, price, form.proposed))

    def _timed(self, question: Question, form: Form, price: Price | None) -> CardTime:
        from lora_explorer import questions
        from lora_explorer.speed.on_cards import time_on_cards

        # What previews on this machine have measured is their visitors' own.
        ask = time_on_cards if self.public else questions.times
        recipe, base_model, (card, *_), _ = question
        (time,) = self.answers.memory_of.ask(ask, recipe, base_model, card=card, rows=form.data(), price=price)
        known: CardTime = time
        return known

    def _question(self, draft: Draft) -> Question:
        """Raises ExplorerError where the draft cannot be counted."""
        from lora_explorer.exploration.prediction import Question

        read = self.answers.read(draft)
        return Question(read.recipe, read.base_model, (draft.held_against(),), draft.expandable_segments)


def _with_largest(found: Any, question: Question, background: Background) -> Iterator[Any]:
    """The same with the largest batch, length and rank, one more each time."""
    from lora_explorer.exploration.search import find_all_largest

    recipe, base_model, (card, *_), segments = question
    for each in find_all_largest(recipe, base_model, card, expandable_segments=segments, ask=background.predict):
        found = replace(found, largest=(*found.largest, each))
        yield found
    yield replace(found, seeks_largest=False)


def presses_of(recipe: Recipe) -> fit_panel.Presses:
    """What the widgets hold once something is pressed."""
    return fit_panel.Presses(
        touches_of_advice(recipe),
        lambda largest: held_after(recipe, {largest.setting: largest.value}),
        lambda offer: {"card": offer.card.name},
    )


def touches_of_advice(recipe: Recipe) -> Callable[[Advice], Mapping[str, Any]]:
    """For advice on a recipe: what the widgets of the settings that it changes hold then."""

    def touches(advice: Advice) -> Mapping[str, Any]:
        # The allocator's switch is no setting of the recipe.
        segments = {SEGMENTS: True} if advice.expands_segments else {}
        return {**held_after(recipe, advice.changes), **segments}

    return touches
