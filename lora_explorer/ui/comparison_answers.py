"""From the pinned drafts to what the tab Compare shows: one core call each, then the report's words.

What is known comes at once; what takes seconds comes one configuration after the other, from where it does not slow
the page. A configuration that cannot be counted has its sentence, and the others go on.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.errors import ExplorerError
from lora_explorer.exploration import prediction
from lora_explorer.exploration.comparison import Figures, count_figures, figures_of
from lora_explorer.exploration.permalink import MOST_PINNED
from lora_explorer.memory import Card
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.supervision.ownership import hashed
from lora_explorer.preview.supervision.same_recipe import curves_of
from lora_explorer.report.comparison_start import nothing_pinned
from lora_explorer.report.html import Html
from lora_explorer.report.setting_words import propose_name
from lora_explorer.settings import Recipe, errors_among, find_problems
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.interests import Interests, visitor_of
from lora_explorer.ui.pins import Pin, pins_from_page
from lora_explorer.ui.preview_desk import Wish
from lora_explorer.ui.tracer import Memory

if TYPE_CHECKING:
    from lora_explorer.report.comparison import Column

Outputs = Any
ON_SCREEN, ON_SCREEN_SIGN = "On screen", "●"


class KnownFigures:
    """Of the drafts that were asked about last."""

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._lock = Lock()
        self._known: OrderedDict[str, Figures] = OrderedDict()

    def of(self, draft: Draft) -> Figures:
        """Empty ones where nothing is known yet."""
        return self._known.get(_key(draft)) or Figures()

    def keep(self, draft: Draft, figures: Figures) -> None:
        with self._lock:
            self._known[_key(draft)] = figures
            self._known.move_to_end(_key(draft))
            if len(self._known) > self._most:
                self._known.popitem(last=False)


@dataclass(frozen=True)
class Asked:
    """What a page asks to compare. drafts: what is on screen first, then the pins held against its card."""

    pins: tuple[Pin, ...]
    drafts: tuple[Draft, ...]
    owner: str
    number: Any

    @classmethod
    def from_page(cls, sent_pins: Any, sent_draft: Any, sent_wish: Any) -> Asked:
        pins, now = pins_from_page(sent_pins), Draft.from_page(sent_draft)
        drafts = (now, *(now.beside(pin.draft) for pin in pins))
        return cls(pins, drafts, Wish.from_page(sent_wish).owner, _number(sent_pins))

    @property
    def card(self) -> Card | None:
        try:
            return self.drafts[0].held_against()
        except ExplorerError:
            # That is said at its picker.
            return None


@dataclass(frozen=True)
class ComparisonAnswers:
    """public: every visitor sees only runs of their own."""

    answers: Answers
    public: bool = False
    known: KnownFigures = field(default_factory=KnownFigures)
    interests: Interests = field(default_factory=Interests)

    def table(self, sent_pins: Any, sent_draft: Any, sent_wish: Any, request: gr.Request | None = None) -> Html:
        """Output: the comparison as far as it is known. Only what is on screen is counted for it."""
        asked = Asked.from_page(sent_pins, sent_draft, sent_wish)
        self.interests.note(visitor_of(request), asked.number)
        if asked.pins:
            self._count(asked.drafts[0])
        return self._shown(asked)

    def figures(
        self, sent_pins: Any, sent_draft: Any, sent_wish: Any, request: gr.Request | None = None
    ) -> Iterator[Outputs]:
        """Output: the comparison with all counts, then with the memory of one more configuration each time.

        It ends when something else is asked for.
        """
        asked = Asked.from_page(sent_pins, sent_draft, sent_wish)
        visitor, now = visitor_of(request), asked.drafts[0]
        for draft in asked.drafts if asked.pins else ():
            self._count(draft)
        yield self._shown(asked)
        for draft in self._unknown(asked):
            if not self.interests.holds(visitor, asked.number):
                return
            # Of what is on screen the headline asks the same, so that it is known there already.
            memory = self.answers.memory_of if draft == now else self.answers.memory_of_changes
            self.known.keep(draft, self._figures(draft, asked.card, memory))
            if self.interests.holds(visitor, asked.number):
                yield self._shown(asked)

    def remember(self, sent_draft: Any) -> None:
        """Keep the figures of what has just been pinned, which the headline has asked for."""
        draft = Draft.from_page(sent_draft)
        if self.known.of(draft).process_bytes is None and not _read(draft)[1]:
            card = Asked((), (draft,), "", None).card
            self.known.keep(draft, self._figures(draft, card, self.answers.memory_of))

    def names(self, sent_pins: Any) -> Outputs:
        """Output: the pins with a name proposed for each that has none; the page takes them from there."""
        names = _named(pins_from_page(sent_pins))
        version = sent_pins.get("version") if isinstance(sent_pins, Mapping) else None
        return {"pins": [], "names": names, "version": version}

    def _shown(self, asked: Asked) -> Html:
        if not asked.pins:
            return nothing_pinned(MOST_PINNED)
        # Not needed for the first page.
        from lora_explorer.report.comparison_table import comparison

        names = (ON_SCREEN, *_named(asked.pins))
        columns = [self._column(*each) for each in zip(asked.drafts, names, range(len(names)), strict=True)]
        curves = curves_of([column.recipe for column in columns], self._may_see(asked.owner))
        return comparison(columns, asked.card, curves, room=MOST_PINNED - len(asked.pins))

    def _column(self, draft: Draft, name: str, at: int) -> Column:
        from lora_explorer.report.comparison import Column

        recipe, problem = _read(draft)
        figures = Figures(problem=problem) if problem else self.known.of(draft)
        return Column(name, recipe, figures, str(at) if at else ON_SCREEN_SIGN, is_on_screen=at == 0)

    def _unknown(self, asked: Asked) -> list[Draft]:
        """What there is nothing of yet comes first; what could not be had may be had now."""
        by_key = {_key(draft): draft for draft in asked.drafts if asked.pins and not _read(draft)[1]}
        found = [draft for draft in by_key.values() if self.known.of(draft).process_bytes is None]
        return sorted(found, key=lambda draft: bool(self.known.of(draft).problem))

    def _may_see(self, owner: str) -> Callable[[RunFolder], bool]:
        """A stranger sees only runs of the own browser."""
        mine = hashed(owner)
        return lambda folder: not self.public or bool(mine and folder.read("owner") == mine)

    def _count(self, draft: Draft) -> None:
        """As the headline does, from what it has made ready."""
        if self.known.of(draft) != Figures():
            return
        # Torch, transformers and PEFT are loaded by the first count, not by the page.
        from lora_explorer.adapters import plan_adapter
        from lora_explorer.base_models.skeleton import load_skeleton

        try:
            question = self.answers.read(draft)
            plan = plan_adapter(question.recipe, load_skeleton(question.base_model))
        except ExplorerError:
            # It is told with its figures.
            return
        self.known.keep(draft, count_figures(question.recipe, plan))

    def _figures(self, draft: Draft, card: Card | None, memory: Memory) -> Figures:
        try:
            question = self.answers.read(draft)
            cards = (card,) if card else ()
            asked = prediction.Question(question.recipe, question.base_model, cards, draft.expandable_segments)
            figures: Figures = memory.ask(figures_of, asked)
        except ExplorerError as error:
            return Figures(problem=str(error))
        return figures


def _read(draft: Draft) -> tuple[Recipe | None, str]:
    """The recipe, and why it cannot be used."""
    try:
        recipe = draft.recipe
    except ExplorerError as error:
        return None, str(error)
    return recipe, " ".join(finding.message for finding in errors_among(find_problems(recipe)))


def _named(pins: Sequence[Pin]) -> list[str]:
    """The name of each, proposed where it has none."""
    recipes = [_read(pin.draft)[0] for pin in pins]
    names = [pin.name for pin in pins]
    for at, recipe in enumerate(recipes):
        if not names[at]:
            others = [other for other in (*recipes[:at], *recipes[at + 1 :]) if other is not None]
            names[at] = propose_name(recipe, others, names) if recipe else _without_recipe(names)
    return names


def _without_recipe(taken: Sequence[str]) -> str:
    return next(name for name in (f"Unreadable {number}" for number in count(1)) if name not in taken)


def _key(draft: Draft) -> str:
    return json.dumps(draft.for_page(), sort_keys=True, default=str)


def _number(sent: Any) -> Any:
    """Of the question, by which a later one is told from an earlier one."""
    return sent.get("asked") if isinstance(sent, Mapping) else None
