"""Which runs are kept: one line each, with what can be done with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.html import Html, tag

if TYPE_CHECKING:
    from lora_explorer.preview.supervision.history import RunSummary

_HEADINGS = ("lay over", "run", "steps", "last loss", "peak", "status", "")
_NUMBERS = ("steps", "last loss", "peak")
_EMPTY = "No run is kept yet. The tab Preview starts one."
_KINDS = {"finished": "good", "failed": "bad", "stopped": "warn"}


def run_list(runs: Iterable[RunSummary], picked: Collection[str] = ()) -> Html:
    """Newest first. picked: the ids of those whose curves are laid over each other."""
    rows = [_row(run, is_picked=run.id in picked) for run in runs]
    if not rows:
        return tag("div", tag("p", _EMPTY, class_="quiet-line"), id="preview-history", data_value=0)
    head = tag("thead", tag("tr", *(_heading(heading) for heading in _HEADINGS)))
    table = tag("table", head, tag("tbody", *rows), class_="runs")
    return tag("div", table, id="preview-history", data_value=len(rows))


def delete_button(run_id: str) -> Html:
    """Asks twice: the page's script sees to that."""
    return _button("remove", "Delete", run_id)


def run_name(title: str, run_id: str) -> str:
    """Its settings, and when it was started, as two runs may have the same."""
    return " · ".join(part for part in (title, run_time(run_id)) if part)


def run_time(run_id: str) -> str:
    """24 Nov 02:17:04, from an id that begins with the date and the time."""
    date, _, rest = run_id.partition("-")
    time, _, _ = rest.partition("-")
    if not (len(date) == 8 and len(time) == 6 and (date + time).isdecimal()):
        return run_id
    month = _MONTHS[(int(date[4:6]) - 1) % 12]
    return f"{int(date[6:])} {month} {time[:2]}:{time[2:4]}:{time[4:]}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _heading(heading: str) -> Html:
    return tag("th", heading, scope="col", class_="number" if heading in _NUMBERS else None)


def _row(run: RunSummary, *, is_picked: bool) -> Html:
    when = run_time(run.id)
    pick = tag(
        "input",
        type="checkbox",
        checked=is_picked,
        data_run_pick=run.id,
        aria_label=f"Lay the run of {when} over others",
    )
    loss = f"{run.last_loss:.3f}" if run.last_loss is not None else "–"
    peak = words.file_size(run.peak_bytes) if run.peak_bytes is not None else "–"
    name = tag("td", tag("b", run.title), tag("span", " · ".join(part for part in (when, run.device) if part)))
    return tag(
        "tr",
        tag("td", pick),
        name,
        tag("td", f"{run.steps_done:,} of {run.steps:,}", class_="number", data_heading="steps"),
        tag("td", loss, class_="number", data_heading="last loss"),
        tag("td", peak, class_="number", data_heading="peak"),
        tag("td", tag("span", run.status, class_=f"chip {_KINDS.get(run.status, '')}".strip())),
        tag("td", _button("open", "Open", run.id), _button("remove", "Delete", run.id), class_="run-asks"),
        data_run=run.id,
        data_status=run.status,
    )


def _button(ask: str, label: str, run_id: str) -> Html:
    return tag("button", label, type="button", class_="run-ask", data_run_ask=ask, data_run=run_id)
