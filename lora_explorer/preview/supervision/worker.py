"""The process that trains: `python -m lora_explorer.preview.supervision.worker RUN_FOLDER`.

With - in place of the folder it loads its libraries and waits for a line on stdin that names the folder. It outlives
the app that started it, holds its own limits, and tells how it ended as the last event of its run.
"""

from __future__ import annotations

import atexit
import faulthandler
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from lora_explorer.preview.events import Evaluation, Event, Finished, Log, Stage, Step
from lora_explorer.preview.request import Limits
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.supervision.ending import end, reserve, steps_done, stopped
from lora_explorer.preview.supervision.failures import (
    OUT_OF_MEMORY,
    LossNotFinite,
    explain,
    explain_cause,
    explain_time,
    is_explained,
    to_public,
    trace_of,
)
from lora_explorer.preview.supervision.limits import (
    end_group,
    end_within,
    go_first,
    lead_group,
    lift_limits,
    limit_files,
    limit_memory,
)
from lora_explorer.preview.supervision.standby import IDLE_SECONDS, WAIT

Train: TypeAlias = Callable[[RunFolder, Callable[[Event], None], threading.Event], None]
"""Trains what a folder asks for, tells events, and returns when it is done or soon after it is told to stop."""

STOP_SECONDS = 1.2
"""How long a step may go on after a stop. Whoever asked waits a little longer, and is told within two seconds."""
EXIT_SECONDS = 3.0
_TICK_SECONDS = 0.05


class Report:
    """The events of one run, from its first to its last; after that, nothing more is told.

    steps: done so far, those before an extension included.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._over = False
        self.steps = steps_done(folder)

    def tell(self, event: Event) -> None:
        """Raises LossNotFinite in place of telling such a step, and OSError on a full disk."""
        if isinstance(event, Step):
            _check_finite(event.step, event.loss)
        if isinstance(event, Evaluation):
            _check_finite(event.step, event.eval_loss)
        with self._lock:
            if self._over:
                return
            self._folder.append(_public(event))
            self.steps = event.step if isinstance(event, Step) else self.steps

    def stopped(self, steps: int) -> Event:
        """That it was stopped, and what of it is kept."""
        return stopped(self._folder, steps)

    def end(self, last: Callable[[int], Event]) -> None:
        """Tell how it ended, given the steps done, unless that was told already."""
        with self._lock:
            if not self._over:
                self._over = True
                lift_limits()
                end(self._folder, last(self.steps))


class Watch:
    """A run's limits and its end, held by a thread beside the training and by this context around it."""

    def __init__(self, report: Report, limits: Limits, stopping: threading.Event) -> None:
        self._report, self._limits, self._stopping = report, limits, stopping
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._began = time.monotonic()
        self._asked_at: float | None = None
        self._is_late = False

    def ask_to_stop(self, *_: object) -> None:
        """Of a signal, so it only takes a note: the thread that was interrupted may hold any lock."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    def __enter__(self) -> None:
        # Should the interpreter itself hang, the system ends it; by then the thread has long spoken.
        end_within(self._limits.wall_clock_seconds + self._grace_seconds + EXIT_SECONDS)
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        # Libraries that hang while the interpreter shuts down must not keep the next run waiting.
        end_within(EXIT_SECONDS)
        if error is None:
            self._report.end(self._last)
        else:
            self._end_with(error)

    def _end_with(self, error: BaseException) -> None:
        if not is_explained(error):
            # How it ended is told in any case.
            with suppress(OSError):
                self._report.tell(Log(message=trace_of(error)))
        self._report.end(lambda steps: explain(error, steps=steps))

    @property
    def _grace_seconds(self) -> float:
        """For the step that runs when the time is up."""
        return min(10.0, self._limits.wall_clock_seconds / 10)

    def _last(self, steps: int) -> Event:
        if self._is_late:
            return explain_time(self._limits.wall_clock_seconds, steps=steps)
        if self._stopping.is_set():
            return self._report.stopped(steps)
        return Finished(steps=steps, seconds=time.monotonic() - self._began)

    def _look(self) -> None:
        while not self._done.wait(_TICK_SECONDS):
            self._look_at_clock()
            self._look_at_memory()

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        over = now - self._began - self._limits.wall_clock_seconds
        self._is_late = self._is_late or over > 0
        if self._is_late or self._asked_at is not None:
            self._stopping.set()
        if over > self._grace_seconds or (self._asked_at is not None and now - self._asked_at > STOP_SECONDS):
            self._give_up(self._last)

    def _look_at_memory(self) -> None:
        most_bytes = self._limits.memory_bytes
        if most_bytes is not None and not limit_memory(most_bytes):
            self._give_up(lambda steps: explain_cause(OUT_OF_MEMORY, steps=steps))

    def _give_up(self, last: Callable[[int], Event]) -> None:
        self._report.end(last)
        end_group()


def run(folder: RunFolder, train: Train) -> None:
    """Train under the request's limits and tell the end. What training raises is told, and raised on."""
    # Before any library adds its own, so that theirs come first.
    atexit.register(_leave)
    stopping = threading.Event()
    report = Report(folder)
    watch = Watch(report, _limits(folder), stopping)
    signal.signal(signal.SIGTERM, watch.ask_to_stop)
    with watch:
        limit_files(_limits(folder).file_bytes)
        reserve(folder)
        train(folder, report.tell, stopping)


def main() -> None:
    """Train what the folder on the command line asks for."""
    faulthandler.enable()
    lead_group()
    go_first()
    named = sys.argv[1]
    run(_awaited_folder() if named == WAIT else RunFolder(Path(named)), _train)


def _awaited_folder() -> RunFolder:
    """The folder that is named when the libraries are loaded. Ends the process where none is."""
    import lora_explorer.preview.training.run  # noqa: F401 - what takes long to load

    named, _, _ = select.select([sys.stdin], [], [], IDLE_SECONDS)
    path = sys.stdin.readline().rstrip("\n") if named else ""
    if not path:
        os._exit(0)
    folder = RunFolder(Path(path))
    with folder.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
        for number, file in ((0, nothing), (1, log), (2, log)):
            os.dup2(file.fileno(), number)
    return folder


def _train(folder: RunFolder, emit: Callable[[Event], None], stopping: threading.Event) -> None:
    emit(Stage(message="Loading the libraries"))
    from lora_explorer.preview.training.run import train

    train(folder, emit, stopping)


def _leave() -> None:
    """End here: taking a model and its libraries apart takes seconds for which the next run would wait."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1 if hasattr(sys, "last_value") else 0)


def _limits(folder: RunFolder) -> Limits:
    # The rest of the request is read where an exception is told.
    record = folder.read("request")
    return Limits(**record["limits"]) if isinstance(record, dict) and "limits" in record else Limits()


def _check_finite(step: int, loss: float | None) -> None:
    if loss is not None and not math.isfinite(loss):
        raise LossNotFinite(step)


def _public(event: Event) -> Event:
    return replace(event, message=to_public(event.message)) if isinstance(event, Log) else event


if __name__ == "__main__":
    main()
