"""Whether a card holds a run, in words, a mark and a colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lora_explorer.memory.measured_error import ALLOCATED, PROCESS
from lora_explorer.report import moments, words
from lora_explorer.report.html import Html, tag

if TYPE_CHECKING:
    from lora_explorer.memory import Card
    from lora_explorer.memory.result import CardFit, MemoryEstimate, Verdict

_KINDS: Mapping[Verdict, str] = {"fits": "good", "tight": "warn", "does not fit": "bad", "does not run": "bad"}
_MARKS: Mapping[Verdict, str] = {"fits": "✓", "tight": "≈", "does not fit": "✗", "does not run": "⊘"}


def fit_of(estimate: MemoryEstimate, card: Card) -> CardFit:
    """What becomes of the run on the chosen card."""
    return next(fit for fit in estimate.fits if fit.gpu == card.name)


def process_bytes(estimate: MemoryEstimate, fit: CardFit) -> int:
    """What the process holds at its peak on a card."""
    return estimate.process_bytes_on(fit)


def kind(fit: CardFit) -> str:
    """The style sheet's class."""
    return _KINDS[fit.verdict]


def mark(fit: CardFit) -> str:
    """One sign, for those who do not see the colour."""
    return _MARKS[fit.verdict]


def sentence_of(fit: CardFit) -> str:
    """What becomes of the run on a card, and why."""
    if fit.reason is not None:
        return f"{fit.gpu}: does not run. {fit.reason}"
    spare = words.gib(abs(fit.headroom_bytes))
    if fit.failed_in is not None:
        return f"{fit.gpu}: {spare} GiB short; runs out in: {moments.stretch_in_words(fit.failed_in)}."
    if fit.gives_cache_back:
        return f"{fit.gpu}: tight, for the run gets through only by giving cached memory back."
    if fit.verdict == "tight":
        return f"{fit.gpu}: tight, for {spare} GiB to spare is less than such figures have been too low by."
    return f"{fit.gpu}: fits, with {spare} GiB to spare."


def verdict_line(fit: CardFit, elem_id: str = "verdict") -> Html:
    """The sentence with its mark."""
    sign = tag("span", mark(fit), aria_hidden="true", class_="mark")
    return tag("p", sign, sentence_of(fit), class_=f"verdict {kind(fit)}", id=elem_id)


def headroom_in_words(fit: CardFit) -> str:
    """2.4 GiB to spare: below the verdict, where there is little room."""
    if fit.verdict == "does not run":
        return "kernels for it are missing"
    if fit.gives_cache_back:
        return "by giving its cache back"
    size = words.gib(abs(fit.headroom_bytes))
    return f"{size} GiB to spare" if fit.fits else f"{size} GiB short"


def accuracy_sentence(gpu: str | None = None) -> str:
    """How far such predictions were from measured runs. gpu: the card in question; whether any was on it is said."""
    elsewhere = f" None of them ran on {gpu}." if gpu not in (None, *PROCESS.gpus, *ALLOCATED.gpus) else ""
    return (
        f"Held against {PROCESS.runs} published runs, all on {_listed(PROCESS.gpus)}, the process figure was "
        f"{PROCESS.mean_percent:g} % off on average and {PROCESS.worst_percent:g} % at worst; the allocated peak, over "
        f"{ALLOCATED.runs} on {_listed(ALLOCATED.gpus)}, {ALLOCATED.mean_percent:g} % and "
        f"{ALLOCATED.worst_percent:g} %.{elsewhere}"
    )


def _listed(gpus: Sequence[str]) -> str:
    return " and ".join(gpus)
