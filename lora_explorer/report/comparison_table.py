"""Configurations side by side: one column each, the settings that differ on top and what each comes to beneath."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.comparison import Cell, Column, Row, common_rows, figure_rows, setting_rows
from lora_explorer.report.comparison_charts import adapter_chart, badge, cost_chart, memory_chart, params_chart
from lora_explorer.report.comparison_losses import losses_chart
from lora_explorer.report.comparison_start import panel_title
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.memory import Card
    from lora_explorer.preview.supervision.history import LossCurve

MOST_NAME_CHARACTERS = 80

_BREAK = Html("<wbr>")
_ALIKE = "No setting differs. Change one on the page: the column on screen follows, and the pins stay."
_ACTIONS = (
    ("update", "Update with what is on screen"),
    ("copy", "Duplicate"),
    ("left", "Move left"),
    ("right", "Move right"),
    ("drop", "Drop"),
)


def comparison(columns: Sequence[Column], card: Card | None, curves: Mapping[int, LossCurve], *, room: int) -> Html:
    """Table and pictures. columns: what is on screen first. curves: of kept runs, by column. room: for further pins."""
    charts = (
        params_chart(columns),
        adapter_chart(columns),
        memory_chart(columns, card),
        cost_chart(columns, card),
        losses_chart(columns, curves),
    )
    return join(_table_panel(columns, card, room), *(_panel(chart, number) for number, chart in enumerate(charts)))


def _table_panel(columns: Sequence[Column], card: Card | None, room: int) -> Html:
    held = f"held against {card.name}, as chosen in Explore" if card else ""
    apart, figures = setting_rows(columns), figure_rows(columns, on_card=card is not None)
    head = tag(
        "thead", tag("tr", tag("td", _room_in_words(room)), *(_header(columns, at) for at in range(len(columns))))
    )
    table = tag(
        "table",
        tag("caption", "Configurations side by side", class_="sr-only"),
        head,
        _body("What differs", apart, len(columns), _ALIKE),
        _body("What each comes to", figures, len(columns)),
        _problems(columns),
        class_="comparing",
    )
    scroller = tag("div", table, class_="comparing-scroll", tabindex=0, role="region", aria_label="Comparison")
    return tag("section", panel_title(held), scroller, _common(columns), id="panel-compare")


def _panel(chart: Html, number: int) -> Html:
    return tag("section", chart, id=f"panel-compare-{number}", class_="compare-chart")


def _room_in_words(room: int) -> Html:
    return tag("span", f"room for {room} more" if room else "no room for more", class_="pin-room")


def _header(columns: Sequence[Column], at: int) -> Html:
    column = columns[at]
    if column.is_on_screen:
        button = tag("button", "Pin", type="button", class_="pin-press", data_pin_ask="pin", data_keep="pin-here")
        return tag("th", badge(column), tag("b", column.name), button, scope="col", class_="now")
    pin = at - 1
    same = column.recipe is not None and column.recipe == columns[0].recipe
    menu = f"pin-menu-{pin}"
    name = tag(
        "button",
        column.name,
        type="button",
        class_="pin-name",
        popovertarget=menu,
        aria_haspopup="dialog",
        title=f"{column.name}: rename, move, drop",
        data_keep=f"name-{pin}",
    )
    use = (
        tag("span", "on screen", class_="pin-same")
        if same
        else _ask("use", "Set as current", pin, label=f"Set {column.name} as current", short=True)
    )
    return tag("th", badge(column), name, use, _menu(column, pin, len(columns) - 1), scope="col", data_pin=pin)


def _menu(column: Column, pin: int, pins: int) -> Html:
    """Opens over the table when its name is pressed."""
    field = tag(
        "input",
        type="text",
        value=column.name,
        maxlength=MOST_NAME_CHARACTERS,
        data_pin_name=pin,
        aria_label=f"Name of {column.name}",
    )
    barred = {"left": pin == 0, "right": pin == pins - 1}
    asks = (_ask(ask, said, pin, disabled=barred.get(ask, False)) for ask, said in _ACTIONS)
    return tag(
        "div",
        tag("label", "Name", field),
        *asks,
        id=f"pin-menu-{pin}",
        class_="pin-menu",
        popover="auto",
        role="dialog",
        aria_label=f"What to do with {column.name}",
    )


def _ask(
    ask: str, said: str, pin: int, *, label: str | None = None, disabled: bool = False, short: bool = False
) -> Html:
    return tag(
        "button",
        said,
        type="button",
        class_="pin-use" if short else "pin-ask",
        aria_label=label,
        disabled=disabled,
        data_pin_ask=ask,
        data_pin=pin,
        data_keep=f"{ask}-{pin}",
    )


def _body(title: str, rows: Sequence[Row], columns: int, nothing: str = "") -> Html:
    heading = tag("tr", tag("th", title, colspan=columns + 1, scope="rowgroup"), class_="comparing-part")
    if not rows:
        return tag("tbody", heading, tag("tr", tag("td", nothing, colspan=columns + 1, class_="comparing-none")))
    return tag("tbody", heading, *(_row(row) for row in rows))


def _row(row: Row) -> Html:
    key = tag("code", _breakable(row.key)) if row.key else None
    label = tag("th", tag("span", row.label), key, scope="row")
    cells = (_cell(cell, row, at) for at, cell in enumerate(row.cells))
    return tag("tr", label, *cells, data_figure=row.name or None, data_setting=row.key or None)


def _cell(cell: Cell, row: Row, at: int) -> Html:
    best = tag("span", f", {row.best}", class_="sr-only") if cell.is_best else None
    kinds = " ".join(kind for kind in (cell.kind, "best" if cell.is_best else "", "now" if at == 0 else "") if kind)
    return tag("td", _breakable(cell.text), best, class_=kinds or None, data_value=cell.value)


def _breakable(text: str) -> Html:
    """Ids and keys may go on in a new line where a reader would break them."""
    parts = re.split(r"(?<=[/_])", text)
    return join(*(part for pair in zip(parts, (_BREAK,) * len(parts), strict=True) for part in pair))


def _problems(columns: Sequence[Column]) -> Html | None:
    """Why something is not known, in the column at fault."""
    if not any(column.figures.problem for column in columns):
        return None
    cells = (
        tag("td", tag("p", column.figures.problem, class_="problem") if column.figures.problem else None)
        for column in columns
    )
    return tag("tbody", tag("tr", tag("th", "Why it is not known", scope="row"), *cells, data_figure="problem"))


def _common(columns: Sequence[Column]) -> Html | None:
    rows = common_rows(columns)
    if not rows:
        return None
    listed = (tag("li", tag("span", row.label), tag("code", row.key), tag("b", row.cells[0].text)) for row in rows)
    summary = tag("summary", f"{words.counted(len(rows), 'setting')} that all have in common", data_keep="common")
    return tag("details", summary, tag("ul", *listed, class_="common-settings"), class_="common", data_keep="common")
