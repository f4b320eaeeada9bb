"""Trainable parameters by kind of module, as bars: plain elements, so that they follow a slider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.chart_frame import figures_table, framed_in_panel
from lora_explorer.report.html import Html, tag

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan

ASKS = "Which kinds of module hold the trainable parameters?"
_COLUMNS = ("Module", "Trainable parameters", "Share of what is trained, %")
_NOTHING = "Nothing is trained."


def kind_bars(plan: AdapterPlan) -> Html:
    """One bar a kind, largest on top, against the largest."""
    by_kind = plan.params_by_kind
    most = max(by_kind.values(), default=0)
    if not most:
        return tag("p", _NOTHING, class_="quiet-line")
    bars = tag("ul", *(_bar(kind, params, most) for kind, params in by_kind.items()), class_="kind-bars")
    rows = ((kind, params, 100 * params / plan.trainable_params) for kind, params in by_kind.items())
    return framed_in_panel(
        "parameters-by-kind", ASKS, "trainable parameters", bars, table=figures_table(_COLUMNS, rows)
    )


def _bar(kind: str, params: int, most: int) -> Html:
    track = tag("span", tag("i", style=f"width:{100 * params / most:.2f}%"), class_="kind-track", aria_hidden="true")
    exact = f"{words.exact_count(params)} parameters"
    return tag("li", tag("code", kind, title=kind), track, tag("b", words.short_count(params), title=exact))
