"""Whether a card holds the run, and what then: how far each size can go, what to change, which other card to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_explorer.report import advice, lower_bound, several_cards, verdicts
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.exploration.advice import Advice
    from lora_explorer.exploration.card_offers import CardOffer
    from lora_explorer.exploration.search import Largest
    from lora_explorer.exploration.several_cards import TogetherFit
    from lora_explorer.memory import Card, CardFit
    from lora_explorer.memory.lower_bound import LowerBound

WHOLE = "fit-whole"
"""The class of what the page marks as old while a newer answer is not there yet."""
_LARGEST = ("How far can it go?", "the largest that fits, all else as it is; found by search over the prediction")
_TOGETHER = "No single change is enough; these together are:"
_SEEKING_TOGETHER = "No single change is enough; the cheapest few together are being sought…"
_SHOWN = 7
_CHANGES = {
    True: ("What would save memory?", "one change at a time, traced; with what it costs and the source"),
    False: ("What would make it fit?", "one change at a time, traced; with what it costs and the source"),
}
_NO_SIZE = "Not even the smallest batch, length or rank fits alone: it takes another change."
_SEVERAL = ("What do several of this card come to?", "the same run side by side")
_WAITING = "Waiting for the figure…"


@dataclass(frozen=True)
class Found:
    """What is known so far. tried, total: of the single changes. offers: None while they are not known.

    together: the few changes that are enough where no single one is. has_sought: whether they have been looked for.
    several: what the run comes to on several of the card.
    """

    fit: CardFit
    largest: tuple[Largest, ...] = ()
    seeks_largest: bool = True
    single: tuple[Advice, ...] = ()
    tried: int = 0
    total: int = 0
    together: Advice | None = None
    has_sought: bool = False
    offers: tuple[CardOffer, ...] | None = None
    several: tuple[TogetherFit, ...] = ()

    @property
    def is_helped(self) -> bool:
        """Whether nothing more is needed than one change, or none."""
        return self.fit.fits or any(each.makes_fit for each in self.single)


@dataclass(frozen=True)
class Unknown:
    """reason: why memory is not known. bound: what the run needs at the very least. largest: the sizes that fit."""

    reason: str
    card: Card
    bound: LowerBound | None
    largest: tuple[Largest, ...] = ()
    seeks_largest: bool = True

    @property
    def sentence(self) -> str:
        if self.bound is not None and self.bound.rules_out(self.card):
            return f"{self.card.name}: does not fit, for the lower bound alone is too much. {self.reason}"
        return f"{self.card.name}: not known. {self.reason}"


@dataclass(frozen=True)
class Presses:
    """What pressing each of them does to the widgets, for the page's script."""

    advice: Callable[[Advice], Mapping[str, Any]]
    largest: Callable[[Largest], Mapping[str, Any]]
    offer: Callable[[CardOffer], Mapping[str, Any]]


def fit_panel(found: Found, presses: Presses) -> Html:
    """What becomes of the run on the card, and what to change, as far as it is known; the more needed panel first."""
    sizes = _panel("fit-largest", *_LARGEST, _largest(found.largest, presses, seeks=found.seeks_largest))
    changes = _panel("fit-changes", *_CHANGES[found.fit.fits], _changes(found, presses))
    panels = (sizes, changes) if found.fit.fits else (changes, sizes)
    return join(verdicts.verdict_line(found.fit, "fit-verdict"), *panels)


def cards_panel(found: Found, presses: Presses) -> Html:
    """The other way round: which other cards, and what several of this one come to."""
    waits = tag("p", "All cards are being looked at…", class_="quiet-line")
    others = waits if found.offers is None else advice.offer_list(found.offers, touches=presses.offer)
    return join(_cards(others), _panel("fit-several", *_SEVERAL, _several(found)))


def _several(found: Found) -> Html:
    return several_cards.several_cards(found.several) if found.several else tag("p", _WAITING, class_="quiet-line")


def no_cards() -> Html:
    """In place of the cards, where memory is not known."""
    return _cards(tag("p", "Not known: without a figure no card can be judged.", class_="quiet-line"))


def _cards(content: Html) -> Html:
    return _panel(
        "fit-cards", "Which cards run it as it is?", "the cheapest first; one press holds it against a card", content
    )


def unknown_panel(found: Unknown, presses: Presses) -> Html:
    """Why the verdict is not known, what is known, and the sizes from which on it would be."""
    known = [each for each in found.largest if each.value is not None]
    sizes = _panel("fit-largest", *_LARGEST, _largest(known, presses, seeks=found.seeks_largest)) if known else None
    return join(tag("p", found.sentence, class_="verdict warn", id="fit-verdict"), _least(found.bound), sizes)


def _least(bound: LowerBound | None) -> Html | None:
    return None if bound is None else tag("p", lower_bound.sentence_of(bound), class_="quiet-line")


def whole(number: int | None, panel: Html) -> Html:
    """What the page marks as old while a newer answer is not there yet. number: of the question that it answers."""
    return tag("div", panel, class_=WHOLE, data_answered=number)


def waiting() -> Html:
    return tag("div", tag("p", _WAITING, class_="quiet-line"), class_=WHOLE)


def _panel(elem_id: str, title: str, quiet: str, *content: object) -> Html:
    head = tag("div", tag("h2", title), tag("span", quiet), class_="panel-title")
    return tag("section", head, *content, id=elem_id, class_="fit-panel", aria_label=title)


def _largest(found: Sequence[Largest], presses: Presses, *, seeks: bool) -> Html:
    if seeks:
        return join(advice.largest_list(found, presses.largest), tag("p", "Searching…", class_="quiet-line"))
    if all(each.value is None for each in found):
        return tag("p", _NO_SIZE, class_="quiet-line")
    return advice.largest_list(found, presses.largest)


def _changes(found: Found, presses: Presses) -> Html:
    more = found.tried < found.total
    nothing = tag("p", "None of the usual changes would save memory here.", class_="quiet-line")
    return join(
        _progress(found) if found.is_helped else tag("div", _together(found, presses), class_="fit-place"),
        advice.advice_list(found.single[:_SHOWN], presses.advice) if found.single else None,
        _rest(found.single[_SHOWN:], presses) if found.single[_SHOWN:] else None,
        nothing if not found.single and not more and found.total else None,
    )


def _progress(found: Found) -> Html | None:
    if found.tried >= found.total:
        return None
    return tag("p", f"Each is traced like the run itself: {found.tried} of {found.total}", class_="quiet-line")


def _rest(others: Sequence[Advice], presses: Presses) -> Html:
    summary = tag("summary", f"{len(others)} more", data_keep="fit-more")
    return tag("details", summary, advice.advice_list(others, presses.advice), data_keep="fit-more", class_="fit-more")


def _together(found: Found, presses: Presses) -> Html:
    """What is known of several changes; its place is kept free from the start."""
    progress = _progress(found)
    if progress is not None:
        return progress
    if found.together is not None:
        listed = advice.advice_list([found.together], presses.advice)
        return tag("div", tag("p", _TOGETHER), listed, class_="fit-together")
    return tag("p", advice.NO_COMBINATION if found.has_sought else _SEEKING_TOGETHER, class_="quiet-line")
