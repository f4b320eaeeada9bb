"""What the model will really see of some data: decoded tokens, which of them are trained on, and how long rows are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from lora_explorer.preview.data.encoding import (
    SEED,
    EncodedRow,
    Use,
    encode_rows,
    notes_on,
    problem_with,
)
from lora_explorer.preview.data.formats import IGNORED
from lora_explorer.preview.data.rows import Rows
from lora_explorer.preview.request import DatasetType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerBase

SHOWN_ROWS = 20
MOST_SHOWN_TOKENS = 600
# A token that holds only some bytes of a character is decoded to this.
_BROKEN = "\ufffd"


@dataclass(frozen=True)
class Piece:
    """The text of one token, or of several that make up one character."""

    text: str
    trained: bool


@dataclass(frozen=True)
class TableRow:
    """One row as tokens. hidden_tokens: of those the model sees, how many are not among the pieces."""

    number: int
    pieces: tuple[Piece, ...]
    length_tokens: int
    trained_tokens: int
    hidden_tokens: int
    is_cut: bool
    use: Use


@dataclass(frozen=True)
class DataTable:
    """Some rows as the model sees them, and figures over all.

    read_rows: in the data; a long text of type `completion` becomes several rows to train on. tokens and
    trained_tokens: of the rows that are trained on. long_rows: left out. problem: why nothing can be trained, or "".
    """

    label: str
    type: DatasetType
    rows: tuple[TableRow, ...]
    read_rows: int
    train_rows: int
    evaluation_rows: int
    long_rows: int
    cut_rows: int
    untrained_rows: int
    longest_tokens: int
    median_tokens: int
    tokens: int
    trained_tokens: int
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def trained_share(self) -> float:
        return self.trained_tokens / self.tokens if self.tokens else 0.0


def describe(
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    sequence_len: int,
    *,
    seed: int = SEED,
    shown: int = SHOWN_ROWS,
) -> DataTable:
    """A table of the first rows with figures over all of them. Raises PreviewRefused for a row at fault."""
    encoded = encode_rows(rows, tokenizer, sequence_len, seed=seed)
    uses = Counter(row.use for row in encoded)
    lengths = [row.length_tokens for row in encoded]
    trained = [row for row in encoded if row.use == "train"]
    first = sorted((row for row in encoded if row.number <= shown), key=lambda row: row.number)[:shown]
    assert rows.choice.type is not None
    return DataTable(
        label=rows.label,
        type=rows.choice.type,
        rows=tuple(_table_row(row, tokenizer) for row in first),
        read_rows=len(rows.records),
        train_rows=uses["train"],
        evaluation_rows=uses["evaluation"],
        long_rows=uses["too long"],
        cut_rows=sum(row.is_cut for row in encoded),
        untrained_rows=uses["nothing trained"],
        longest_tokens=max(lengths, default=0),
        median_tokens=int(median(lengths)) if lengths else 0,
        tokens=sum(len(row.tokens.input_ids) for row in trained),
        trained_tokens=sum(row.trained_tokens for row in trained),
        notes=(*rows.notes, *notes_on(encoded, rows, tokenizer, sequence_len)),
        problem=problem_with(encoded, rows, sequence_len) or "",
    )


def _table_row(row: EncodedRow, tokenizer: PreTrainedTokenizerBase) -> TableRow:
    shown = row.tokens.input_ids[:MOST_SHOWN_TOKENS]
    return TableRow(
        number=row.number,
        pieces=tuple(_pieces(shown, row.tokens.labels, tokenizer)),
        length_tokens=row.length_tokens,
        trained_tokens=row.trained_tokens,
        hidden_tokens=len(row.tokens.input_ids) - len(shown),
        is_cut=row.is_cut,
        use=row.use,
    )


def _pieces(tokens: list[int], labels: list[int], tokenizer: PreTrainedTokenizerBase) -> Iterator[Piece]:
    """Each token's text. Decoded with the token before it, as some tokenizers drop a space at the beginning."""
    begin = 0
    for end in range(1, len(tokens) + 1):
        before = tokens[max(begin - 1, 0) : begin]
        text = _decoded(before + tokens[begin:end], tokenizer)[len(_decoded(before, tokenizer)) :]
        if text.endswith(_BROKEN) and end < len(tokens) and (labels[end] == IGNORED) == (labels[begin] == IGNORED):
            continue
        yield Piece(text, labels[begin] != IGNORED)
        begin = end


def _decoded(tokens: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(tokens, clean_up_tokenization_spaces=False)) if tokens else ""
