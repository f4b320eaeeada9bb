"""What each visitor works on now: an answer that takes seconds ends when nobody waits for it any more."""

from __future__ import annotations

import json
from collections import OrderedDict
from threading import Lock
from typing import Any

_MOST_VISITORS = 1000


class Interests:
    """The newest draft of each visitor; of visitors not heard of for long nothing is kept."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._drafts: OrderedDict[str, str] = OrderedDict()

    def note(self, visitor: str, draft: Any) -> None:
        """This visitor asks about this draft, as the page sent it, and no longer about another one."""
        with self._lock:
            self._drafts[visitor] = _key(draft)
            self._drafts.move_to_end(visitor)
            if len(self._drafts) > _MOST_VISITORS:
                self._drafts.popitem(last=False)

    def holds(self, visitor: str, draft: Any) -> bool:
        """Whether the visitor has asked about no other draft since."""
        return self._drafts.get(visitor) == _key(draft)


def _key(draft: Any) -> str:
    return json.dumps(draft, sort_keys=True, default=str)
