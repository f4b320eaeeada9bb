"""Workers seen from outside: started, found again, and ended with all that they started themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from lora_explorer.preview.run_folder import RunFolder

COMMAND = (sys.executable, "-m", "lora_explorer.preview.supervision.worker")
STOP_SECONDS = 1.5
"""How long a worker may take to end by itself once it is asked to; killing and telling fit into two seconds."""
_KILL_SECONDS = 2.0
_POLL_SECONDS = 0.02
# Where the package lies: a worker started from a checkout, as on a Space, must find it.
_ROOT = str(Path(__file__).parents[3])
_ENVIRONMENT = {
    # As Axolotl sets it, and as the prediction reckons with.
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
    "PYTHONUNBUFFERED": "1",
    # GNU OpenMP's threads wait by spinning for milliseconds, which on shared cores makes a step many times longer;
    # so few turns cost next to nothing on cores of one's own.
    "GOMP_SPINCOUNT": "1000",
}


class Worker:
    """The process of a run: a child of this one, or one that an earlier start of the app left running.

    began: when its run did, in seconds since the epoch, where it waited before.
    """

    def __init__(
        self, process: psutil.Process, child: subprocess.Popen[bytes] | None = None, began: float | None = None
    ) -> None:
        self._process = process
        self._child = child
        self._began = process.create_time() if began is None else began
        self._gone = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Since its run was started."""
        return time.time() - self._began

    @property
    def status(self) -> int | None:
        """How it ended, as of `subprocess`; None where only its parent knows."""
        return self._child.returncode if self._child else None

    def has_ended(self) -> bool:
        """Whether it is gone. The first time it is, what it left running is killed, and nothing of it stays."""
        if not self._gone and _is_dead(self._process):
            _kill_group(self._process)
            if self._child:
                self._child.wait()
            self._gone = True
        return self._gone

    def stop(self, within_seconds: float = STOP_SECONDS) -> None:
        """Ask it to end, and kill it where it has not by then. On return it is gone, with its children."""
        family = _family(self._process)
        if within_seconds > 0:
            with suppress(psutil.NoSuchProcess):
                self._process.terminate()
            self._wait(within_seconds)
        if not self.has_ended():
            family |= _family(self._process)
            _kill_group(self._process)
            _kill(self._process)
            self._wait(_KILL_SECONDS)
        for each in family:
            _kill(each)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def start_worker(folder: RunFolder, command: Sequence[str] = COMMAND) -> Worker:
    """Start what trains the folder: a session of its own, so that it outlives the app, and its log as its only output.

    command: run with the folder as its last argument. Raises OSError where no process or file can be had.
    """
    with folder.log.open("ab") as log:
        child = subprocess.Popen(
            [*command, str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=worker_environment(),
            start_new_session=True,
        )
    # A child that is gone already can be asked still, until it is waited for.
    return registered(Worker(psutil.Process(child.pid), child), folder)


def registered(worker: Worker, folder: RunFolder) -> Worker:
    """The worker, written down in its folder. Raises OSError where that cannot be, and then it is gone."""
    try:
        folder.register_worker(worker.pid)
    except OSError:
        worker.stop(0)
        raise
    return worker


def worker_environment() -> dict[str, str]:
    """A worker's: the app's own, which goes before ours. What lies in the current folder is not imported (from Python
    3.11 on).
    """
    found = [_ROOT, os.environ.get("PYTHONPATH", "")]
    return {
        **_ENVIRONMENT,
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(folder for folder in found if folder),
    }


def find_worker(folder: RunFolder) -> Worker | None:
    """The worker that a folder names, if it still runs."""
    process = folder.worker()
    return Worker(process, began=folder.worker_since()) if process else None


def stop_worker(folder: RunFolder) -> None:
    """End a folder's worker, if it has one: gone within two seconds, with its children."""
    worker = find_worker(folder)
    if worker:
        worker.stop()


def _is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
    except psutil.NoSuchProcess:
        return True


def _family(process: psutil.Process) -> set[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return set(process.children(recursive=True))
    return set()


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _kill_group(process: psutil.Process) -> None:
    """Kill all that is left of the group a worker leads or led, unless its number is another process's by now."""
    # The system gives no number away that a group still goes by: a living process of that number means there is none.
    if sys.platform == "win32" or (psutil.pid_exists(process.pid) and not process.is_running()):
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
