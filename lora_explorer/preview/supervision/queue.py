"""One run at a time: the others wait in a line, and see their place in it.

The line is kept in the run folders, so that it outlives the app, and so that two apps with the same home share it.
`waiting.json` in a folder: it waits, since when, and the place it was told. `worker.json`: it runs, or its end has not
been settled yet. `stop.json`: somebody asked it to stop.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from filelock import FileLock, Timeout

from lora_explorer.errors import InvalidSettings, PreviewRefused
from lora_explorer.preview.events import Event, Stage, Waiting
from lora_explorer.preview.request import PreviewRequest
from lora_explorer.preview.run_folder import RunFolder, create_run, home
from lora_explorer.preview.supervision.ending import end, is_over, log_tail, steps_done, stopped
from lora_explorer.preview.supervision.failures import explain, explain_death, explain_time
from lora_explorer.preview.supervision.ownership import find_run, hashed, own_run
from lora_explorer.preview.supervision.process import Worker, find_worker, start_worker

POLL_SECONDS = 0.1
LOCK_SECONDS = 10.0
# A worker ends itself at its time limit, and the system ends one that hangs; what is still there then is killed.
TIME_GRACE_SECONDS = 20.0
_log = logging.getLogger(__name__)


class RunQueue:
    """Starts runs in the order they were asked for, and settles how they ended.

    For many threads. One thread of its own looks after the runs while there are any. start: what starts a worker.
    Where an owner is asked for, None may do it to every run: for whoever sits before this machine.
    """

    def __init__(self, *, start: Callable[[RunFolder], Worker] = start_worker) -> None:
        self._start = start
        self._workers: dict[str, Worker] = {}
        self._turn = threading.RLock()
        self._wake = threading.Event()
        self._closed = False
        self._dispatcher: threading.Thread | None = None

    def submit(self, request: PreviewRequest, owner: str = "") -> RunFolder:
        """Put a run into the line. owner: a secret without which nobody may stop it; empty for anyone.

        Raises PreviewRefused for fewer than one step, or more than the request's limits allow.
        """
        _check_steps(request)
        folder = create_run(request, owner=hashed(owner))
        self._line_up(folder)
        return folder

    def extend(self, run_id: str, steps: int, owner: str | None = "") -> RunFolder:
        """Let a run that is over go on for more steps, from its newest checkpoint.

        Raises PreviewRefused for a run that is not over, for another's, and as `submit` does.
        """
        folder = own_run(run_id, owner)
        with self._alone():
            if _is_marked(folder, "worker"):
                self._is_running(folder)
            if not is_over(folder):
                raise PreviewRefused("The run is not over yet; it can be extended when it is.")
            if steps < 1:
                raise PreviewRefused(f"A run can be extended by 1 step or more, not by {steps}.", setting="steps")
            request = folder.request()
            request = replace(request, steps=steps_done(folder) + steps)
            _check_steps(request)
            folder.write("request", request.record())
            self._line_up(folder)
        return folder

    def stop(self, run_id: str, owner: str | None = "") -> None:
        """Take a run out of the line, or end it: gone within two seconds. Nothing happens to one that is over.

        Raises PreviewRefused for another's run, and where there is none.
        """
        folder = own_run(run_id, owner)
        with self._alone():
            if _is_marked(folder, "waiting"):
                _unmark(folder, "waiting")
                end(folder, stopped(folder, steps_done(folder)))
            worker = self._worker(folder)
            if worker is None:
                return
            # On a full disk the worker's own last word has to do.
            with suppress(OSError):
                folder.write("stop", time.time())
        worker.stop()
        self._take_turn()

    def delete(self, run_id: str, owner: str | None = "") -> None:
        """Stop a run and remove all it left. Raises as `stop`."""
        self.stop(run_id, owner)
        find_run(run_id).delete()

    def place(self, run_id: str) -> int | None:
        """Place in the line, 1 is next; None for a run that does not wait."""
        line = [folder.id for folder in _line()]
        return line.index(run_id) + 1 if run_id in line else None

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way, of this app or of another."""
        return any(_is_marked(folder, "worker") for folder in _folders())

    def adopt(self) -> None:
        """Look after what an earlier start of the app left: running, waiting, or ended without being told."""
        with self._alone():
            for folder in _folders():
                if not _is_marked(folder, "waiting") and not _is_marked(folder, "worker"):
                    self._adopt_stray(folder)
        self._look_after()

    def close(self) -> None:
        """End the thread. Runs go on, for the next queue to adopt."""
        self._closed = True
        self._wake.set()
        if self._dispatcher:
            self._dispatcher.join()

    def _adopt_stray(self, folder: RunFolder) -> None:
        status = folder.status()
        if status == "running":
            _settle(folder, explain_death(None, log_tail(folder), steps=steps_done(folder)))
        elif status == "waiting" and folder.read("request"):
            self._line_up(folder)

    def _line_up(self, folder: RunFolder) -> None:
        folder.write("waiting", {"since": time.time(), "place": None})
        self._look_after()

    def _look_after(self) -> None:
        with self._turn:
            if self._dispatcher is None:
                self._dispatcher = threading.Thread(target=self._dispatch, name="run-queue", daemon=True)
                self._dispatcher.start()
        self._wake.set()

    def _dispatch(self) -> None:
        while not self._closed:
            self._wake.clear()
            anything = self._take_turn()
            self._wake.wait(POLL_SECONDS if anything else None)

    def _take_turn(self) -> bool:
        """Settle what has ended, start what is next, tell the others their place; whether there is anything left."""
        try:
            with self._alone():
                busy = [folder for folder in _folders() if _is_marked(folder, "worker") and self._is_running(folder)]
                self._forget_deleted()
                if not busy:
                    busy = self._start_next()
                line = _line()
                for place, folder in enumerate(line, start=1):
                    _tell_place(folder, place)
                return bool(busy or line or self._workers)
        except (OSError, PreviewRefused) as error:
            # A full disk, or another app that holds the line: the next turn may find it otherwise.
            _log.warning("The line of runs could not be looked after: %s", error)
            return True

    def _start_next(self) -> list[RunFolder]:
        for folder in _line():
            try:
                # First, as a quick worker's last event must come after it.
                folder.append(Stage(message="Starting"))
                self._workers[folder.id] = self._start(folder)
            except OSError as error:
                _settle(folder, explain(error, steps=steps_done(folder)))
                _unmark(folder, "waiting")
                continue
            _unmark(folder, "waiting")
            return [folder]
        return []

    def _is_running(self, folder: RunFolder) -> bool:
        """Whether its worker is there; the end of one that is not is settled."""
        worker = self._worker(folder)
        if worker is not None and worker.seconds > _limit_seconds(folder) + TIME_GRACE_SECONDS:
            worker.stop(0)
            _settle(folder, explain_time(_limit_seconds(folder), steps=steps_done(folder)))
        elif worker is None or worker.has_ended():
            _settle(folder, _how_it_ended(folder, worker))
        else:
            return True
        self._workers.pop(folder.id, None)
        return False

    def _worker(self, folder: RunFolder) -> Worker | None:
        """The one started here, or one found alive."""
        return self._workers.get(folder.id) or find_worker(folder)

    def _forget_deleted(self) -> None:
        known = {folder.id for folder in _folders()}
        for run_id, worker in list(self._workers.items()):
            if run_id not in known and worker.has_ended():
                del self._workers[run_id]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread and no other app changes the line. Raises PreviewRefused where another app keeps it."""
        home().mkdir(parents=True, exist_ok=True)
        with self._turn, ExitStack() as held:
            try:
                held.enter_context(FileLock(home() / "line.lock", timeout=LOCK_SECONDS))
            except Timeout as error:
                raise PreviewRefused("Another app that shares these runs is busy; try again.") from error
            yield


def _check_steps(request: PreviewRequest) -> None:
    if not 1 <= request.steps <= request.limits.steps:
        raise PreviewRefused(
            f"A run has from 1 to {request.limits.steps:,} steps; {request.steps:,} were asked for.", setting="steps"
        )


def _folders() -> list[RunFolder]:
    with suppress(FileNotFoundError):
        return sorted((RunFolder(path) for path in (home() / "runs").iterdir()), key=lambda folder: folder.id)
    return []


def _line() -> list[RunFolder]:
    """Those that wait, the next one first."""
    marks = ((folder.read("waiting"), folder) for folder in _folders() if _is_marked(folder, "waiting"))
    since = [(mark.get("since", 0), folder.id, folder) for mark, folder in marks if isinstance(mark, dict)]
    return [folder for _, _, folder in sorted(since, key=lambda each: each[:2])]


def _tell_place(folder: RunFolder, place: int) -> None:
    mark = folder.read("waiting")
    if isinstance(mark, dict) and mark.get("place") != place:
        folder.append(Waiting(place=place))
        folder.write("waiting", {**mark, "place": place})


def _settle(folder: RunFolder, last: Event) -> None:
    """Tell how it ended, unless it has told itself, and leave no mark."""
    if not is_over(folder):
        end(folder, last)
    for name in ("stop", "worker"):
        _unmark(folder, name)


def _how_it_ended(folder: RunFolder, worker: Worker | None) -> Event:
    steps = steps_done(folder)
    if _is_marked(folder, "stop"):
        return stopped(folder, steps)
    status = worker.status if worker else None
    limit_seconds = _limit_seconds(folder)
    if status == -signal.SIGALRM and math.isfinite(limit_seconds):
        return explain_time(limit_seconds, steps=steps)
    return explain_death(status, log_tail(folder), steps=steps)


def _limit_seconds(folder: RunFolder) -> float:
    try:
        return folder.request().limits.wall_clock_seconds
    except (KeyError, TypeError, InvalidSettings):
        # Of another version, or not readable just now: no reason to end a worker that holds a limit of its own.
        return math.inf


def _is_marked(folder: RunFolder, name: str) -> bool:
    return (folder.path / f"{name}.json").exists()


def _unmark(folder: RunFolder, name: str) -> None:
    (folder.path / f"{name}.json").unlink(missing_ok=True)
