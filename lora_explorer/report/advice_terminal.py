"""Advice as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_explorer.report import verdicts, words
from lora_explorer.report.advice import NO_COMBINATION, largest_in_words, offer_in_words, price_sources, step_in_words
from lora_explorer.report.savings import change_in_words
from lora_explorer.report.terminal import show, show_table

if TYPE_CHECKING:
    from lora_explorer.exploration.advice import Advice
    from lora_explorer.exploration.card_offers import CardOffer
    from lora_explorer.exploration.search import Largest
    from lora_explorer.memory import CardFit

_SHOWN_CARDS = 8


def show_verdict(fit: CardFit) -> None:
    show(verdicts.sentence_of(fit))


def show_largest(found: Sequence[Largest]) -> None:
    """One line for each setting."""
    estimates = sum(each.estimates for each in found)
    show_table(
        f"The largest that fits, all else as it is ({estimates} predictions)",
        ("",),
        [(largest_in_words(each),) for each in found],
    )


def show_advice(advice: Sequence[Advice], combination: Advice | None, *, fits: bool) -> None:
    """Single changes, then the few that are enough together where no single one is."""
    title = "What would save memory" if fits else "What to change, one at a time"
    rows = [
        (
            change_in_words(each.steps[0].saving),
            _signed(each.saved_bytes),
            "fits then" if each.makes_fit else "",
            step_in_words(each.steps[0]),
        )
        for each in advice
    ]
    show_table(title, ("Change", "Saves", "", "What it costs"), rows)
    if fits or any(each.makes_fit for each in advice):
        return
    if combination is None:
        show(NO_COMBINATION)
        return
    steps = [
        (change_in_words(step.saving), _signed(step.saving.saved_bytes), step_in_words(step))
        for step in combination.steps
    ]
    show_table("No single change is enough; these together are", ("Change", "Saves", "What it costs"), steps)


def show_offers(offers: Sequence[CardOffer]) -> None:
    """The cheapest cards that run it as it is, and whose prices these are."""
    if not offers:
        show("None of the known cards holds this run alone.")
        return
    rows = [(offer_in_words(offer),) for offer in offers[:_SHOWN_CARDS]]
    more = f", of {len(offers)}" if len(offers) > _SHOWN_CARDS else ""
    show_table(f"Cards that hold it as it is, the cheapest first{more}", ("",), rows)
    for sentence in price_sources(offers[:_SHOWN_CARDS]):
        show(sentence)


def _signed(saved_bytes: int) -> str:
    return words.file_size(saved_bytes) if saved_bytes >= 0 else f"−{words.file_size(-saved_bytes)}"
