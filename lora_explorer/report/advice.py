"""Advice in words and as a list to press: what holds, what to change and what that costs, which cards to take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_explorer.report import speed_words, verdicts, words
from lora_explorer.report.html import Html, join, tag
from lora_explorer.report.savings import change_in_words
from lora_explorer.report.setting_help import linked
from lora_explorer.settings import SETTINGS

if TYPE_CHECKING:
    from lora_explorer.exploration.advice import Advice, Step
    from lora_explorer.exploration.card_offers import CardOffer
    from lora_explorer.exploration.costs import Level
    from lora_explorer.exploration.search import Largest

Touches = Mapping[str, Any]

PAID_WITH: Mapping[Level, str] = {
    "nothing": "costs nothing",
    "time": "costs time",
    "precision": "costs precision",
    "learning": "changes what is learned",
}
NO_COMBINATION = "No few changes together make it fit either: this run needs a larger card, or several."


def largest_in_words(found: Largest) -> str:
    """micro_batch_size: up to 18 (now 2); up to 15 with room to spare."""
    key = SETTINGS[found.setting].key
    if found.value is None:
        return f"{key}: not even {found.step:,} fits."
    sure = ""
    if found.sure_value is None:
        sure = ", but every value is tight"
    elif found.sure_value < found.value:
        sure = f"; up to {found.sure_value:,} with room to spare"
    more = f" {found.beyond}" if found.beyond else ""
    return f"{key}: up to {found.value:,} (now {found.now:,}){sure}.{more}"


def step_in_words(step: Step) -> str:
    """What it costs, and why, with the source."""
    return f"{_paid_in_words(step)}: {step.cost.note} ({step.cost.source})"


def _paid_in_words(step: Step) -> str:
    return ", ".join(filter(None, (_paid_with(step), speed_words.change(step.speed_factor))))


def _paid_with(step: Step) -> str:
    """What is known of any run, where the speed of this one does not tell more."""
    slower = speed_words.change(step.speed_factor).endswith("slower")
    if step.cost.level == "nothing" and slower:
        return PAID_WITH["time"]
    if step.cost.level == "time" and step.speed_factor is not None and not slower:
        return "costs little time"
    return PAID_WITH[step.cost.level]


def advice_list(advice: Sequence[Advice], touches: Callable[[Advice], Touches] = lambda each: each.changes) -> Html:
    """One button for each piece of advice. touches: what pressing it does to the widgets, for the page's script."""
    rows = (tag("li", _button(each, touches(each)), *map(_cost, each.steps)) for each in advice)
    return tag("ul", *rows, class_="savings advice")


def _button(advice: Advice, touches: Touches) -> Html:
    change = " + ".join(change_in_words(step.saving) for step in advice.steps)
    size = tag(
        "b", f"{_sign(advice.saved_bytes)}{words.file_size(abs(advice.saved_bytes))}", data_value=advice.saved_bytes
    )
    fits = tag("span", "makes it fit", class_="saving-fits") if advice.makes_fit else None
    name = tag("span", tag("code", change), class_="saving-change")
    return tag(
        "button", name, size, fits, type="button", class_="saving", title=f"Set {change}", data_keep=change,
        data_touches=json.dumps(touches),
        data_advice="single" if len(advice.steps) == 1 else "together",
    )  # fmt: skip


def _sign(saved_bytes: int) -> str:
    return "−" if saved_bytes >= 0 else "+"


def _cost(step: Step) -> Html:
    """The same as `step_in_words`, with the source as a link."""
    paid = tag("b", _paid_in_words(step))
    note = tag("span", step.cost.note)
    return tag("p", paid, ": ", note, " (", *linked(step.cost.source), ")", class_=f"advice-cost {step.cost.level}")


def largest_list(found: Iterable[Largest], touches: Callable[[Largest], Touches] | None = None) -> Html:
    """One line for each setting; one that can be set to its largest value has a button for it."""
    return tag("ul", *(_largest_line(each, touches) for each in found), class_="largest")


def _largest_line(found: Largest, touches: Callable[[Largest], Touches] | None) -> Html:
    button = None
    if touches is not None and found.value is not None and found.value != found.now:
        button = tag(
            "button", f"Set {found.value:,}", type="button", class_="saving", data_touches=json.dumps(touches(found)),
            aria_label=f"Set {found.setting} to {found.value:,}", data_keep=f"largest {found.setting}",
        )  # fmt: skip
    return tag("li", tag("span", largest_in_words(found)), button, data_setting=found.setting)


def offer_in_words(offer: CardOffer) -> str:
    """L40S: fits, with 5.2 GiB to spare; $0.79 an hour, about $0.12 a million tokens."""
    prices = []
    if offer.price is not None:
        prices.append(f"{speed_words.usd(offer.price.usd_per_hour)} an hour")
    if offer.usd_per_million_tokens is not None:
        prices.append(f"about {speed_words.usd(offer.usd_per_million_tokens)} a million tokens")
    verdict = verdicts.sentence_of(offer.fit).removesuffix(".")
    return f"{verdict}; {', '.join(prices)}." if prices else f"{verdict}."


def price_sources(offers: Iterable[CardOffer]) -> tuple[str, ...]:
    """Whose prices these are, and of when: each sentence once."""
    return tuple(dict.fromkeys(speed_words.price_source(offer.price) for offer in offers if offer.price is not None))


def offer_list(
    offers: Sequence[CardOffer], most: int = 8, touches: Callable[[CardOffer], Touches] | None = None
) -> Html:
    """The first few cards, and whose prices these are; a sentence where there is none.

    touches: what choosing a card does, for the page's script; None where it cannot be chosen.
    """
    if not offers:
        return join(tag("p", "None of the known cards holds this run alone.", class_="quiet-line"))
    listed = tag("ol", *(_offer_line(offer, touches) for offer in offers[:most]), class_="card-offers")
    return join(listed, *(tag("p", sentence, class_="quiet-line") for sentence in price_sources(offers[:most])))


def _offer_line(offer: CardOffer, touches: Callable[[CardOffer], Touches] | None) -> Html:
    button = None
    if touches is not None:
        button = tag(
            "button", "Choose", type="button", class_="saving", data_touches=json.dumps(touches(offer)),
            aria_label=f"Choose {offer.card.name}", data_keep=f"card {offer.card.name}",
        )  # fmt: skip
    return tag("li", tag("span", offer_in_words(offer)), button, data_card=offer.card.name)
