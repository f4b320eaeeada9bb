"""From the draft to what the tab Fit shows: each question asked where it does not slow the page, and told as it comes.

Everything here takes seconds. An answer ends when its visitor asks about another draft.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.base_models import BaseModel
from lora_explorer.errors import ExplorerError, MemoryUnknown
from lora_explorer.exploration import prediction
from lora_explorer.memory import Card
from lora_explorer.report import fit_panel, time_panel
from lora_explorer.settings import Recipe
from lora_explorer.ui.answers import Answers, Question
from lora_explorer.ui.draft import Draft, read_yaml
from lora_explorer.ui.savings_press import SEGMENTS, held_after
from lora_explorer.ui.typed_numbers import typed_number

if TYPE_CHECKING:
    from lora_explorer.exploration.advice import Advice, Situation
    from lora_explorer.exploration.pace import Pace
    from lora_explorer.memory import MemoryEstimate
    from lora_explorer.report.fit_panel import Found
    from lora_explorer.speed import Price, Rows
    from lora_explorer.speed.on_cards import CardTime

Outputs = Any
MOST_ROWS, MOST_TOKENS = 10**12, 10**7
_FIELDS = ("rows", "tokens", "price")


@dataclass(frozen=True)
class _Asked:
    """A draft, read, and the card that it is held against."""

    question: Question
    card: Card
    segments: bool

    @property
    def run(self) -> tuple[Recipe, BaseModel]:
        return self.question.recipe, self.question.base_model


@dataclass(frozen=True)
class FitAnswers:
    answers: Answers
    public: bool = False

    def help(self, sent: Any, sent_card: Any = None, request: gr.Request | None = None) -> Iterator[Outputs]:
        """Outputs: what the card makes of the draft and what then, other cards; more each time.

        sent_card: what the card's chooser holds, with the number of the question.
        """
        draft, told = Draft.from_page(sent), partial(fit_panel.whole, _number_of(sent_card))
        asked_about = self.answers.interested_in(draft, request)
        try:
            asked = _Asked(self.answers.read(draft), draft.held_against(), draft.expandable_segments)
            presses = presses_of(asked.question.recipe)
            for found in self._found(asked):
                yield told(fit_panel.fit_panel(found, presses)), told(fit_panel.cards_panel(found, presses))
                if not asked_about():
                    return
        except MemoryUnknown as error:
            yield told(fit_panel.unknown(str(error))), told(fit_panel.cards_panel(None, None))
        except ExplorerError:
            # What stands in the way is told at the settings; the answer stays, marked as old.
            yield gr.skip(), gr.skip()

    def _found(self, asked: _Asked) -> Iterator[Found]:
        """Raises ExplorerError where memory is not known."""
        # Built on torch, which the first page does without.
        from lora_explorer.exploration.advice import find_advice, find_combination, rank_advice
        from lora_explorer.exploration.search import find_all_largest
        from lora_explorer.memory.switches import switches

        estimate = self.answers.memory_of.estimate(*asked.run, card=asked.card, expandable_segments=asked.segments)
        fit = next(fit for fit in estimate.fits if fit.gpu == asked.card.name)
        total = len(list(switches(*asked.run, expandable_segments=asked.segments)))
        found = fit_panel.Found(fit, total=total)
        yield found
        for largest in find_all_largest(
            *asked.run, asked.card, expandable_segments=asked.segments, ask=self._predicted
        ):
            found = replace(found, largest=(*found.largest, largest))
            yield found
        found = replace(found, seeks_largest=False)
        situation, single = self._situation(asked), list[Any]()
        for each in find_advice(situation):
            single.append(each)
            found = replace(found, single=rank_advice(single), tried=len(single))
            yield found
        if not found.is_helped:
            yield replace(found, seeks_together=True)
            found = replace(found, together=find_combination(situation))
            yield found
        yield replace(found, offers=self._offers(asked))

    def _predicted(self, question: prediction.Question) -> prediction.Prediction:
        answer: prediction.Prediction = self.answers.memory_of_changes.ask(prediction.predict, question)
        return answer

    def _situation(self, asked: _Asked) -> Situation:
        from lora_explorer.exploration.advice import Situation

        return Situation(*asked.run, asked.card, asked.segments, self._estimate, self._pace)

    def _estimate(self, recipe: Recipe, base_model: BaseModel, **options: Any) -> MemoryEstimate:
        return self.answers.memory_of_changes.estimate(recipe, base_model, **options)

    def _pace(self, recipe: Recipe, base_model: BaseModel, card: Card | None) -> Pace | None:
        from lora_explorer.exploration.pace import pace_of

        pace: Pace | None = self.answers.memory_of_changes.ask(pace_of, recipe, base_model, card)
        return pace

    def _offers(self, asked: _Asked) -> tuple[Any, ...]:
        from lora_explorer.exploration_questions import card_offers

        ask = partial(self.answers.memory_of_changes.ask, card_offers, expandable_segments=asked.segments)
        return tuple(ask(*asked.run))

    def time(self, sent: Any, sent_form: Any) -> Outputs:
        """Output: the form, with how long the run takes and what it costs, or a sentence at the field at fault."""
        draft, form = Draft.from_page(sent), _form(sent_form)
        number = {"asked": _number_of(sent_form), "answered": _number_of(sent_form)}
        try:
            asked = _Asked(self.answers.read(draft), draft.held_against(), draft.expandable_segments)
            price, rows = _typed_price(form), _typed_rows(form, draft)
            time = self._timed(asked, rows, price)
        except ExplorerError as error:
            problems = {finding.setting: finding.message for finding in error.findings if finding.setting in _FIELDS}
            # What is wrong with the settings is told there.
            is_ours = problems or not any(finding.setting for finding in error.findings)
            said = time_panel.unknown(str(error)) if is_ours and not problems else None
            return form | number | {"said": said, "problems": problems}
        paid = price or _price_on_file(asked.card)
        return form | number | {"said": time_panel.time_panel(time, paid), "problems": {}}

    def _timed(self, asked: _Asked, rows: Rows | None, price: Price | None) -> CardTime:
        from lora_explorer import questions
        from lora_explorer.speed.on_cards import time_on_cards

        # What previews on this machine have measured is their visitors' own.
        ask = time_on_cards if self.public else questions.times
        (time,) = self.answers.memory_of_changes.ask(ask, *asked.run, card=asked.card, rows=rows, price=price)
        known: CardTime = time
        return known


def presses_of(recipe: Recipe) -> fit_panel.Presses:
    """What the widgets hold once something is pressed."""

    def advised(advice: Advice) -> Mapping[str, Any]:
        segments = {SEGMENTS: True} if advice.expands_segments else {}
        return {**held_after(recipe, advice.changes), **segments}

    return fit_panel.Presses(
        advised,
        lambda largest: held_after(recipe, {largest.setting: largest.value}),
        lambda offer: {"card": offer.card.name},
    )


def _form(sent: Any) -> dict[str, Any]:
    given = sent if isinstance(sent, Mapping) else {}
    texts = {name: given.get(name) for name in _FIELDS}
    return {name: text[:40] if isinstance(text, str) else "" for name, text in texts.items()}


def _number_of(sent: Any) -> int | None:
    """Of a question, by which the page knows its answer."""
    number = sent.get("asked") if isinstance(sent, Mapping) else None
    return number if isinstance(number, int) else None


def _typed_rows(form: Mapping[str, str], draft: Draft) -> Rows | None:
    """Raises ExplorerError with the field at fault."""
    from lora_explorer.speed import Rows
    from lora_explorer.speed.run_length import kept_aside

    tokens = typed_number(form["tokens"], "tokens", "Tokens of a row", MOST_TOKENS)
    count = typed_number(form["rows"], "rows", "Rows", MOST_ROWS)
    if count is None:
        return None
    return Rows(int(count), None if tokens is None else int(tokens), kept_aside(read_yaml(draft.written).values))


def _typed_price(form: Mapping[str, str]) -> Price | None:
    from lora_explorer.speed.prices import HIGHEST_PRICE, typed_price

    price = typed_number(form["price"], "price", "The price of an hour", HIGHEST_PRICE, whole=False)
    return None if price is None else typed_price(price)


def _price_on_file(card: Card) -> Price | None:
    from lora_explorer.speed import price_of

    return price_of(card.name)
