"""What each target entry matched, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan, TargetCoverage

_HEADINGS = ("entry", "modules", "parameters", "")


def coverage_table(plan: AdapterPlan) -> Html:
    """One row for each entry of a target setting; an entry that matched nothing says what it may have meant."""
    most = max((entry.trainable_params for entry in plan.coverage), default=0)
    head = tag("thead", tag("tr", *(tag("th", heading, scope="col") for heading in _HEADINGS)))
    rows = (_row(entry, most, plan.num_layers) for entry in plan.coverage)
    return tag("table", head, tag("tbody", *rows), class_="coverage")


def _row(entry: TargetCoverage, most: int, num_layers: int) -> Html:
    name = tag("td", tag("code", entry.entry), title=entry.key)
    if not entry.matched:
        return tag("tr", name, tag("td", _nothing(entry), colspan=3), class_="missed")
    share = 100 * entry.trainable_params / most if most else 0
    bar = tag("span", tag("span", style=f"width:{share:.1f}%"), class_="bar", aria_hidden="true")
    return tag(
        "tr",
        name,
        tag("td", _modules(entry, num_layers), title=f"layers {words.spans(entry.layers)}" if entry.layers else None),
        tag("td", words.exact_count(entry.trainable_params), class_="number"),
        tag("td", bar),
    )


def _modules(entry: TargetCoverage, num_layers: int) -> str:
    """One module in each layer it touches reads as a share of the layers; anything else as a plain count."""
    if entry.layers and entry.matched == len(entry.layers):
        return f"{entry.matched} of {num_layers}"
    return words.exact_count(entry.matched)


def _nothing(entry: TargetCoverage) -> Html:
    if not entry.nearest:
        return join("matched nothing")
    names = [part for name in entry.nearest for part in (", ", tag("code", name))][1:]
    return join("matched nothing; this model has ", *names)
