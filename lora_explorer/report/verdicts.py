"""Whether a card holds a run, in words, a mark and a colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lora_explorer.memory.measured_error import ALLOCATED, PROCESS
from lora_explorer.report import moments, words
from lora_explorer.report.html import Html, tag

if TYPE_CHECKING:
    from lora_explorer.memory.result import CardFit, Verdict

_KINDS: Mapping[Verdict, str] = {"fits": "good", "tight": "warn", "does not fit": "bad"}
_MARKS: Mapping[Verdict, str] = {"fits": "✓", "tight": "≈", "does not fit": "✗"}


def kind(fit: CardFit) -> str:
    """The style sheet's class."""
    return _KINDS[fit.verdict]


def mark(fit: CardFit) -> str:
    """One sign, for those who do not see the colour."""
    return _MARKS[fit.verdict]


def sentence_of(fit: CardFit) -> str:
    """What becomes of the run on a card, and why."""
    spare = words.gib(abs(fit.headroom_bytes))
    if fit.failed_in is not None:
        return f"{fit.gpu}: {spare} GiB short; runs out in: {moments.stretch_in_words(fit.failed_in)}."
    if fit.gives_cache_back:
        return f"{fit.gpu}: tight, for the allocator has to give cached memory back to get through."
    if fit.verdict == "tight":
        return f"{fit.gpu}: tight, for {spare} GiB to spare is less than such figures have been too low by."
    return f"{fit.gpu}: fits, with {spare} GiB to spare."


def verdict_line(fit: CardFit) -> Html:
    """The sentence with its mark."""
    sign = tag("span", mark(fit), aria_hidden="true", class_="mark")
    return tag("p", sign, sentence_of(fit), class_=f"verdict {kind(fit)}", id="verdict")


def accuracy_sentence() -> str:
    """How far such predictions were from measured runs."""
    return (
        f"Held against {PROCESS.runs} published runs, the process figure was {PROCESS.mean_percent:g} % off on average "
        f"and {PROCESS.worst_percent:g} % at worst; the allocated peak, over {ALLOCATED.runs}, "
        f"{ALLOCATED.mean_percent:g} % and {ALLOCATED.worst_percent:g} %."
    )
