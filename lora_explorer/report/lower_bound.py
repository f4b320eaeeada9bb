"""What is known of a run that cannot be traced, so that nobody takes it for an estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_explorer.memory.result import in_parts
from lora_explorer.report import notes, words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.memory.lower_bound import LowerBound


def lower_bound(bound: LowerBound | None, reason: str) -> Html:
    """Why there is no figure, and what the run needs at the very least."""
    if bound is None:
        return notes.complaint(reason)
    parts = (
        tag("li", tag("span", name.capitalize()), tag("b", f"≥ {words.gib(size, 2)}"))
        for name, size in in_parts(bound.parts)
    )
    return join(
        notes.complaint(reason),
        tag("p", sentence_of(bound), class_="lower-bound", id="lower-bound", data_value=bound.at_least_bytes),
        tag("ul", *parts, class_="memory-legend"),
        *(tag("p", sentence, class_="quiet-line") for sentence in bound.left_out),
    )


def sentence_of(bound: LowerBound) -> str:
    """The bound in words that cannot be taken for an estimate."""
    return (
        f"At least {words.gib(bound.at_least_bytes)} GiB: a computed lower bound, not an estimate. Other activations, "
        "temporaries, fragments and the CUDA context come on top."
    )


def no_curve() -> Html:
    """In place of the way to the peak."""
    return tag("p", "Not known: this step could not be traced.", class_="quiet-line")


def no_savings() -> Html:
    """In place of what would save memory."""
    return tag("p", "Not known: without a figure there is nothing to save from.", class_="quiet-line savings-whole")


def no_verdicts(reason: str) -> Html:
    """In place of the cards."""
    return tag("p", f"No verdicts: {reason[:1].lower()}{reason[1:]}", class_="quiet-line")
