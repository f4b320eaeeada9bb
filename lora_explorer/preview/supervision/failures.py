"""Why a run did not come to its end: one sentence, and one on what to change.

What is said may be shown to strangers, so it names no folder of this machine and no secret.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lora_explorer.errors import ExplorerError
from lora_explorer.preview.events import Failed

LONGEST_SENTENCE = 300
_SHOWN_PLACES = 6
# Of a run's log, only what was said last can be why its process ended.
LOG_TAIL_BYTES = 2000


class LossNotFinite(ExplorerError):
    """The loss of a step is no number any more, or infinite: nothing after it would mean anything."""

    def __init__(self, step: int) -> None:
        super().__init__(
            f"The loss of step {step} is not a number any more: training diverged.",
            setting="learning_rate",
            suggestion="Lower learning_rate, or raise warmup_steps; in fp16, bf16 or fp32 may help too.",
        )


@dataclass(frozen=True)
class Cause:
    """What several libraries say in their own words.

    said: a pattern of those words. numbers: the system's, as in `errno`. named: what they call the error.
    """

    message: str
    suggestion: str
    setting: str
    said: re.Pattern[str]
    numbers: frozenset[int] = frozenset()
    named: frozenset[str] = frozenset()

    def explains(self, error: BaseException) -> bool:
        names = {each.__name__ for each in type(error).__mro__}
        number = error.errno if isinstance(error, OSError) else None
        return bool(self.named & names) or number in self.numbers or bool(self.said.search(str(error)))


_MORE_ROOM = (
    "Free space on the disk that holds the runs, such as by deleting old ones from the history, "
    "or name a folder on another disk in LORA_EXPLORER_HOME."
)
_SMALLER = "Lower micro_batch_size or sequence_len, or turn gradient_checkpointing on."

OUT_OF_MEMORY = Cause(
    "Memory ran out",
    _SMALLER,
    "micro_batch_size",
    re.compile(
        r"out of memory|(?i:cannot|can't|not enough|unable to) *(?:allocate)? *memory|bad_alloc|ALLOC_FAILED"
        r"|can't start new thread|Thread creation failed|failed to map segment",
    ),
    frozenset({errno.ENOMEM}),
    frozenset({"MemoryError", "OutOfMemoryError"}),
)
FILE_TOO_LARGE = Cause(
    "A file of the run outgrew what is allowed here",
    "Lower lora_r or choose fewer target modules, so that the adapter and its checkpoints are smaller.",
    "lora_r",
    re.compile(r"File too large|os error 27\b"),
    frozenset({errno.EFBIG}),
)
DISK_FULL = Cause(
    "The disk was full",
    _MORE_ROOM,
    "",
    re.compile(r"No space left|[Qq]uota exceeded|os error (?:28|122)\b"),
    frozenset({errno.ENOSPC, errno.EDQUOT}),
)
# PyTorch's writer keeps the system's reason to itself.
NO_ROOM = Cause(
    "There was no room for a file of the run",
    _MORE_ROOM,
    "",
    re.compile(r"file write failed|unexpected pos \d+ vs"),
)
CAUSES = (OUT_OF_MEMORY, FILE_TOO_LARGE, DISK_FULL, NO_ROOM)


def explain(error: BaseException, *, steps: int) -> Failed:
    """Why an exception ended a run that had done this many steps."""
    known = _explained(error, steps)
    if known is not None:
        return known
    said = _first_line(str(error))
    name = type(error).__name__
    return _failed(
        f"The run failed {_when(steps)}: {name}{': ' if said else ''}{said or '.'}",
        "The log says where; other settings than the ones changed last may work.",
    )


def is_explained(error: BaseException) -> bool:
    """Whether `explain` says all there is to say; else `trace_of` says more."""
    return _explained(error, 0) is not None


def trace_of(error: BaseException) -> str:
    """Where an exception came from, the innermost place first, for who wants to look it up."""
    places = traceback.extract_tb(error.__traceback__)[-_SHOWN_PLACES:]
    lines = (f"{Path(each.filename).name}:{each.lineno} in {each.name}: {each.line}" for each in reversed(places))
    return to_public("\n".join((f"{type(error).__name__}, from the innermost place outwards:", *lines)))


def explain_cause(cause: Cause, *, steps: int) -> Failed:
    """As `explain`, for a cause that is known."""
    return _failed(f"{cause.message} {_when(steps)}.", cause.suggestion, cause.setting)


def explain_death(status: int | None, log: str, *, steps: int) -> Failed:
    """Why a process ended without a word.

    status: as of `subprocess`, -9 for signal 9; None where only its parent would have known. log: the end of what it
    printed.
    """
    cause = next((each for each in CAUSES if each.said.search(log)), None)
    if cause is not None and status != 0:
        return explain_cause(cause, steps=steps)
    when = _when(steps)
    if status is None:
        return _failed(f"The run's process was gone {when}, killed or restarted with the machine.", _AGAIN)
    if status == -signal.SIGKILL:
        return _failed(
            f"The run's process was killed {when}, as systems do when memory runs out.", _SMALLER, "micro_batch_size"
        )
    if status < 0:
        return _failed(f"The run's process crashed {when}: signal {-status}, {_signal_name(-status)}.", _AGAIN)
    said = _first_line("".join(log.strip().splitlines()[-1:]))
    return _failed(f"The run's process ended {when} with status {status}{': ' if said else ''}{said or '.'}", _AGAIN)


def explain_time(limit_seconds: float, *, steps: int) -> Failed:
    """The run took longer than it may."""
    limit = f"{limit_seconds / 60:.0f} minutes" if limit_seconds >= 120 else f"{limit_seconds:g} seconds"
    return _failed(
        f"The run reached its time limit of {limit} {_when(steps)}.",
        "Ask for fewer steps, or lower sequence_len, micro_batch_size or gradient_accumulation_steps.",
        "steps",
    )


def to_public(text: str) -> str:
    """The text without folders of this machine and without secrets of its environment."""
    for secret in _secrets():
        text = text.replace(secret, "…")
    return _PATH.sub(lambda found: found[0].rstrip("/\\").replace("\\", "/").rpartition("/")[2], _TOKEN.sub("…", text))


_AGAIN = "Start it again; if it ends so again, lower micro_batch_size or sequence_len."
_TOKEN = re.compile(r"\bhf_\w{8,}")
# Not what follows a colon, a slash or a word, as in an address or in owner/name.
_PATH = re.compile(r"(?<![\w.:/])(?:~?(?:/[^\s/'\":;,()]+){2,}/?|[A-Za-z]:\\[^\s'\":;,()]+)")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|_KEY$")


def _secrets() -> Iterator[str]:
    return (value for name, value in os.environ.items() if len(value) >= 8 and _SECRET_NAME.search(name))


def _explained(error: BaseException, steps: int) -> Failed | None:
    """What was raised on purpose, or has a known cause."""
    known = next((each for each in _chain(error) if isinstance(each, ExplorerError) and each.findings), None)
    if known is not None:
        finding = known.findings[0]
        return _failed(finding.message, finding.suggestion or "", finding.setting)
    found = (cause for cause in CAUSES if any(cause.explains(each) for each in _chain(error)))
    cause = next(found, None)
    return explain_cause(cause, steps=steps) if cause else None


def _failed(message: str, suggestion: str, setting: str = "") -> Failed:
    return Failed(message=to_public(message), suggestion=to_public(suggestion), setting=setting)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _first_line(text: str) -> str:
    line = "".join(text.strip().splitlines()[:1])
    line = line if len(line) <= LONGEST_SENTENCE else f"{line[:LONGEST_SENTENCE]}…"
    return line if not line or line.endswith((".", "…", "!", "?")) else f"{line}."


def _when(steps: int) -> str:
    return f"after {_steps(steps)}" if steps else "before the first step was done"


def _steps(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def _signal_name(number: int) -> str:
    names = {each.value: each.name for each in signal.Signals}
    return names.get(number, "one without a name")
