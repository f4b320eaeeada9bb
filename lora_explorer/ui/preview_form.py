"""What a visitor chose for the next run, read like any stranger's input, and the request it makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lora_explorer.errors import PreviewRefused
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.preview.data import BUILT_IN_SETS, data_choice_from, with_keys_beside
from lora_explorer.preview.data.choice import TYPES
from lora_explorer.preview.request import DataChoice, Limits
from lora_explorer.preview.run_folder import home

PUBLIC_LIMITS = Limits(wall_clock_seconds=180.0, memory_bytes=8 << 30, file_bytes=256 << 20, steps=60)
MOST_EXTRA_STEPS = 1000
FROM_YAML, FROM_HUB, FROM_UPLOAD = "yaml", "hub", "upload"
NO_UPLOAD = "Upload a file first: JSONL, JSON, CSV or Parquet."
NO_DATA_IN_YAML = "The YAML has no datasets entry; add one, or choose other data."
FIELD_OF_SETTING: Mapping[str, str] = {
    "steps": "preview-steps",
    "weights": "preview-weights",
    "datasets": "preview-data",
    "val_set_size": "preview-data",
    "logging": "preview-logging",
}
"""The element at which a sentence about a setting stands; those of the recipe have their own."""
_OWN_SIZES = {"sequence_len": "preview-sequence-len", "micro_batch_size": "preview-batch"}
_UPLOAD = re.compile(r"[0-9a-f]{64}\.(jsonl|json|csv|parquet)")
_LONGEST_TEXT = 300
_WEIGHTS = ("own", "bundled", "shape")
_LOGGING = ("none", "tensorboard", "trackio")


@dataclass(frozen=True)
class Form:
    """data: name of a built-in set, `yaml`, `hub` or `upload`. dataset: an id on the Hub. upload: the name of a kept
    file. type: empty lets the columns tell. Sizes that are None are the recipe's, or what the device can bear.
    """

    steps: float | None = 30
    weights: str = ""
    data: str = "instructions"
    dataset: str = ""
    upload: str = ""
    type: str = ""
    sequence_len: float | None = None
    micro_batch_size: float | None = None
    logging: str = "none"

    @classmethod
    def from_page(cls, value: Any) -> Form:
        """The form as a page sent it; what is not as it should be is left out."""
        given = value if isinstance(value, Mapping) else {}
        numbers = {"steps", "sequence_len", "micro_batch_size"}
        known = {each.name: given[each.name] for each in fields(cls) if each.name in given}
        right = {name: held for name, held in known.items() if (_is_number if name in numbers else _is_text)(held)}
        return cls(**right)

    def for_page(self) -> dict[str, Any]:
        return asdict(self)

    def field_at_fault(self, setting: str) -> str:
        """Where a sentence about a setting belongs; empty where the form has no field for it."""
        if getattr(self, setting, None) is not None and setting in _OWN_SIZES:
            return _OWN_SIZES[setting]
        return FIELD_OF_SETTING.get(setting, "")

    def choices(self, text: str, limits: Limits) -> dict[str, Any]:
        """Fields of a PreviewRequest. text: the YAML on screen. Raises PreviewRefused, with the setting at fault."""
        return {
            "steps": _whole("steps", "Steps", self.steps, limits.steps),
            "weights": self.weights if self.weights in _WEIGHTS else None,
            "data": self._data(text),
            "sequence_len": _size("sequence_len", "The row length", self.sequence_len),
            "micro_batch_size": _size("micro_batch_size", "The batch", self.micro_batch_size),
            "logging": self.logging if self.logging in _LOGGING else "none",
            "limits": limits,
        }

    def _data(self, text: str) -> DataChoice:
        values = read_document(text).values
        if self.data != FROM_YAML:
            return with_keys_beside(self._other_data(), values)
        choice = data_choice_from(values)
        if choice is None:
            raise PreviewRefused(NO_DATA_IN_YAML, setting="datasets")
        return choice

    def _other_data(self) -> DataChoice:
        """Than those of the YAML."""
        type_ = next((known for known in TYPES if known == self.type), None)
        if self.data == FROM_HUB:
            return DataChoice("hub", self.dataset.strip(), type_)
        if self.data == FROM_UPLOAD:
            return DataChoice("file", _kept_file(self.upload), type_)
        return DataChoice(name=self.data if self.data in BUILT_IN_SETS else next(iter(BUILT_IN_SETS)))


def _kept_file(name: str) -> str:
    if not _UPLOAD.fullmatch(name):
        raise PreviewRefused(NO_UPLOAD, setting="datasets")
    return str(home() / "uploads" / name)


def _size(setting: str, label: str, value: float | None) -> int | None:
    return None if value is None else _whole(setting, label, value, 1 << 20)


def _whole(setting: str, label: str, value: float | None, most: int) -> int:
    if value is None:
        raise PreviewRefused(f"{label} must not be empty.", setting=setting)
    if value != int(value) or not 1 <= value <= most:
        raise PreviewRefused(f"{label} must be a whole number from 1 to {most:,}, got {value:g}.", setting=setting)
    return int(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def _is_number(value: Any) -> bool:
    finite = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12
    return value is None or finite
