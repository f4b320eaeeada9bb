"""A worker that has loaded its libraries before anybody asks for a run: loading takes longer than the first steps.

At most one waits, while somebody looks at what would run. It has no folder, trains nothing, and ends when the app does,
or when it has waited for long.
"""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psutil

from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.supervision.process import COMMAND, Worker, registered, start_worker, worker_environment

WAIT = "-"
"""In place of a folder on a worker's command line: the folder comes on stdin."""
IDLE_SECONDS = 600.0
"""How long a worker waits. The app forgets it a little earlier, so that none ends with a folder unread."""
_FORGET_SECONDS = IDLE_SECONDS - 30
# It holds about half a gigabyte while it waits.
_SPARE_BYTES = 4 << 30


class Standby:
    """Starts workers, from the one that waits where there is one. For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: subprocess.Popen[bytes] | None = None
        self._since = -math.inf

    def __call__(self, folder: RunFolder) -> Worker:
        """What `start_worker` does, sooner. Raises OSError."""
        with self._lock:
            taken, self._waiting = self._waiting, None
            is_fresh = time.monotonic() - self._since < _FORGET_SECONDS
        if taken is None:
            return start_worker(folder)
        worker = Worker(psutil.Process(taken.pid), taken, began=time.time())
        if is_fresh and _hand_over(taken, folder):
            return registered(worker, folder)
        worker.stop(0)
        return start_worker(folder)

    def prepare(self) -> None:
        """Have a worker wait, where none does yet and the machine has room for it."""
        if sys.platform == "win32" or psutil.virtual_memory().available < _SPARE_BYTES:
            return
        with self._lock:
            if self._waiting is not None and self._waiting.poll() is None:
                return
            with suppress(OSError):
                self._waiting = subprocess.Popen(
                    [*COMMAND, WAIT],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=worker_environment(),
                    start_new_session=True,
                )
                self._since = time.monotonic()

    def close(self) -> None:
        """End the one that waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            Worker(psutil.Process(waiting.pid), waiting).stop(0)


def _hand_over(worker: subprocess.Popen[bytes], folder: RunFolder) -> bool:
    """Whether it could be told its folder."""
    if worker.poll() is not None or worker.stdin is None:
        return False
    try:
        with worker.stdin as told:
            told.write(f"{folder.path}\n".encode())
    except OSError:
        return False
    return True
