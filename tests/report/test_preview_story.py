"""What a run has told so far, whatever the order and however often it is read."""

from __future__ import annotations

import pytest

from lora_explorer.preview import events as told
from lora_explorer.preview.events import Event
from lora_explorer.report.preview_story import RunStory, story_of


def step(number: int, at: float = 0.0, loss: float | None = 2.0) -> told.Step:
    return told.Step(
        at=at,
        step=number,
        loss=loss,
        learning_rate=1e-4,
        tokens_per_second=100.0,
        grad_norm=0.5,
        memory_bytes=1 << 30,
        tokens=404,
        epoch=0.1,
    )


STARTED = told.Started(at=100.0, run="r", steps=4, device="CPU, 2 threads")
RUN: list[Event] = [
    told.Waiting(at=90.0, place=2),
    told.Stage(at=99.0, message="Starting"),
    STARTED,
    *(step(number, at=100.0 + 2 * number) for number in (1, 2, 3)),
    told.Evaluation(at=107.0, step=2, eval_loss=2.1),
]


def test_a_story_read_event_by_event_is_the_one_read_at_once() -> None:
    story = RunStory()
    for event in RUN:
        story = story_of([event], story)
    assert story == story_of(RUN)


def test_status_follows_the_run_and_an_extension_makes_it_run_again() -> None:
    seen = []
    story = RunStory()
    for event in (*RUN, told.Finished(steps=3, seconds=6.0), told.Stage(message="Starting"), told.Stopped(steps=3)):
        story = story_of([event], story)
        seen.append(story.status)
    assert seen[0] == "waiting"
    assert seen[-4:] == ["running", "finished", "running", "stopped"]


def test_a_step_that_is_done_again_replaces_the_one_before() -> None:
    story = story_of([*RUN, told.Stage(message="Starting"), STARTED, step(2, loss=1.5)])
    assert [(each.step, each.loss) for each in story.steps] == [(1, 2.0), (2, 1.5), (3, 2.0)]


def test_time_left_is_the_steps_left_at_the_present_pace_and_is_not_told_once_it_is_over() -> None:
    story = story_of(RUN)
    assert story.seconds_left == pytest.approx(2.0)
    assert story_of([told.Finished(steps=4, seconds=8.0)], story).seconds_left is None


def test_a_long_run_is_not_drawn_into_a_corner() -> None:
    long = story_of([told.Started(run="r", steps=9000, device="CPU"), step(12)])
    assert long.done_steps < long.axis_steps < 1000
    assert story_of(RUN).axis_steps == 4
    assert story_of([step(9000)], long).axis_steps == 9000


def test_random_weights_have_no_loss_that_means_something() -> None:
    assert story_of(RUN).loss_means_something
    assert not story_of([STARTED, step(1, loss=None)]).loss_means_something


def test_the_log_tells_what_happened_when() -> None:
    events = [
        told.Log(message="Read this.", at=99.0),
        told.Stage(message="Loading the libraries", at=100.0),
        told.Started(run="r", steps=2, device="CPU", at=102.0),
        told.Stage(message="Training", at=103.5),
        told.Evaluation(step=2, eval_loss=2.0, at=110.0),
        told.Finished(steps=2, seconds=10.0, at=111.0),
    ]
    seconds, lines = zip(*(line.strip().split(" s  ") for line in story_of(events).log), strict=True)
    assert seconds == ("0.0", "0.0", "3.5", "10.0", "11.0")
    assert lines[:3] == ("Read this.", "Loading the libraries…", "Training…")
    assert "rows kept aside" in lines[3]
    assert lines[4] == "Finished."


def test_an_extension_counts_its_own_seconds() -> None:
    before = [told.Stage(message="Training", at=100.0), told.Finished(steps=2, seconds=10.0, at=110.0)]
    again = [told.Stage(message="Starting", at=500.0), told.Stage(message="Training", at=507.0)]
    assert [line.split()[0] for line in story_of([*before, *again]).log] == ["0.0", "10.0", "0.0", "7.0"]
