"""The last event of a run, which must find room on a full disk too."""

from __future__ import annotations

from pathlib import Path

from lora_explorer.preview.events import LAST_KINDS, Event, Step, Stopped
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.supervision.failures import LOG_TAIL_BYTES

RESERVE_BYTES = 1 << 16


def reserve(folder: RunFolder) -> None:
    """Take room now that `end` gives back. Raises OSError where there is none."""
    # Zeros would be a hole on some file systems, and take no room.
    _reserved(folder).write_bytes(b"\xa5" * RESERVE_BYTES)


def end(folder: RunFolder, event: Event) -> None:
    """Add the last event, also on a full disk and after a line that was cut off. Raises OSError."""
    _reserved(folder).unlink(missing_ok=True)
    _finish_line(folder.events_file)
    folder.append(event)


def stopped(folder: RunFolder, steps: int) -> Stopped:
    """The last event of a run that was stopped after so many steps."""
    return Stopped(steps=steps, kept_steps=folder.kept_steps())


def is_over(folder: RunFolder) -> bool:
    """Whether the last event has been told."""
    return folder.status() in LAST_KINDS


def steps_done(folder: RunFolder) -> int:
    """As its events say."""
    return max((event.step for event in folder.events()[0] if isinstance(event, Step)), default=0)


def log_tail(folder: RunFolder) -> str:
    """The end of what the process and its libraries printed."""
    try:
        with folder.log.open("rb") as file:
            file.seek(max(0, folder.log.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _finish_line(file: Path) -> None:
    if not file.exists():
        return
    with file.open("r+b", buffering=0) as events:
        size = events.seek(0, 2)
        if size and events.seek(size - 1) is not None and events.read(1) != b"\n":
            events.write(b"\n")


def _reserved(folder: RunFolder) -> Path:
    return folder.path / "reserve"
