"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lora_explorer.findings import Finding
from lora_explorer.report import words
from lora_explorer.report.notes import sentence_of
from lora_explorer.report.records import Record

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan

__all__ = ["line_of", "sentence_of", "show", "show_comparison", "show_count", "show_estimate"]


def line_of(finding: Finding) -> str:
    """One finding on one line, its severity first."""
    place = f" ({finding.setting})" if finding.setting else ""
    return f"{finding.severity}{place}: {' '.join(sentence_of(finding).split())}"


def show_count(plan: AdapterPlan) -> None:
    """The sums, the parameters by kind of module, and what each target entry matched."""
    sums = [
        ("Trainable parameters", words.exact_count(plan.trainable_params)),
        ("All parameters", words.exact_count(plan.all_params)),
        ("Trainable share", words.percent(plan.trainable_percent)),
        ("Adapter file", words.file_size(plan.adapter_file_bytes)),
    ]
    kinds = [(kind, words.exact_count(params)) for kind, params in plan.params_by_kind.items()]
    entries = [
        (entry.key, entry.entry, words.counted(entry.matched, "module"), words.exact_count(entry.trainable_params))
        for entry in plan.coverage
    ]
    _show(_table("", ("", ""), sums), _table("By module", ("Module", "Trainable parameters"), kinds))
    _show(_table("By target entry", ("Setting", "Entry", "Matched", "Trainable parameters"), entries))


def show_estimate(record: Record) -> None:
    """The peaks, what is there at the highest one, the cards, and what was assumed."""
    names = {
        "allocated_after_load_bytes": "Allocated after loading",
        "peak_forward_bytes": "Peak in forward",
        "peak_backward_bytes": "Peak in backward",
        "peak_optimizer_bytes": "Peak in the optimizer step",
        "peak_allocated_bytes": "Peak allocated",
        "peak_reserved_bytes": "Peak reserved",
        "process_bytes": "Process, with CUDA context",
    }
    peaks = [(label, _gib(record[name])) for name, label in names.items()]
    parts = [(name, _gib(size)) for name, size in record["parts"].items()]
    cards = [
        (fit["gpu"], _gib(fit["capacity_bytes"]), "yes" if fit["fits"] else "no", _gib(fit["headroom_bytes"]))
        for fit in record["fits"]
    ]
    _show(_table("", ("", ""), peaks), _table("At the peak", ("Part", "Bytes"), parts))
    _show(_table("Does it fit?", ("Card", "Memory", "Fits", "Headroom"), cards))
    _show(*(Text(sentence) for sentence in (record["method"], *record["assumptions"])))


def show_comparison(rows: Iterable[Record]) -> None:
    """One line for each configuration."""
    lines = [
        (
            row["config"],
            words.exact_count(row["trainable_params"]),
            words.percent(row["trainable_percent"]),
            words.file_size(row["adapter_file_bytes"]),
            _gib(row["peak_allocated_bytes"]) if "peak_allocated_bytes" in row else "unknown",
        )
        for row in rows
    ]
    _show(_table("", ("Configuration", "Trainable parameters", "Share", "Adapter file", "Peak allocated"), lines))


def show(sentence: str) -> None:
    _show(Text(sentence))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE, show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Texts of a stranger's file are shown, never read as markup.
        table.add_row(*(Text(cell) for cell in row))
    return table


def _show(*parts: Table | Text) -> None:
    console = Console(soft_wrap=False)
    for part in parts:
        console.print(part)


def _gib(size_bytes: int) -> str:
    return f"{words.gib(size_bytes, 2)} GiB"
