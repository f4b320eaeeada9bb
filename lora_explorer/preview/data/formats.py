"""From a row to tokens and labels, as Axolotl 0.21 does it for each type of data.

An encoder answers a row with the rows the trainer sees: one, or several for a text of type `completion` that is longer
than `sequence_len`. A label is the token itself where it is trained on, and IGNORED elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_explorer.preview.data.columns import Record, column_names
from lora_explorer.preview.request import DataChoice

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""What PyTorch's cross entropy leaves out."""

# Axolotl reads no more than this many times sequence_len of one text of type `completion`.
_MOST_CHUNKS = 64

# Alpaca's published prompt, with and without an input.
_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)


@dataclass(frozen=True)
class Tokens:
    """input_ids and labels of one row, equally long."""

    input_ids: list[int]
    labels: list[int]


Encoder = Callable[[Record], list[Tokens]]


def alpaca_encoder(choice: DataChoice, tokenizer: PreTrainedTokenizerBase, sequence_len: int) -> Encoder:
    """The prompt is tokenized by itself and not trained on; the answer by itself, with an end token."""
    names = column_names(choice)

    def encode(row: Record) -> list[Tokens]:
        text, instruction = row.get(names["field_input"]), row[names["field_instruction"]]
        prompt_text = _WITH_INPUT if text else _WITHOUT_INPUT
        prompt = _token_ids(tokenizer, prompt_text.format(instruction=instruction, input=text))
        answer = _with_end(tokenizer, _token_ids(tokenizer, row.get(names["field_output"]) or ""))
        if answer and answer[0] == tokenizer.bos_token_id:
            answer = answer[1:]
        labels = prompt if choice.train_on_inputs else [IGNORED] * len(prompt)
        return [Tokens(prompt + answer, labels + answer)]

    return encode


def completion_encoder(choice: DataChoice, tokenizer: PreTrainedTokenizerBase, sequence_len: int) -> Encoder:
    """All of a text is trained on, in pieces of sequence_len tokens: nothing of it is cut off."""
    column = column_names(choice)["field"]
    most_tokens = _MOST_CHUNKS * sequence_len

    def encode(row: Record) -> list[Tokens]:
        tokens = _token_ids(tokenizer, row[column])[:most_tokens]
        if len(tokens) < most_tokens:
            tokens = _with_end(tokenizer, tokens)
        pieces = (tokens[start : start + sequence_len] for start in range(0, len(tokens), sequence_len))
        return [Tokens(piece, piece) for piece in pieces]

    return encode


def input_output_encoder(choice: DataChoice, tokenizer: PreTrainedTokenizerBase, sequence_len: int) -> Encoder:
    """Each segment is tokenized by itself, without special tokens, and trained on where its label says so."""
    column = column_names(choice)["field_segments"]

    def encode(row: Record) -> list[Tokens]:
        tokens: list[int] = []
        labels: list[int] = []
        for segment in row[column]:
            piece = _token_ids(tokenizer, segment["text"], special=False)
            trained = segment["label"] or choice.train_on_inputs
            tokens += piece
            labels += piece if trained else [IGNORED] * len(piece)
        return [Tokens(tokens, labels)]

    return encode


def _token_ids(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool = True) -> list[int]:
    # verbose=False keeps it from warning of texts that are longer than the model's own limit.
    return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]) if text else []


def _with_end(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> list[int]:
    end = tokenizer.eos_token_id
    return [*tokens, end] if tokens and end is not None and tokens[-1] != end else tokens
