"""Whether a card holds the run, and what then: how far each size can go, what to change, which other card to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_explorer.report import advice, verdicts
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.exploration.advice import Advice
    from lora_explorer.exploration.card_offers import CardOffer
    from lora_explorer.exploration.search import Largest
    from lora_explorer.memory import CardFit

WHOLE = "fit-whole"
"""The class of what the page marks as old while a newer answer is not there yet."""
_LARGEST = ("How far can it go?", "the largest that fits, all else as it is; found by search over the prediction")
_TOGETHER = "No single change is enough; these together are:"
_SEEKING_TOGETHER = "No single change is enough; the cheapest few together are being sought…"
_SHOWN = 7
_WAITING = "Waiting for the figure…"


@dataclass(frozen=True)
class Found:
    """What is known so far. tried, total: of the single changes. offers: None while they are not known.

    together: the few changes that are enough where no single one is. seeks_together: they are being looked for.
    """

    fit: CardFit
    largest: tuple[Largest, ...] = ()
    seeks_largest: bool = True
    single: tuple[Advice, ...] = ()
    tried: int = 0
    total: int = 0
    together: Advice | None = None
    seeks_together: bool = False
    offers: tuple[CardOffer, ...] | None = None

    @property
    def is_helped(self) -> bool:
        """Whether nothing more is needed than one change, or none."""
        return self.fit.fits or any(each.makes_fit for each in self.single)


@dataclass(frozen=True)
class Presses:
    """What pressing each of them does to the widgets, for the page's script."""

    advice: Callable[[Advice], Mapping[str, Any]]
    largest: Callable[[Largest], Mapping[str, Any]]
    offer: Callable[[CardOffer], Mapping[str, Any]]


def fit_panel(found: Found, presses: Presses) -> Html:
    """What becomes of the run on the card, and what to change, as far as it is known."""
    change = ("What would save memory?", "one change at a time") if found.fit.fits else ("What would make it fit?", "")
    return join(
        verdicts.verdict_line(found.fit, "fit-verdict"),
        _panel("fit-largest", *_LARGEST, _largest(found, presses)),
        _panel("fit-changes", change[0], f"{change[1]}; traced, with what it costs and the source".lstrip("; "),
               _changes(found, presses)),
    )  # fmt: skip


def cards_panel(found: Found | None, presses: Presses | None) -> Html:
    """The other way round; None where nothing can be said."""
    listed = _offers(found, presses) if found and presses else tag("p", "Not known.", class_="quiet-line")
    return _panel("fit-cards", "Which cards run it as it is?", "the cheapest first", listed)


def unknown(reason: str) -> Html:
    """In place of all answers, where memory is not known."""
    return tag("p", f"Not known: {reason[:1].lower()}{reason[1:]}", class_="quiet-line")


def whole(number: int | None, panel: Html) -> Html:
    """What the page marks as old while a newer answer is not there yet. number: of the question that it answers."""
    return tag("div", panel, class_=WHOLE, data_answered=number)


def waiting() -> Html:
    return tag("div", tag("p", _WAITING, class_="quiet-line"), class_=WHOLE)


def _panel(elem_id: str, title: str, quiet: str, *content: object) -> Html:
    head = tag("div", tag("h2", title), tag("span", quiet), class_="panel-title")
    return tag("section", head, *content, id=elem_id, class_="fit-panel", aria_label=title)


def _largest(found: Found, presses: Presses) -> Html:
    waits = tag("p", "Searching…", class_="quiet-line") if found.seeks_largest else None
    return join(advice.largest_list(found.largest, presses.largest), waits)


def _changes(found: Found, presses: Presses) -> Html:
    more = found.tried < found.total
    progress = tag("p", f"Each is traced like the run itself: {found.tried} of {found.total}", class_="quiet-line")
    nothing = tag("p", "None of the usual changes would save memory here.", class_="quiet-line")
    return join(
        _together(found, presses),
        progress if more else None,
        advice.advice_list(found.single[:_SHOWN], presses.advice) if found.single else None,
        _rest(found.single[_SHOWN:], presses) if found.single[_SHOWN:] else None,
        nothing if not found.single and not more and found.total else None,
    )


def _rest(others: Sequence[Advice], presses: Presses) -> Html:
    summary = tag("summary", f"{len(others)} more", data_keep="fit-more")
    return tag("details", summary, advice.advice_list(others, presses.advice), data_keep="fit-more", class_="fit-more")


def _together(found: Found, presses: Presses) -> Html | None:
    if found.is_helped or found.tried < found.total or not found.total:
        return None
    if found.together is not None:
        listed = advice.advice_list([found.together], presses.advice)
        return tag("div", tag("p", _TOGETHER), listed, class_="fit-together")
    return tag("p", _SEEKING_TOGETHER if found.seeks_together else advice.NO_COMBINATION, class_="quiet-line")


def _offers(found: Found, presses: Presses) -> Html:
    if found.offers is None:
        return tag("p", "All cards are being looked at…", class_="quiet-line")
    return advice.offer_list(found.offers, touches=presses.offer)
