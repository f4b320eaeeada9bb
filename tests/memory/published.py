"""Published measured runs, and the predictions that benchmarks/accuracy.py makes of them."""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import accuracy  # noqa: E402 - a script beside the package, found by the path above
import accuracy_table  # noqa: E402
import measured_rows  # noqa: E402

__all__ = ["FILES", "accuracy", "accuracy_table", "compared", "measured_rows", "rows_of"]

_FACTS = json.loads((Path(__file__).parent / "published_runs.json").read_text(encoding="utf-8"))
FILES: tuple[str, ...] = tuple(_FACTS["stacks"])


def rows_of(file: str) -> list[dict[str, Any]]:
    """The rows of a file, as accuracy.py reads them: what a stack's runs share is written once."""
    shared, models = _FACTS["stacks"][file], _FACTS["models"]
    return [
        {
            **shared,
            **{name: value for name, value in run.items() if name != "of"},
            "model_config": models[run["model_id"]],
        }
        for run in _FACTS["runs"]
        if run["of"] == file
    ]


@lru_cache(maxsize=len(FILES))
def compared(file: str) -> tuple[accuracy_table.Comparison, ...]:
    """Every quantity of every row, predicted and measured."""
    return tuple(accuracy.compare_all(rows_of(file)))
