"""What LoRA does to one matrix, drawn to scale: W + scale · B · A, with the parameters of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.exploration.layer_map import AdaptedMatrix

# Pixels. A rank of 8 beside a width of 14,336 would be no line at all.
_LONGEST, _THINNEST = 96.0, 2.0
_TOP, _LABELS, _SIGN, _BRACKET = 16.0, 34.0, 16.0, 10.0
_LARGEST = 1.25  # Where there is room.
NOTHING_ADAPTED = "No matrix inside a layer is adapted."


def matrix_drawings(matrices: Sequence[AdaptedMatrix]) -> Html:
    """One drawing a kind. The first is in sight; the page's script shows the one that is chosen in the map."""
    if not matrices:
        return tag("p", NOTHING_ADAPTED, class_="quiet-line")
    drawn = (_figure(matrix, is_hidden=number > 0) for number, matrix in enumerate(matrices))
    return tag("div", *drawn, class_="matrices")


def _figure(matrix: AdaptedMatrix, *, is_hidden: bool) -> Html:
    return tag(
        "figure",
        tag("figcaption", tag("h3", "What does LoRA add to one ", tag("code", matrix.name), "?")),
        _picture(matrix),
        tag("p", " ".join(_sentences(matrix)), class_="matrix-words"),
        tag("details", tag("summary", "Table", data_keep="matrix"), _table(matrix), class_="chart-table"),
        class_="chart matrix",
        data_name=f"lora-on-{matrix.name}",
        data_row=matrix.name,
        data_layers=json.dumps(matrix.layers, separators=(",", ":")),
        hidden=is_hidden,
    )


def drawn_in_words(matrix: AdaptedMatrix) -> str:
    """The drawing for who does not see it."""
    w, b, a = _blocks(matrix)
    summed = f"{_told(w)} plus {words.scale(matrix.scaling)} times {_told(b)} times {_told(a)}"
    if not matrix.magnitude_params:
        return f"{summed}."
    return f"The magnitude m, {matrix.magnitude_params:,} parameters, times the rows of unit length of: {summed}."


def _told(block: _Block) -> str:
    shape, params = block.lines
    state = "trained" if block.is_trained else "frozen"
    return f"{block.name} ({shape.replace('×', 'by')}, {params} {state} parameters)"


def _sentences(matrix: AdaptedMatrix) -> Iterator[str]:
    share = words.percent(100 * matrix.trainable_params / matrix.frozen_params)
    kept = words.counted(matrix.frozen_params, "parameter")
    trained = words.exact_count(matrix.trainable_params)
    yield f"W keeps its {kept}. {_trained_parts(matrix)} {trained} to train, {share} of W."
    if matrix.experts > 1:
        yield f"Drawn is one of {matrix.experts} experts, whose W are one parameter; each has an A and a B of its own."
    if matrix.magnitude_params:
        yield "DoRA scales every row of the sum to the length that m says."
    if matrix.is_stored_transposed:
        yield "The base model stores W as (in, out)."
    yield f"This holds for {_where(matrix)}."
    if _longest_side(matrix) / matrix.r > _LONGEST / _THINNEST:
        yield "Drawn to scale, but for the width of the rank, which would be too thin to see."


def _trained_parts(matrix: AdaptedMatrix) -> str:
    names = [name for name in ("A", "B") if name not in matrix.frozen] + ["m"] * bool(matrix.magnitude_params)
    return f"{', '.join(names[:-1])} and {names[-1]} add" if names[1:] else f"{names[0]} adds"


def _where(matrix: AdaptedMatrix) -> str:
    spans = f"layer{'' if len(matrix.layers) == 1 else 's'} {words.spans(matrix.layers)}"
    rest = matrix.of_layers - len(matrix.layers)
    others = "1 other layer has" if rest == 1 else f"{rest:,} other layers have"
    return f"{spans}; {others} another shape, rank or alpha" if rest else spans


@dataclass(frozen=True)
class _Block:
    """One matrix of the picture. width, height: in pixels; lines: what stands below it."""

    name: str
    width: float
    height: float
    lines: tuple[str, ...]
    is_trained: bool

    @property
    def room(self) -> float:
        """Its own width or that of its longest line."""
        return max(self.width, 6.2 * max(len(line) for line in self.lines))


def _blocks(matrix: AdaptedMatrix) -> tuple[_Block, _Block, _Block]:
    """W, B and A of one expert, all at one scale."""
    pixels = _LONGEST / _longest_side(matrix)
    out, in_ = (max(side * pixels, _THINNEST) for side in (matrix.out_features, matrix.in_features))
    rank = max(matrix.r * pixels, _THINNEST)
    return (
        _Block("W", in_, out, _lines(matrix.out_features, matrix.in_features), False),
        _Block("B", rank, out, _lines(matrix.out_features, matrix.r), "B" not in matrix.frozen),
        _Block("A", in_, rank, _lines(matrix.r, matrix.in_features), "A" not in matrix.frozen),
    )


def _longest_side(matrix: AdaptedMatrix) -> int:
    return max(matrix.out_features, matrix.in_features, matrix.r)


def _lines(rows: int, columns: int) -> tuple[str, ...]:
    return f"{rows:,} × {columns:,}", words.short_count(rows * columns)


def _picture(matrix: AdaptedMatrix) -> Html:
    w, b, a = _blocks(matrix)
    row = _Row(max(w.height, b.height, a.height))
    if matrix.magnitude_params:
        row.draw(_Block("m", _THINNEST, w.height, (f"{matrix.magnitude_params:,}",), True))
        row.sign("· norm (", 46)
    row.draw(w)
    row.sign(f"+ {words.scale(matrix.scaling)} ·", 34 + 7.0 * len(words.scale(matrix.scaling)))
    row.draw(b)
    row.sign("·", _SIGN)
    row.draw(a)
    if matrix.magnitude_params:
        row.sign(")", _BRACKET)
    return row.picture(drawn_in_words(matrix))


class _Row:
    """Matrices and signs from left to right, as high whatever is drawn, so that nothing below moves."""

    def __init__(self, tallest: float) -> None:
        self._middle, self._below = _TOP + tallest / 2, _TOP + tallest
        self._at = 0.0
        self._drawn: list[Html] = []

    def draw(self, block: _Block) -> None:
        centre = self._at + block.room / 2
        kind = "matrix-trained" if block.is_trained else "matrix-frozen"
        self._drawn.append(
            tag(
                "rect",
                x=f"{centre - block.width / 2:.1f}",
                y=f"{self._middle - block.height / 2:.1f}",
                width=f"{block.width:.1f}",
                height=f"{block.height:.1f}",
                class_=kind,
            )
        )
        self._write(block.name, centre, self._middle - block.height / 2 - 5, "matrix-name")
        for number, line in enumerate(block.lines):
            self._write(line, centre, self._below + 15 + 14 * number, "matrix-line")
        self._at += block.room

    def sign(self, text: str, room: float) -> None:
        self._write(text, self._at + room / 2, self._middle + 4, "matrix-sign")
        self._at += room

    def _write(self, text: str, x: float, y: float, kind: str) -> None:
        self._drawn.append(tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", class_=kind, text_anchor="middle"))

    def picture(self, label: str) -> Html:
        width, height = self._at, _TOP + _LONGEST + _LABELS
        size = {"viewBox": f"0 0 {width:.0f} {height:.0f}", "style": f"max-width:{_LARGEST * width:.0f}px"}
        return tag("svg", join(*self._drawn), role="img", aria_label=label, **size)


def _table(matrix: AdaptedMatrix) -> Html:
    lines = [
        ("W, frozen", f"{matrix.out_features:,} × {matrix.in_features:,}", matrix.frozen_params),
        (_state("B", matrix), f"{matrix.out_features:,} × {matrix.r:,}", matrix.b_params),
        (_state("A", matrix), f"{matrix.r:,} × {matrix.in_features:,}", matrix.a_params),
    ]
    if matrix.magnitude_params:
        lines.append(("m, trained", f"{matrix.magnitude_params:,}", matrix.magnitude_params))
    shape = "Shape" if matrix.experts == 1 else f"Shape, for each of {matrix.experts} experts"
    head = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in ("Matrix", shape, "Parameters"))))
    return tag("table", head, tag("tbody", *(_table_line(*line) for line in lines)), class_="figures-table")


def _state(name: str, matrix: AdaptedMatrix) -> str:
    return f"{name}, {'frozen' if name in matrix.frozen else 'trained'}"


def _table_line(name: str, shape: str, params: int) -> Html:
    cells = (tag("td", text, class_="number") for text in (shape, words.exact_count(params)))
    return tag("tr", tag("th", name, scope="row"), *cells)
