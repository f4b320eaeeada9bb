"""Answers that took long and hold for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class Remembered(Generic[Question, Answer]):
    """The newest answers by question. for_seconds: what is true now need not be later, such as how much is free."""

    def __init__(self, for_seconds: float = 60.0, most: int = 32) -> None:
        self._for_seconds = for_seconds
        self._most = most
        self._lock = Lock()
        self._known: OrderedDict[Question, tuple[float, Answer]] = OrderedDict()

    def known(self, question: Question) -> Answer | None:
        """The answer as far as it is remembered; None is no answer."""
        with self._lock:
            known = self._known.get(question)
        return known[1] if known is not None and time.monotonic() - known[0] < self._for_seconds else None

    def get(self, question: Question, ask: Callable[[], Answer]) -> Answer:
        """The answer, asked for where it is not known. Raises what asking raises, and then remembers nothing."""
        known = self.known(question)
        if known is not None:
            return known
        answer = ask()
        with self._lock:
            self._known[question] = (time.monotonic(), answer)
            self._known.move_to_end(question)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return answer
