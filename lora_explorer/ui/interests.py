"""What each visitor works on now: an answer that takes seconds ends when nobody waits for it any more."""

from __future__ import annotations

import json
from collections import OrderedDict
from threading import Lock
from typing import Any

import gradio as gr

_MOST_VISITORS = 1000


class NobodyWaits(Exception):
    """The visitor has asked about something else since; no error, and nothing to tell anyone."""


class Interests:
    """The newest draft of each visitor, and the last that could be counted.

    Of visitors not heard of for long nothing is kept, nor of those that cannot be told apart.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._drafts: OrderedDict[str, str] = OrderedDict()
        self._counted: OrderedDict[str, Any] = OrderedDict()

    def note(self, visitor: str, draft: Any) -> None:
        """This visitor asks about this draft, as the page sent it, and no longer about another one."""
        self._keep(self._drafts, visitor, _key(draft))

    def note_counted(self, visitor: str, draft: Any) -> None:
        """The page of this visitor shows the count of this draft."""
        if visitor:
            self._keep(self._counted, visitor, draft)

    def last_counted(self, visitor: str) -> Any:
        """The draft whose count the page of this visitor shows; None where that is not known."""
        return self._counted.get(visitor)

    def holds(self, visitor: str, draft: Any) -> bool:
        """Whether the visitor has asked about no other draft since."""
        return self._drafts.get(visitor) == _key(draft)

    def _keep(self, drafts: OrderedDict[str, Any], visitor: str, kept: Any) -> None:
        with self._lock:
            drafts[visitor] = kept
            drafts.move_to_end(visitor)
            if len(drafts) > _MOST_VISITORS:
                drafts.popitem(last=False)


def visitor_of(request: gr.Request | None) -> str:
    """By which a page's questions are known as its own; empty where that cannot be told."""
    return (request.session_hash if request else None) or ""


def _key(draft: Any) -> str:
    return json.dumps(draft, sort_keys=True, default=str)
