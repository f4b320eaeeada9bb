"""What will the model see? Rows as tokens, those it is trained on marked, and figures over all rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.html import Html, tag
from lora_explorer.report.notes import complaint

if TYPE_CHECKING:
    from lora_explorer.preview.data import DataTable, Piece, TableRow

_MARKED = "Marked"
_KEY = " tokens are trained on: their loss counts. The others are only read."
_USES = {
    "train": "trained on",
    "evaluation": "kept aside",
    "too long": "left out: too long",
    "too short": "left out: too short",
    "nothing trained": "left out: nothing to train on",
}


def data_table(table: DataTable, sequence_len: int) -> Html:
    """The figures, then the first rows. sequence_len: in tokens, where rows are cut or left out."""
    return tag(
        "div",
        complaint(table.problem) if table.problem else None,
        tag("ul", *_figures(table, sequence_len), class_="data-figures"),
        *(tag("p", note, class_="quiet-line") for note in table.notes),
        tag("p", tag("mark", _MARKED), _KEY, class_="quiet-line"),
        tag("ol", *(_row(row) for row in table.rows), class_="data-rows", tabindex=0, aria_label="Rows as tokens"),
        id="preview-data-table",
        data_rows=table.read_rows,
        data_cut=table.cut_rows,
        data_long=table.long_rows,
        data_trained=table.trained_tokens,
    )


def _figures(table: DataTable, sequence_len: int) -> Iterator[Html]:
    yield _figure(words.counted(table.read_rows, "row"), f"{table.label} · {table.type}")
    yield _figure(words.exact_count(table.train_rows), "rows to train on")
    yield _figure(words.exact_count(table.evaluation_rows), "kept aside")
    yield _figure(
        f"{table.trained_tokens:,} of {table.tokens:,}", f"tokens trained on · {100 * table.trained_share:.0f} %"
    )
    yield _figure(f"{table.median_tokens:,} · {table.longest_tokens:,}", "tokens: median · longest row")
    yield _figure(words.exact_count(table.cut_rows), f"cut at {sequence_len:,} tokens")
    if table.long_rows:
        yield _figure(words.exact_count(table.long_rows), f"left out: longer than {sequence_len:,}")
    if table.untrained_rows:
        yield _figure(words.exact_count(table.untrained_rows), "left out: nothing to train on")


def _figure(number: str, below: str) -> Html:
    return tag("li", tag("b", number), tag("span", below))


def _row(row: TableRow) -> Html:
    use = _USES.get(row.use, row.use)
    cut = " · cut" if row.is_cut else ""
    about = f"{words.counted(row.length_tokens, 'token')}, {row.trained_tokens:,} trained · {use}{cut}"
    more = tag("span", f" … {row.hidden_tokens:,} more", class_="data-more") if row.hidden_tokens else None
    head = tag("div", tag("b", row.number), tag("span", about), class_="data-about")
    return tag(
        "li",
        head,
        tag("p", tag("span", *_marked(row.pieces), translate="no"), more),
        class_=None if use == "trained on" else "aside",
    )


def _marked(pieces: Iterable[Piece]) -> Iterator[Html]:
    """Tokens in a row with a thin line between them; neighbours that are trained on share one mark."""
    for trained, same in groupby(pieces, key=lambda piece: piece.trained):
        tokens = (tag("span", _visible(piece.text)) for piece in same)
        yield tag("mark" if trained else "span", *tokens, class_="tokens")


def _visible(text: str) -> str:
    """Line ends are tokens too, and are seen."""
    return text.replace("\n", "↵\n")
