"""Which rows are trained on, which are kept aside, which are left out, and what is told about it."""

from __future__ import annotations

from typing import Any

import datasets
import pytest
from transformers import PreTrainedTokenizerBase

from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.data import DataTable, describe, encode
from lora_explorer.preview.data.encoding import encode_rows
from lora_explorer.preview.data.rows import Rows
from lora_explorer.preview.request import DataChoice


def texts(*lengths: int, **choice: Any) -> Rows:
    """Rows of so many tokens each, all of them trained on."""
    records = tuple({"segments": [{"label": True, "text": "a" * length}]} for length in lengths)
    defaults: dict[str, Any] = {"type": "input_output", "val_set_size": 0, "shuffle": False}
    return Rows(DataChoice(**{**defaults, **choice}), records, "x.jsonl")


def refused(rows: Rows, tokenizer: PreTrainedTokenizerBase, sequence_len: int = 10) -> str:
    with pytest.raises(PreviewRefused) as error:
        encode(rows, tokenizer, sequence_len)
    [finding] = error.value.findings
    assert finding.setting == "datasets"
    return finding.message


def lengths(rows: tuple[dict[str, list[int]], ...]) -> list[int]:
    return [len(row["input_ids"]) for row in rows]


@pytest.mark.parametrize("seed", [42, 7])
@pytest.mark.parametrize("val_set_size", [0.05, 0.3, 10])
def test_rows_are_shuffled_and_divided_as_datasets_would(
    val_set_size: float, seed: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    encoded = encode_rows(texts(*range(2, 105), shuffle=True, val_set_size=val_set_size), tokenizer, 200, seed=seed)
    expected = datasets.Dataset.from_dict({"length": list(range(2, 105))}).shuffle(seed=seed)
    expected = expected.train_test_split(test_size=val_set_size, shuffle=False)
    for use, split in (("train", "train"), ("evaluation", "test")):
        assert [row.length_tokens for row in encoded if row.use == use] == list(expected[split]["length"])


def test_rows_that_are_too_long_are_left_out_with_a_note(tokenizer: PreTrainedTokenizerBase) -> None:
    data = encode(texts(10, 11, 5), tokenizer, 10)
    assert (lengths(data.train), data.long_rows, data.cut_rows) == ([10, 5], 1, 0)
    assert data.notes == ("1 of 3 rows are longer than sequence_len 10 and left out, as Axolotl does.",)


def test_rows_that_are_too_long_are_cut_where_that_is_asked_for(tokenizer: PreTrainedTokenizerBase) -> None:
    data = encode(texts(10, 11, 5, excess_length="truncate"), tokenizer, 10)
    assert (lengths(data.train), data.long_rows, data.cut_rows) == ([10, 10, 5], 0, 1)
    assert all(row["labels"] == row["input_ids"] for row in data.train)
    assert data.notes == ("1 of 3 rows are cut at sequence_len 10.",)


def test_rows_that_are_too_long_stop_it_where_that_is_asked_for(tokenizer: PreTrainedTokenizerBase) -> None:
    assert "has 11 tokens, more than sequence_len 10" in refused(texts(10, 11, excess_length="raise"), tokenizer)
    assert lengths(encode(texts(10, 9, excess_length="raise"), tokenizer, 10).train) == [10, 9]


def test_a_row_of_one_token_is_left_out(tokenizer: PreTrainedTokenizerBase) -> None:
    assert lengths(encode(texts(1, 2), tokenizer, 10).train) == [2]


def test_a_row_without_a_trained_token_is_left_out_with_a_note(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = Rows(
        DataChoice(type="alpaca", val_set_size=0, shuffle=False),
        ({"instruction": "a", "output": "b"}, {"instruction": "a", "output": ""}),
        "x.jsonl",
    )
    data = encode(rows, tokenizer, 1000)
    assert (len(data.train), data.untrained_rows) == (1, 1)
    assert data.notes == ("1 of 2 rows have no token to train on and are left out.",)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (texts(11, 50), "is longer than sequence_len 10, the longest 50 tokens; raise sequence_len"),
        (texts(5, val_set_size=0.05), "has 1 usable row, and val_set_size 0.05 leaves none to train on"),
        (texts(5, 5, val_set_size=3), "has 2 usable rows, and val_set_size 3 leaves none"),
        (texts(5, 5, val_set_size=1), "val_set_size 1 leaves none"),
        (texts(5, val_set_size=-1), "val_set_size must be a share below 1 or a number of rows, got -1"),
        (texts(5, val_set_size=float("nan")), "val_set_size must be a share"),
        (texts(1), "has no token to train on"),
    ],
)
def test_where_nothing_is_left_one_sentence_says_why(
    rows: Rows, reason: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert reason in refused(rows, tokenizer)


def test_a_role_that_nobody_speaks_in_is_told(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = Rows(DataChoice(type="chat_template"), ({"messages": [{"role": "user", "content": "a"}]},), "x.jsonl")
    assert "roles_to_train is assistant, and nothing is said in that role." in refused(rows, tokenizer, 100)


def test_a_template_that_is_not_had_here_is_told(tokenizer: PreTrainedTokenizerBase) -> None:
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    choice = DataChoice(type="chat_template", val_set_size=0, chat_template="llama3")
    notes = encode(Rows(choice, ({"messages": talk},), "x.jsonl"), tokenizer, 100).notes
    assert notes == ("The chat template is the tokenizer's own, not Axolotl's llama3.",)


def test_the_table_tells_what_the_trainer_gets(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = texts(3, 30, 5, 7, val_set_size=1 / 3)
    table, data = describe(rows, tokenizer, 10), encode(rows, tokenizer, 10)
    assert (table.train_rows, table.evaluation_rows) == (len(data.train), len(data.evaluation)) == (2, 1)
    assert (table.read_rows, table.long_rows, table.longest_tokens, table.median_tokens) == (4, 1, 30, 6)
    assert table.tokens == sum(lengths(data.train))
    # Nothing comes before the first token, so it is never predicted.
    assert table.trained_tokens == table.tokens - len(data.train)
    assert table.notes == data.notes
    assert [row.use for row in table.rows] == ["train", "too long", "train", "evaluation"]


def test_the_table_shows_every_token_that_is_trained(tokenizer: PreTrainedTokenizerBase) -> None:
    segments = [{"label": False, "text": "Q: é?"}, {"label": True, "text": " 👍🏽 ok"}]
    choice = DataChoice(type="input_output", val_set_size=0)
    [row] = describe(Rows(choice, ({"segments": segments},), "x.jsonl"), tokenizer, 100).rows
    assert "".join(piece.text for piece in row.pieces if piece.trained) == " 👍🏽 ok"
    assert "".join(piece.text for piece in row.pieces if not piece.trained) == "Q: é?"
    assert not any("\ufffd" in piece.text for piece in row.pieces)


def test_data_that_cannot_be_trained_on_are_shown_all_the_same(tokenizer: PreTrainedTokenizerBase) -> None:
    table: DataTable = describe(texts(30, 40), tokenizer, 10)
    assert "raise sequence_len" in table.problem
    assert [row.length_tokens for row in table.rows] == [30, 40]
    assert table.trained_share == 0


def test_the_table_shows_some_rows_and_counts_all(tokenizer: PreTrainedTokenizerBase) -> None:
    table = describe(texts(*[5] * 50, 2000), tokenizer, 4000, shown=3)
    assert [row.number for row in table.rows] == [1, 2, 3]
    assert table.train_rows == 51
    [long_row] = describe(texts(2000), tokenizer, 4000).rows
    assert len(long_row.pieces) + long_row.hidden_tokens == long_row.length_tokens == 2000
