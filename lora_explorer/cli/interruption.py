"""Ctrl-C, SIGTERM and a closed terminal end a command at once, or when it says what is to be done first."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from lora_explorer.preview.events import Stopped, to_line

INTERRUPTED = 130
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interruption:
    """A context in which those signals call `then`. It may run between any two instructions, so it does very little."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.then = then
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in _SIGNALS:
            # Whoever has a program outlive its terminal has it ignore this one.
            if number != getattr(signal, "SIGHUP", None) or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, lambda *_: self.then())
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def leave(*, as_json: bool) -> None:
    """End the process now: nothing has been started, and libraries that are being imported take no exception well."""
    if as_json:
        os.write(sys.__stdout__.fileno() if sys.__stdout__ else 1, to_line(Stopped(steps=0)).encode())
    os._exit(INTERRUPTED)


def end_now() -> NoReturn:
    """End the process when all is tidy: libraries take seconds to come apart, for which nobody who interrupts waits."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(INTERRUPTED)
