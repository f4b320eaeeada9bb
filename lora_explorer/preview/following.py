"""A run followed from outside: its events as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.events import LAST_KINDS, Event
from lora_explorer.preview.run_folder import RunFolder

POLL_SECONDS = 0.1


def follow(folder: RunFolder, offset: int = 0) -> Iterator[Event]:
    """The events of a run as they are written, to its last one. offset: of `RunFolder.events`, to begin there.

    A RunQueue has to look after the run, here or in another process. Raises PreviewRefused where it is deleted.
    """
    while True:
        events, offset = folder.events(offset)
        for event in events:
            yield event
            if event.kind in LAST_KINDS:
                return
        if not folder.path.is_dir():
            raise PreviewRefused("The run was deleted while it was followed.")
        time.sleep(POLL_SECONDS)
