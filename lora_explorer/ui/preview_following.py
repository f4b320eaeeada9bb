"""Reading along: the events of runs, each read once however many tabs look at it."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.report.preview_story import RunStory, story_of

_MOST_RUNS = 100


class Following:
    """Stories of runs so far. What is on disk is the truth; nothing is lost with this."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[str, tuple[RunStory, int]] = OrderedDict()

    def story(self, folder: RunFolder) -> tuple[RunStory, int]:
        """The story up to now, and the byte offset of the events it is made of."""
        with self._lock:
            before, offset = self._known.get(folder.id, (RunStory(), 0))
            events, end = folder.events(offset)
            found = story_of(events, before), end
            self._known[folder.id] = found
            self._known.move_to_end(folder.id)
            if len(self._known) > _MOST_RUNS:
                self._known.popitem(last=False)
            return found

    def forget(self, run_id: str) -> None:
        """Of a run that was deleted."""
        with self._lock:
            self._known.pop(run_id, None)
