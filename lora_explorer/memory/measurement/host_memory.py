"""How much memory of the host a process may still take."""

from __future__ import annotations

import os
from pathlib import Path

_HOST = Path("/proc/meminfo")
# Where a container finds its own limit (control groups, version 2); it may be far below what the host has.
_LIMIT = Path("/sys/fs/cgroup/memory.max")
_USED = Path("/sys/fs/cgroup/memory.current")


def available_bytes() -> int:
    """Free and reclaimable bytes, of the host or of the container, whichever is less."""
    limit, used = _text_of(_LIMIT), _text_of(_USED)
    in_container = max(0, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else None
    on_host = _available_on_host()
    return on_host if in_container is None else min(on_host, in_container)


def _available_on_host() -> int:
    lines = (line.split() for line in _text_of(_HOST).splitlines())
    kib = next((int(words[1]) for words in lines if words[0] == "MemAvailable:"), None)
    # Where the system does not say what is available, half of what it has is hoped for.
    return kib << 10 if kib is not None else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
