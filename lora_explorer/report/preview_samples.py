"""What does it answer now? The same prompts before training and after, side by side."""

from __future__ import annotations

from lora_explorer.report.html import Html, tag
from lora_explorer.report.preview_story import RunStory

_NONE_YET = "At the end the model answers a few prompts with the adapter and without it."
_NONE_ASKED = "The run is over; it was asked for no answers."
_ENDED_BEFORE = "The run ended before it was asked."


def samples(story: RunStory) -> Html:
    """One block a prompt: the prompt, what the rows expect, before and after."""
    if not story.samples:
        return tag("p", _why_none(story), class_="quiet-line")
    blocks = (
        tag(
            "section",
            tag("p", sample.prompt, class_="sample-prompt", translate="no"),
            tag(
                "p",
                tag("span", "the rows say "),
                tag("span", sample.expected, translate="no"),
                class_="sample-expected",
            )
            if sample.expected
            else None,
            tag("div", _answer("before", sample.before), _answer("after", sample.after), class_="sample-pair"),
            class_="sample",
        )
        for sample in story.samples
    )
    return tag("div", *blocks, id="preview-samples", data_value=len(story.samples))


def _why_none(story: RunStory) -> str:
    if not story.loss_means_something:
        return "Random weights have no answers."
    if not story.is_over:
        return _NONE_YET
    return _NONE_ASKED if story.status == "finished" else _ENDED_BEFORE


def _answer(when: str, text: str) -> Html:
    said = tag("p", text, translate="no") if text.strip() else tag("p", "nothing", class_="quiet-line")
    return tag("div", tag("h4", when), said, class_=f"sample-{when}")
