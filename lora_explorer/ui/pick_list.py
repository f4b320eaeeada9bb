"""The choices of a setting that holds names: what this model has, each with what it would train."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lora_explorer.report.words import exact_count
from lora_explorer.settings import SETTINGS
from lora_explorer.ui.codec import REGEX

if TYPE_CHECKING:
    from lora_explorer.adapters import Candidate

_ALL_LINEAR = ("all-linear: every linear module", f"{REGEX} all-linear")


def pick_list(name: str, candidates: Iterable[Candidate]) -> Iterator[tuple[str, str]]:
    """(label, value) pairs for the setting called `name`, in the model's order."""
    for candidate in candidates:
        if candidate.key == name:
            yield f"{candidate.name} · {exact_count(candidate.trainable_params)}", candidate.name
    if "regex" in SETTINGS[name].control.placeholder:
        yield _ALL_LINEAR
