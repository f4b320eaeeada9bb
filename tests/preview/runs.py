"""Requests and run folders for tests of what starts, watches and ends runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lora_explorer.base_models import BaseModel
from lora_explorer.preview.events import LAST_KINDS, Event, Failed, Step
from lora_explorer.preview.request import Limits, PreviewRequest
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.supervision.process import Worker, start_worker
from lora_explorer.settings import recipe_from

STAND_IN = Path(__file__).with_name("stand_in.py")


def request(steps: int = 5, most_steps: int = 10_000, **limits: Any) -> PreviewRequest:
    return PreviewRequest(
        recipe=recipe_from({"base_model": "owner/small", "lora_r": 8, "learning_rate": 1e-4}),
        base_model=BaseModel("owner/small", "file", "{}", "owner/small"),
        text="lora_r: 8\n",
        steps=steps,
        limits=Limits(steps=most_steps, **limits),
    )


def step(number: int, loss: float | None) -> Step:
    """The event of one step."""
    figures = {"learning_rate": 1e-4, "tokens_per_second": 1.0, "grad_norm": 1.0, "epoch": 0.1}
    return Step(step=number, loss=loss, memory_bytes=1, tokens=1, **figures)


def starting(conduct: str) -> Callable[[RunFolder], Worker]:
    """What starts a worker that behaves so."""
    return partial(start_worker, command=(sys.executable, str(STAND_IN), conduct))


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> float:
    """Seconds that passed until it held; fails where it never does."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.005)
    return time.monotonic() - began


def is_over(folder: RunFolder) -> bool:
    return folder.status() in LAST_KINDS


def last_event(folder: RunFolder) -> Event:
    return folder.events()[0][-1]


def failure(folder: RunFolder) -> Failed:
    event = last_event(folder)
    assert isinstance(event, Failed), folder.events_file.read_text()
    return event


def kinds(folder: RunFolder) -> list[str]:
    return [event.kind for event in folder.events()[0]]


def steps_told(folder: RunFolder) -> list[int]:
    return [event.step for event in folder.events()[0] if event.kind == "step"]  # type: ignore[attr-defined]
