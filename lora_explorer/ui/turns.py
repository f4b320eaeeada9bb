"""Which question of each visitor is the newest: an answer that takes seconds ends when nobody waits for it any more."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

_MOST_VISITORS = 1000


class Turns:
    """Numbers of questions by visitor; of visitors not heard of for long nothing is kept."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._given = 0

    def take(self, visitor: str) -> int:
        """A number for a new question, which makes all earlier ones of this visitor old."""
        with self._lock:
            self._given += 1
            self._newest[visitor] = self._given
            self._newest.move_to_end(visitor)
            if len(self._newest) > _MOST_VISITORS:
                self._newest.popitem(last=False)
            return self._given

    def is_newest(self, visitor: str, turn: int) -> bool:
        """Whether this visitor has asked nothing since."""
        return self._newest.get(visitor) == turn
