"""A run on disk: one folder that holds its request, its events as they come, and what it leaves behind.

The folder is the only thing a worker, the page, the command line and a later start of the app have in common.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from platformdirs import user_cache_path, user_data_path

from lora_explorer.preview.events import LAST_KINDS, Event, from_line, to_line
from lora_explorer.preview.request import PreviewRequest, request_from

Status = Literal["waiting", "running", "finished", "failed", "stopped"]
HOME_VARIABLE = "LORA_EXPLORER_HOME"
"""The environment variable that names a folder for runs and copies of models, in place of the user's own."""

# As transformers' Trainer calls them.
_CHECKPOINT, _TRAINER_STATE = "checkpoint", "trainer_state.json"

CLOCK_SLACK_SECONDS = 10.0
"""A process's start is told by the clock, which may be set while it runs; numbers are not given again so soon."""


def home() -> Path:
    """Where runs are kept."""
    return _named_home() or user_data_path("lora-explorer", appauthor=False)


def model_cache() -> Path:
    """Where converted copies of models are kept; they can be made again."""
    return (_named_home() or user_cache_path("lora-explorer", appauthor=False)) / "models"


def _named_home() -> Path | None:
    named = os.environ.get(HOME_VARIABLE)
    return Path(named).expanduser() if named else None


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. Its name is the run's id."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def adapter(self) -> Path:
        """The trained adapter as PEFT saves it, with a model card."""
        return self.path / "adapter"

    @property
    def checkpoints(self) -> Path:
        """Where the trainer keeps what an extension continues from."""
        return self.path / "checkpoints"

    def newest_checkpoint(self) -> Path | None:
        """The last one that was written to its end, its state being what comes last."""
        found = [path.parent for path in self.checkpoints.glob(f"{_CHECKPOINT}-*/{_TRAINER_STATE}")]
        return max(found, key=checkpoint_step, default=None)

    def kept_steps(self) -> int:
        """After how many steps an extension would go on."""
        newest = self.newest_checkpoint()
        return checkpoint_step(newest) if newest else 0

    @property
    def log(self) -> Path:
        """What the worker's libraries print."""
        return self.path / "worker.log"

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    def write(self, name: str, record: Any) -> None:
        """A JSON file in the folder, complete or not there at all."""
        file = self.path / f"{name}.json"
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
        draft.replace(file)

    def read(self, name: str) -> Any:
        """What `write` wrote; None where there is nothing readable."""
        try:
            return json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def request(self) -> PreviewRequest:
        """Raises KeyError, TypeError or InvalidSettings where the folder is of another version."""
        return request_from(self.read("request"))

    def append(self, event: Event) -> None:
        """Add an event. One write of one line, so that no reader sees a mixture of two."""
        with self.events_file.open("ab", buffering=0) as file:
            # What is no text, such as half a character of a model's answer, must not keep the event from being told.
            file.write(to_line(event).encode("utf-8", "replace"))

    def events(self, offset: int = 0) -> tuple[list[Event], int]:
        """Events from a byte offset on, and the offset to ask from next; half a line waits for its other half."""
        try:
            with self.events_file.open("rb") as file:
                file.seek(offset)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return [], offset
        found = (from_line(line.decode("utf-8", "replace")) for line in whole.split(b"\n") if line)
        return [event for event in found if event is not None], offset + len(whole) + len(newline)

    def register_worker(self, pid: int) -> None:
        """Write down which process runs it, so that others find it and never mistake a later one for it."""
        self.write("worker", {"pid": pid, "started": psutil.Process(pid).create_time(), "since": time.time()})

    def worker(self) -> psutil.Process | None:
        """The process that runs it, if it still does."""
        known = self.read("worker")
        if not known:
            return None
        try:
            process = psutil.Process(known["pid"])
            same = abs(process.create_time() - known["started"]) < CLOCK_SLACK_SECONDS
            alive = same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None

    def worker_since(self) -> float | None:
        """When the process was written down, in seconds since the epoch."""
        known = self.read("worker")
        return float(known["since"]) if isinstance(known, dict) and "since" in known else None

    def status(self) -> Status:
        """What the events say: an extension makes a finished run a running one again."""
        events, _ = self.events()
        kinds = [event.kind for event in events if event.kind in LAST_KINDS | {"started", "stage", "waiting"}]
        if not kinds:
            return "waiting"
        return "running" if kinds[-1] in ("started", "stage") else kinds[-1]  # type: ignore[return-value]

    def delete(self) -> None:
        """The run and all it left."""
        shutil.rmtree(self.path, ignore_errors=True)


def checkpoint_step(checkpoint: Path) -> int:
    """After how many steps it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def create_run(request: PreviewRequest, *, owner: str = "") -> RunFolder:
    """A new folder with its request. owner: who may stop and delete it, a secret of a browser; empty for anyone."""
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
    folder = RunFolder(home() / "runs" / run_id)
    folder.path.mkdir(parents=True)
    folder.write("owner", owner)
    folder.write("request", request.record())
    return folder
