"""Results as tables for a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lora_explorer.findings import Finding
from lora_explorer.report import words
from lora_explorer.report.mending import whole_fix_in_words
from lora_explorer.report.notes import sentence_of
from lora_explorer.report.records import Record
from lora_explorer.report.savings import change_in_words
from lora_explorer.report.verdicts import accuracy_sentence

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan
    from lora_explorer.exports.axolotl.filled_in import FilledIn
    from lora_explorer.memory.savings import Saving

__all__ = [
    "line_of",
    "sentence_of",
    "show",
    "show_count",
    "show_estimate",
    "show_filled_in",
    "show_measurement",
    "show_new_tokens",
    "show_still_known",
    "show_table",
]


def line_of(finding: Finding) -> str:
    """One finding on one line, its severity first."""
    place = f" ({finding.setting})" if finding.setting else ""
    return f"{finding.severity}{place}: {' '.join(sentence_of(finding).split())}"


def show_filled_in(filled_in: Iterable[FilledIn]) -> None:
    """What Axolotl puts into a file by itself, as it would be written; keys with one reason share their line."""
    keys: dict[tuple[str, str], list[str]] = {}
    for each in filled_in:
        keys.setdefault((_written(each.value), each.why), []).append(each.key)
    rows = [(", ".join(names), value, why) for (value, why), names in keys.items()]
    if rows:
        _show(_table("Axolotl fills in by itself", ("Key", "Value", "Why"), rows))


def _written(value: Any) -> str:
    """A value as YAML has it, on one line."""
    return value if isinstance(value, str) else json.dumps(value)


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


def show_estimate(record: Record, savings: Iterable[Saving] | None = None) -> None:
    """The peaks, what is there at the highest one, the cards, what would save memory, and what was assumed."""
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
    parts = [(name, _gib(size)) for name, size in (record["parts"] | record["beyond_peak"]).items()]
    cards = [
        (fit["gpu"], _gib(fit["capacity_bytes"]), fit["verdict"], _headroom(fit), fit["failed_in"] or "")
        for fit in record["fits"]
    ]
    _show(_table("", ("", ""), peaks), Text(f"Peak: {record['peak']['words']}."))
    _show(_table("At the peak", ("Part", "Bytes"), parts))
    _show(_table("Does it fit?", ("Card", "Memory", "Verdict", "Headroom", "Runs out in"), cards))
    _show(*(Text(reason) for reason in dict.fromkeys(fit["reason"] for fit in record["fits"]) if reason))
    if savings is not None:
        _show(_savings_table(savings))
    _show(*(Text(sentence) for sentence in (record["method"], *record["assumptions"], _accuracy(record))))


def _headroom(fit: Record) -> str:
    return "" if fit["verdict"] == "does not run" else _gib(fit["headroom_bytes"])


def _accuracy(record: Record) -> str:
    """About the one card that was asked for, if it was one."""
    gpus = [fit["gpu"] for fit in record["fits"]]
    return accuracy_sentence(gpus[0] if len(gpus) == 1 else None)


def show_measurement(record: Record) -> None:
    """The step that was run for real beside its prediction, if there is one."""
    measured = record.get("measured")
    if measured is None:
        return
    rows = [
        (_figure_name(name), _gib(measured["predicted"][name]), _gib(measured[name]), f"{error:+.2f} %")
        for name, error in measured["error_percent"].items()
    ]
    size = f"{measured['micro_batch_size']} × {measured['sequence_len']} tokens"
    title = f"The step run for real: {size} on {measured['device']}"
    _show(_table(title, ("", "Predicted", "Measured", "Error"), rows))
    _show(*(Text(sentence) for sentence in measured["notes"]))


def _figure_name(key: str) -> str:
    return key.removesuffix("_bytes").replace("_", " ").capitalize()


def show_still_known(record: Record) -> None:
    """What can be said where an estimate cannot; a lower bound is marked as one beside every number."""
    names = {
        "base_params": "Base parameters",
        "trainable_params": "Trainable parameters",
        "all_params": "All parameters",
    }
    counts = [(label, words.exact_count(record[name])) for name, label in names.items() if name in record]
    if counts:
        _show(_table("Known all the same", ("", ""), counts))
    if "lower_bound_bytes" in record:
        parts = [(name, _gib(size)) for name, size in record["lower_bound_parts"].items()]
        parts.append(("all of it", _gib(record["lower_bound_bytes"])))
        _show(_table("A lower bound, not an estimate", ("Part", "At least"), parts))
        _show(*(Text(sentence) for sentence in record["left_out"]))


def _savings_table(savings: Iterable[Saving]) -> Table:
    rows = [
        (
            change_in_words(saving),
            _gib(saving.saved_bytes),
            _gib(saving.peak_reserved_bytes),
            "fits then" if saving.makes_fit else "",
        )
        for saving in savings
    ]
    return _table("What would save memory?", ("Change", "Saves", "Peak reserved then", ""), rows)


def show_new_tokens(record: Record) -> None:
    """Whether embedding and head must be trained, and each way with what it adds."""
    rows = [
        (
            way["title"],
            _more(way["trainable_params"], words.exact_count),
            _more(way["adapter_file_bytes"], words.file_size),
            _more(way["more_process_bytes"], _gib),
            "in the file" if way["in_the_file"] else "",
        )
        for way in record["ways"]
    ]
    _show(Text(record["sentence"]))
    if rows:
        columns = ("Way", "Trainable parameters", "Adapter file", "Peak memory", "")
        _show(_table("What each way adds", columns, rows))
    fixes = [(way["title"], tuple(way["changes"].items())) for way in record["ways"] if way["changes"]]
    _show(*(Text(f"{title}: write {whole_fix_in_words(fix)}.") for title, fix in fixes))
    cautions = dict.fromkeys(way["refused"] or way["caution"] for way in record["ways"])
    _show(*(Text(sentence) for sentence in cautions if sentence))


def _more(count: int | None, in_words: Callable[[int], str]) -> str:
    return "unknown" if count is None else f"+{in_words(max(count, 0))}"


def show(sentence: str) -> None:
    _show(Text(sentence))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    _show(_table(title, columns, rows))


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
