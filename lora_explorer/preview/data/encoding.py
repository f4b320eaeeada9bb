"""Rows as tokens, kept or left out, and divided into those to train on and those to evaluate with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from lora_explorer.preview.data.chat import TemplateRefused, chat_encoder, has_no_end, template_for
from lora_explorer.preview.data.formats import (
    IGNORED,
    Encoder,
    Tokens,
    alpaca_encoder,
    completion_encoder,
    input_output_encoder,
)
from lora_explorer.preview.data.refusal import refusal
from lora_explorer.preview.data.rows import Rows
from lora_explorer.preview.request import DataChoice, DatasetType

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Use = Literal["train", "evaluation", "too long", "too short", "nothing trained"]
SEED = 42
"""Axolotl's, when its configuration names none."""
# Axolotl's min_sample_len where it is not set: one token predicts nothing.
_FEWEST_TOKENS = 2


@dataclass(frozen=True)
class EncodedRow:
    """One row as the trainer sees it.

    number: of the row it came from, counted from 1. length_tokens: before it was cut. use: what becomes of it.
    """

    number: int
    tokens: Tokens
    length_tokens: int
    use: Use

    @property
    def is_cut(self) -> bool:
        return self.length_tokens > len(self.tokens.input_ids)

    @property
    def trained_tokens(self) -> int:
        """Those that are predicted: nothing comes before the first."""
        return sum(label != IGNORED for label in self.tokens.labels[1:])

    def record(self) -> dict[str, list[int]]:
        """For a data collator."""
        return {"input_ids": self.tokens.input_ids, "labels": self.tokens.labels}


@dataclass(frozen=True)
class EncodedData:
    """What the trainer takes: rows of `input_ids` and `labels`, in the order Axolotl shuffles them into.

    long_rows: longer than sequence_len and left out. cut_rows: cut to it instead. notes: sentences on what was left
    out or is done otherwise than written, beside those of the rows.
    """

    train: tuple[dict[str, list[int]], ...]
    evaluation: tuple[dict[str, list[int]], ...]
    long_rows: int
    cut_rows: int
    untrained_rows: int
    notes: tuple[str, ...] = ()


def encode(rows: Rows, tokenizer: PreTrainedTokenizerBase, sequence_len: int, *, seed: int = SEED) -> EncodedData:
    """Tokenize, leave out what does not fit, and keep some rows aside for evaluation.

    Raises PreviewRefused with one sentence where nothing is left to train on.
    """
    encoded = encode_rows(rows, tokenizer, sequence_len, seed=seed)
    problem = problem_with(encoded, rows, sequence_len)
    if problem:
        raise refusal(problem)
    uses = Counter(row.use for row in encoded)
    return EncodedData(
        train=tuple(row.record() for row in encoded if row.use == "train"),
        evaluation=tuple(row.record() for row in encoded if row.use == "evaluation"),
        long_rows=uses["too long"],
        cut_rows=sum(row.is_cut for row in encoded if row.use in ("train", "evaluation")),
        untrained_rows=uses["nothing trained"],
        notes=notes_on(encoded, rows, tokenizer, sequence_len),
    )


def encode_rows(
    rows: Rows, tokenizer: PreTrainedTokenizerBase, sequence_len: int, *, seed: int = SEED
) -> tuple[EncodedRow, ...]:
    """Every row with what becomes of it, in the order of training. Raises PreviewRefused for a row at fault."""
    encoder = _ENCODERS[_type_of(rows.choice)](rows.choice, tokenizer, sequence_len)
    encoded = list(_encoded(rows, encoder))
    if rows.choice.shuffle:
        encoded = _shuffled(encoded, seed)
    cut = rows.choice.excess_length == "truncate"
    return _divided([_judged(row, sequence_len, cut=cut) for row in encoded], rows.choice.val_set_size)


def problem_with(encoded: tuple[EncodedRow, ...], rows: Rows, sequence_len: int) -> str | None:
    """Why these rows cannot be trained on, in a sentence; None when they can."""
    uses = Counter(row.use for row in encoded)
    longest = max((row.length_tokens for row in encoded), default=0)
    if rows.choice.excess_length == "raise" and longest > sequence_len:
        return (
            f"A row of {rows.label} has {longest:,} tokens, more than sequence_len {sequence_len:,}, and "
            "excess_length_strategy is raise."
        )
    if uses["train"]:
        return None
    if uses["evaluation"]:
        return (
            f"{rows.label} has {uses['evaluation']:,} usable row{_s(uses['evaluation'])}, and val_set_size "
            f"{rows.choice.val_set_size:g} leaves none to train on; lower it or add rows."
        )
    return _why_nothing_is_left(uses, rows, longest, sequence_len)


def notes_on(
    encoded: tuple[EncodedRow, ...], rows: Rows, tokenizer: PreTrainedTokenizerBase, sequence_len: int
) -> tuple[str, ...]:
    """What somebody should know about the data before they look at a loss."""
    uses = Counter(row.use for row in encoded)
    cut = sum(row.is_cut for row in encoded)
    told = {
        f"{uses['too long']:,} of {len(encoded):,} rows are longer than sequence_len {sequence_len:,} and left out, "
        "as Axolotl does.": uses["too long"],
        f"{cut:,} of {len(encoded):,} rows are cut at sequence_len {sequence_len:,}.": cut,
        f"{uses['nothing trained']:,} of {len(encoded):,} rows have no token to train on and are left out.": uses[
            "nothing trained"
        ],
        f"The chat template is the tokenizer's own, not Axolotl's {rows.choice.chat_template}.": _is_other_template(
            rows.choice, tokenizer
        ),
        "The chat template writes no end token after a turn, so the model does not learn to stop; name the one it "
        "writes in eot_tokens.": rows.choice.type == "chat_template" and has_no_end(rows.choice, tokenizer),
    }
    return tuple(sentence for sentence, count in told.items() if count)


def _why_nothing_is_left(uses: Counter[Use], rows: Rows, longest: int, sequence_len: int) -> str:
    if uses["too long"]:
        return (
            f"Every row of {rows.label} that has something to train on is longer than sequence_len {sequence_len:,}, "
            f"the longest {longest:,} tokens; raise sequence_len or set excess_length_strategy: truncate."
        )
    if uses["nothing trained"] and rows.choice.type == "chat_template":
        roles = " or ".join(rows.choice.roles_to_train) or "no role"
        return f"{rows.label} has no token to train on: roles_to_train is {roles}, and nothing is said in that role."
    return f"{rows.label} has no token to train on{_within(rows, sequence_len)}."


def _within(rows: Rows, sequence_len: int) -> str:
    return f" within sequence_len {sequence_len:,}" if rows.choice.excess_length == "truncate" else ""


def _is_other_template(choice: DataChoice, tokenizer: PreTrainedTokenizerBase) -> bool:
    named = choice.chat_template
    if choice.type != "chat_template" or not named or "{" in named or named.startswith("tokenizer_default"):
        return False
    return bool(template_for(choice, tokenizer) == tokenizer.chat_template)


def _encoded(rows: Rows, encoder: Encoder) -> Iterator[EncodedRow]:
    for number, record in enumerate(rows.records, start=1):
        try:
            for tokens in encoder(record):
                yield EncodedRow(number, tokens, len(tokens.input_ids), "train")
        except TemplateRefused as error:
            raise refusal(f"Row {number:,} of {rows.label} is refused by the chat template: {error}.") from error


def _shuffled(encoded: list[EncodedRow], seed: int) -> list[EncodedRow]:
    """In the order of `datasets.Dataset.shuffle(seed)`, which draws a permutation from NumPy's default generator."""
    import numpy

    return [encoded[place] for place in numpy.random.default_rng(seed).permutation(len(encoded))]


def _judged(row: EncodedRow, sequence_len: int, *, cut: bool) -> EncodedRow:
    if row.length_tokens < _FEWEST_TOKENS:
        return replace(row, use="too short")
    if row.length_tokens > sequence_len:
        if not cut:
            return replace(row, use="too long")
        tokens = Tokens(row.tokens.input_ids[:sequence_len], row.tokens.labels[:sequence_len])
        row = replace(row, tokens=tokens)
    return row if row.trained_tokens else replace(row, use="nothing trained")


def _divided(encoded: list[EncodedRow], val_set_size: float) -> tuple[EncodedRow, ...]:
    """The last of the usable rows are kept aside, as many as `datasets.Dataset.train_test_split` would keep."""
    usable = [place for place, row in enumerate(encoded) if row.use == "train"]
    count = _evaluation_rows(len(usable), val_set_size)
    for place in usable[len(usable) - count :]:
        encoded[place] = replace(encoded[place], use="evaluation")
    return tuple(encoded)


def _evaluation_rows(rows: int, val_set_size: float) -> int:
    if not math.isfinite(val_set_size) or val_set_size < 0:
        raise refusal(f"val_set_size must be a share below 1 or a number of rows, got {val_set_size:g}.")
    # Axolotl takes 1 for a share as well: everything.
    wanted = math.ceil(val_set_size * rows) if val_set_size <= 1 else int(val_set_size)
    return min(wanted, rows)


def _type_of(choice: DataChoice) -> DatasetType:
    assert choice.type is not None, "load_rows fills it in"
    return choice.type


_ENCODERS: dict[DatasetType, Callable[[DataChoice, PreTrainedTokenizerBase, int], Encoder]] = {
    "alpaca": alpaca_encoder,
    "completion": completion_encoder,
    "chat_template": chat_encoder,
    "input_output": input_output_encoder,
}


def _s(count: int) -> str:
    return "" if count == 1 else "s"
