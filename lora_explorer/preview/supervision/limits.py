"""What a worker does to itself so that it cannot take more than it may."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil

if sys.platform != "win32":
    import resource

_STATUS = Path("/proc/self/status")
_NVIDIA = Path("/dev/nvidiactl")
_FIRST_TO_GO = "1000"


def limit_files(most_bytes: int | None) -> None:
    """No file grows beyond this: writing on raises OSError with EFBIG, as Python ignores the signal for it."""
    if most_bytes is not None and sys.platform != "win32":
        _lower(resource.RLIMIT_FSIZE, most_bytes)


def limit_memory(most_bytes: int) -> bool:
    """Let the process grow no further than this, resident; whether it still is below.

    The system limits what is allocated, of which much is never touched: thread stacks, libraries. So the limit moves
    with what has been allocated, and is to be set again from time to time. Linux only, and not beside a CUDA driver,
    which allocates far more than it touches at once; elsewhere the answer is all there is.
    """
    resident = int(psutil.Process().memory_info().rss)
    if sys.platform == "linux" and not _NVIDIA.exists():
        _lower(resource.RLIMIT_DATA, _allocated_bytes() + max(0, most_bytes - resident))
    return resident <= most_bytes


def lift_limits() -> None:
    """As before, to tell why the run ends."""
    if sys.platform != "win32":
        for each in (resource.RLIMIT_FSIZE, resource.RLIMIT_DATA):
            hard = resource.getrlimit(each)[1]
            resource.setrlimit(each, (hard, hard))


def end_within(seconds: float) -> None:
    """Have the system end this process then, whatever it hangs in; 0 takes it back."""
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)


def lead_group() -> None:
    """Let this process and its children be a group that can be ended as one."""
    if sys.platform != "win32" and os.getpgrp() != os.getpid():
        os.setsid()


def end_group() -> None:
    """End this process and its children now."""
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def go_first() -> None:
    """Where the machine's memory runs out, the system takes this process rather than the app."""
    file = Path("/proc/self/oom_score_adj")
    if file.exists():
        file.write_text(_FIRST_TO_GO, encoding="ascii")


def _lower(which: int, soft: int) -> None:
    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _allocated_bytes() -> int:
    """What RLIMIT_DATA counts: private writable memory, touched or not."""
    lines = (line.split() for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines())
    return next(int(words[1]) << 10 for words in lines if words[0] == "VmData:")
