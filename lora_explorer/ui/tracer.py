"""Memory estimates in a process of their own.

Tracing a step is tenths of a second of pure Python. Beside the server's threads it would make every count wait for the
interpreter; in its own process it makes none wait.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lora_explorer.base_models import BaseModel
from lora_explorer.errors import ExplorerError, InvalidSettings, MemoryUnknown
from lora_explorer.findings import Finding
from lora_explorer.memory import Card, count_lower_bound, estimate_memory
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.memory import MemoryEstimate
    from lora_explorer.memory.lower_bound import LowerBound

INTERRUPTED = "The memory figure was interrupted; change a setting to ask for it again."
# For what nobody waits for: what is waited for comes first on a machine of few cores.
_BACKGROUND_NICENESS = 10


class Memory(Protocol):
    """Who knows about memory: this process, or another one."""

    def estimate(
        self,
        recipe: Recipe,
        base_model: BaseModel,
        *,
        card: Card | None,
        expandable_segments: bool,
        every_card: bool = False,
    ) -> MemoryEstimate:
        """As `estimate_memory`."""
        ...

    def lower_bound(self, recipe: Recipe, base_model: BaseModel, reason: str, *, card: Card | None) -> LowerBound:
        """As `count_lower_bound`."""
        ...

    def ask(self, question: Callable[..., Any], *asked: Any, **options: Any) -> Any:
        """The answer of a function of a module, where it does not slow the page. Raises ExplorerError."""
        ...


class InProcess:
    """Asks in this process."""

    def estimate(
        self,
        recipe: Recipe,
        base_model: BaseModel,
        *,
        card: Card | None,
        expandable_segments: bool,
        every_card: bool = False,
    ) -> MemoryEstimate:
        return estimate_memory(
            recipe, base_model, card=card, expandable_segments=expandable_segments, every_card=every_card
        )

    def lower_bound(self, recipe: Recipe, base_model: BaseModel, reason: str, *, card: Card | None) -> LowerBound:
        return count_lower_bound(recipe, base_model, reason, card=card)

    def ask(self, question: Callable[..., Any], *asked: Any, **options: Any) -> Any:
        return question(*asked, **options)


class Tracer:
    """One worker, started with the first question and again after it was lost.

    Both questions raise MemoryUnknown, also when the worker is lost, and InvalidSettings. background: gives way to
    every other process.
    """

    def __init__(self, *, background: bool = False) -> None:
        self._niceness = _BACKGROUND_NICENESS if background else 0
        self._lock = Lock()
        self._pool: ProcessPoolExecutor | None = None

    def estimate(
        self,
        recipe: Recipe,
        base_model: BaseModel,
        *,
        card: Card | None,
        expandable_segments: bool = True,
        every_card: bool = False,
    ) -> MemoryEstimate:
        options = {"card": card, "expandable_segments": expandable_segments, "every_card": every_card}
        estimate: MemoryEstimate = self.ask(estimate_memory, recipe, base_model, **options)
        return estimate

    def lower_bound(self, recipe: Recipe, base_model: BaseModel, reason: str, *, card: Card | None) -> LowerBound:
        bound: LowerBound = self.ask(count_lower_bound, recipe, base_model, reason, card=card)
        return bound

    def workers(self) -> tuple[int, ...]:
        """Ids of the processes that run now."""
        return tuple(worker.pid for worker in multiprocessing.active_children() if worker.pid is not None)

    def stop(self) -> None:
        """End the worker."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def ask(self, question: Callable[..., Any], *asked: Any, **options: Any) -> Any:
        pool = self._running()
        try:
            outcome = pool.submit(_outcome, question, asked, options).result()
        except BrokenProcessPool as error:
            self._forget(pool)
            raise MemoryUnknown(INTERRUPTED) from error
        if isinstance(outcome, _NotKnown):
            raise MemoryUnknown(outcome.message, setting=outcome.setting, suggestion=outcome.suggestion)
        if isinstance(outcome, _AtFault):
            raise InvalidSettings(outcome)
        return outcome

    def _running(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                # A fork of a process with threads may stop for ever at a lock that another thread held.
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(self._niceness,))
            return self._pool

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None


class _NotKnown(NamedTuple):
    """Why there is no figure; errors themselves do not travel well between processes."""

    message: str
    setting: str
    suggestion: str | None


class _AtFault(tuple[Finding, ...]):
    """What is wrong with the settings."""

    __slots__ = ()


def _outcome(question: Callable[..., Any], asked: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The answer, or a sentence why there is none, or what is wrong with the settings."""
    try:
        answer = question(*asked, **options)
        _keep_what_is_loaded()
        return answer
    except MemoryUnknown as error:
        (finding,) = error.findings
        return _NotKnown(finding.message, finding.setting, finding.suggestion)
    except ExplorerError as error:
        return _AtFault(error.findings)


@lru_cache(maxsize=1)
def _keep_what_is_loaded() -> None:
    """Of the libraries nothing is ever garbage; a collection that looks through them holds an answer up by 0.3 s."""
    gc.freeze()


def _begin(niceness: int) -> None:
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)
    # A worker whose server was killed would wait for questions for ever.
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)
