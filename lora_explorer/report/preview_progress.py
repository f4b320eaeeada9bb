"""Where a run stands: one line, a bar, and what its libraries said."""

from __future__ import annotations

from lora_explorer.preview.events import Stopped
from lora_explorer.report import notes, words
from lora_explorer.report.html import Html, join, tag
from lora_explorer.report.preview_story import RunStory

NOTHING_YET = "No run yet. Its curve, speed and memory appear here, each step within a second."


def progress(story: RunStory | None, name: str = "") -> Html:
    """The status with its sentence, how many steps are done, and the time left. None: there is no run to show.

    name: which run it is; its line is there in any case, so that nothing moves when a run begins.
    """
    named = tag("p", name, id="preview-run", class_="run-name")
    if story is None:
        return join(_block("none", NOTHING_YET, "", 0, 1), named)
    counted = f"{story.done_steps:,} of {words.counted(story.planned_steps, 'step')}" if story.planned_steps else ""
    beside = _beside(story, counted)
    return join(_block(story.status, sentence_of(story), beside, story.done_steps, story.planned_steps), named)


def sentence_of(story: RunStory) -> str:
    """What is going on, or how it ended and what to change."""
    if story.status == "waiting":
        return _waiting(story.place)
    if story.status == "running":
        return _running(story)
    return _ended(story)


def run_notes(story: RunStory) -> Html:
    """What was done otherwise than written."""
    return notes.sentences(story.notes)


def log_lines(story: RunStory) -> Html:
    """What is worth reading, newest last and in sight."""
    said = (tag("div", line, translate="no") for line in reversed(story.log))
    return tag("div", *said, class_="run-log", tabindex=0, role="log", aria_label="Log of the run")


def _block(status: str, sentence: str, beside: str, done: int, planned: int) -> Html:
    share = 100 * min(done / planned, 1.0) if planned else 0.0
    bar = tag(
        "div",
        tag("span", style=f"width:{share:.2f}%"),
        id="preview-progress",
        class_="run-bar",
        role="progressbar",
        aria_label="Steps done",
        aria_valuemin=0,
        aria_valuemax=planned,
        aria_valuenow=done,
        data_value=done,
        data_total=planned,
    )
    line = tag("p", sentence, id="preview-status", data_value=status, class_=f"run-status {status}", role="status")
    return join(tag("div", line, tag("span", beside, class_="run-beside"), class_="run-line"), bar)


def _waiting(place: int | None) -> str:
    if place is None:
        return "Waiting: it starts in a moment."
    ahead = {1: "You are next", 2: "One run is before yours"}.get(place, f"{place - 1} runs are before yours")
    return f"Waiting in line, place {place}. {ahead}; one runs at a time."


def _running(story: RunStory) -> str:
    where = f" on {story.device}" if story.device else ""
    if story.stage:
        return f"{story.stage}…"
    return f"Training{where}." if story.steps else f"Starting{where}…"


def _ended(story: RunStory) -> str:
    last = story.last
    if last is None:
        return ""
    if last.kind == "failed":
        return f"{getattr(last, 'message', '')} {getattr(last, 'suggestion', '')}".strip()
    if isinstance(last, Stopped):
        return f"{_stopped(story)} {_kept(story, last)}".strip()
    return f"Finished in {words.duration(getattr(last, 'seconds', 0.0))}."


def _stopped(story: RunStory) -> str:
    return (
        f"Stopped after {words.counted(story.done_steps, 'step')}." if story.steps else "Stopped before its first step."
    )


def _kept(story: RunStory, last: Stopped) -> str:
    """What is left of what it learnt."""
    kept = last.kept_steps
    if kept is None or not story.steps or not story.loss_means_something:
        return ""
    if not kept:
        return "The step under way took too long for anything to be kept."
    if kept >= last.steps:
        return "What it has learnt so far is kept."
    return f"What it had learnt after {words.counted(kept, 'step')} is kept."


def _beside(story: RunStory, counted: str) -> str:
    """How far, and how long still."""
    left = story.seconds_left if story.status == "running" else None
    return f"{counted} · {words.duration(left)} left" if left is not None else counted
