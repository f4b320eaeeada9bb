"""Memory estimates in a process of their own.

Tracing a step is tenths of a second of pure Python. Beside the server's threads it would make every count wait for the
interpreter; in its own process it makes none wait.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from threading import Lock, Thread
from typing import TYPE_CHECKING, Union

from lora_explorer.base_models import BaseModel
from lora_explorer.errors import ExplorerError, InvalidSettings, MemoryUnknown
from lora_explorer.findings import Finding
from lora_explorer.memory import Card, estimate_memory
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.memory import MemoryEstimate

INTERRUPTED = "The memory figure was interrupted; change a setting to ask for it again."

Outcome = Union["MemoryEstimate", str, tuple[Finding, ...]]
"""An estimate, why there is none, or what is wrong with the settings: errors themselves do not travel well."""


class Tracer:
    """One worker, started with the first question and again after it was lost."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pool: ProcessPoolExecutor | None = None

    def estimate(self, recipe: Recipe, base_model: BaseModel, card: Card) -> MemoryEstimate:
        """As `estimate_memory`. Raises MemoryUnknown, also when the worker is lost, and InvalidSettings."""
        pool = self._running()
        try:
            outcome = pool.submit(_outcome, recipe, base_model, card).result()
        except BrokenProcessPool as error:
            self._forget(pool)
            raise MemoryUnknown(INTERRUPTED) from error
        if isinstance(outcome, str):
            raise MemoryUnknown(outcome)
        if isinstance(outcome, tuple):
            raise InvalidSettings(outcome)
        return outcome

    def workers(self) -> tuple[int, ...]:
        """Ids of the processes that run now."""
        return tuple(worker.pid for worker in multiprocessing.active_children() if worker.pid is not None)

    def stop(self) -> None:
        """End the worker."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _running(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                # A fork of a process with threads may stop for ever at a lock that another thread held.
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
            return self._pool

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None


def _outcome(recipe: Recipe, base_model: BaseModel, card: Card) -> Outcome:
    try:
        return estimate_memory(recipe, base_model, card=card)
    except MemoryUnknown as error:
        return str(error)
    except ExplorerError as error:
        return error.findings


def _end_with_parent() -> None:
    """A worker whose server was killed would wait for questions for ever."""
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)
