"""How large the data sets are that recipes name often: what is proposed for a run's rows, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lora_explorer import presets


@dataclass(frozen=True)
class DataSetSize:
    """path: on the Hub. tokens: of a row on average, None where that is not known. source: where both are from."""

    path: str
    rows: int
    tokens: int | None
    source: str


def size_of(values: Mapping[str, Any]) -> DataSetSize | None:
    """Of the data that an Axolotl YAML names, by its values; None where it is not on file, or is more than one set.

    A part of a set is not the set: nothing is said of an entry that takes other splits, files or shards.
    """
    entries = values.get("datasets")
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], Mapping):
        return None
    entry = entries[0]
    path = entry.get("path")
    is_part = entry.get("split", "train") != "train" or any(entry.get(key) for key in ("data_files", "shards", "name"))
    return None if is_part or not isinstance(path, str) else _sizes().get(path)


@lru_cache(maxsize=1)
def _sizes() -> dict[str, DataSetSize]:
    return {each["path"]: DataSetSize(**each) for each in presets.facts("data_sets")}
