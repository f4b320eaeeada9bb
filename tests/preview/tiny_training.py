"""Runs small enough for a test: a llama of width 64 in a folder, trained on a few rows by the real worker's code."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from lora_explorer.base_models import find_base_model
from lora_explorer.preview.events import Event, Step
from lora_explorer.preview.request import DataChoice, PreviewRequest
from lora_explorer.preview.run_folder import RunFolder, create_run
from lora_explorer.settings import recipe_from
from tests.preview.tiny_hub import save_tiny_llama

TINY_LORA: dict[str, Any] = {
    "adapter": "lora",
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_target_modules": ["q_proj", "v_proj"],
    "learning_rate": 0.01,
    "lr_scheduler": "constant",
    "sequence_len": 128,
    "micro_batch_size": 2,
    "bf16": False,
}


def tiny_llama(folder: Path) -> Path:
    """A saved model with a tokenizer of bytes, and beside it the rows that runs here are trained on."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lora_explorer.preview.models.stand_in_tokenizer.is_available", lambda: False)
        save_tiny_llama(folder)
    letters = "abcdefghijklmnop"
    rows = [
        {"text": f"{letters[number]} is followed by {letters[number + 1]}. " * (number % 3 + 1)} for number in range(12)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def request_for(model: Path, values: dict[str, Any] | None = None, **choices: Any) -> PreviewRequest:
    """A request for a short run; values: settings besides or in place of TINY_LORA."""
    recipe = recipe_from({"base_model": str(model)} | TINY_LORA | (values or {}))
    data = DataChoice("file", str(model / "rows.jsonl"), type="completion", val_set_size=2)
    usual: dict[str, Any] = {"data": data, "steps": 4, "samples": 0, "eval_every": 0}
    return PreviewRequest(recipe=recipe, base_model=find_base_model(str(model)), **(usual | choices))


def trained(request: PreviewRequest) -> tuple[RunFolder, list[Event]]:
    """The folder and the events of a run in this process."""
    folder = create_run(request)
    return folder, continued(folder)


def continued(folder: RunFolder, stopping: threading.Event | None = None) -> list[Event]:
    """The events of training what the folder asks for, from where it is."""
    from lora_explorer.preview.training.run import train

    events: list[Event] = []
    train(folder, events.append, stopping or threading.Event())
    return events


def steps(events: list[Event]) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


def losses(events: list[Event]) -> list[float | None]:
    return [step.loss for step in steps(events)]
