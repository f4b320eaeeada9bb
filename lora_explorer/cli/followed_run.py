"""A run started and followed on the command line, and stopped with it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from lora_explorer.cli.output import AT_FAULT, tell
from lora_explorer.errors import ExplorerError
from lora_explorer.preview.events import Event, Failed, Log, Stopped, to_line
from lora_explorer.preview.following import follow
from lora_explorer.preview.request import PreviewRequest
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.supervision.ownership import find_run
from lora_explorer.preview.supervision.queue import RunQueue

_EXIT_SECONDS = 5.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Begun:
    """A run in the line. offset: where its new events begin."""

    folder: RunFolder
    offset: int = 0


def submitted(queue: RunQueue, request: PreviewRequest, notes: tuple[str, ...]) -> Begun:
    """A new run. notes: written down with its events."""
    folder = queue.submit(request)
    for note in notes:
        folder.append(Log(message=note))
    return Begun(folder)


def extended(queue: RunQueue, run_id: str, steps: int) -> Begun:
    """A run that is over, going on. Raises PreviewRefused."""
    _, offset = find_run(run_id).events()
    return Begun(queue.extend(run_id, steps, owner=None), offset)


def followed(queue: RunQueue, begun: Begun, show: Callable[[Event], None], stopping: threading.Event) -> Event:
    """Show events as they come, and return the last one when the process is gone. stopping: set to stop the run.

    Raises PreviewRefused where somebody deletes the run.
    """
    folder = begun.folder
    threading.Thread(target=_stop_when_asked, args=(queue, folder, stopping), daemon=True).start()
    last: Event = Stopped(steps=0)
    try:
        for last in follow(folder, begun.offset):
            show(last)
    except BaseException:
        # Also where nobody reads what is printed any more.
        queue.stop(folder.id, owner=None)
        raise
    _wait_for_end(folder)
    return last


def print_line(event: Event) -> None:
    """An event as a line of JSON."""
    sys.stdout.write(to_line(event))
    sys.stdout.flush()


@contextmanager
def refusals_told(*, as_json: bool) -> Iterator[None]:
    """Errors raised on purpose become lines on stderr, a last event where events are printed, and exit status 1."""
    try:
        yield
    except ExplorerError as error:
        tell(error.findings)
        if as_json:
            first = error.findings[0]
            what = f"Try {first.suggestion}." if first.suggestion else ""
            print_line(Failed(message=first.message, suggestion=what, setting=first.setting))
        raise typer.Exit(AT_FAULT) from error


def _stop_when_asked(queue: RunQueue, folder: RunFolder, stopping: threading.Event) -> None:
    stopping.wait()
    queue.stop(folder.id, owner=None)


def _wait_for_end(folder: RunFolder) -> None:
    """A worker takes a moment to end after its last word, and the queue another to put its mark away."""
    deadline = time.monotonic() + _EXIT_SECONDS
    while folder.read("worker") is not None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
