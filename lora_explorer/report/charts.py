"""Plotly figures. Colours and fonts of text come from the page's style sheet, so that figures follow dark mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from lora_explorer.report import words

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan

BAR_COLOUR = "#5c7cfa"
_BAR_PIXELS, _AXIS_PIXELS = 26, 30


def params_by_kind(plan: AdapterPlan) -> go.Figure:
    """Trainable parameters by module kind, largest on top."""
    by_kind = plan.params_by_kind
    bar = go.Bar(
        x=list(by_kind.values()),
        y=list(by_kind),
        orientation="h",
        marker={"color": BAR_COLOUR, "cornerradius": 4},
        text=[words.short_count(params) for params in by_kind.values()],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:,} parameters<extra></extra>",
    )
    figure = go.Figure(bar)
    figure.update_layout(
        template="none",
        height=_AXIS_PIXELS + _BAR_PIXELS * max(len(by_kind), 1),
        margin={"l": 8, "r": 64, "t": 4, "b": 4},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 12, "family": "system-ui, sans-serif"},
        bargap=0.35,
        dragmode=False,
        showlegend=False,
    )
    figure.update_xaxes(visible=False, fixedrange=True, range=(0, max(by_kind.values(), default=1)))
    figure.update_yaxes(autorange="reversed", fixedrange=True, automargin=True, ticksuffix="  ")
    return figure
