"""What is trained on in each type of data. The facts were read off Axolotl 0.21's own tokenization."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.data.encoding import EncodedRow, encode, encode_rows
from lora_explorer.preview.data.rows import Rows
from lora_explorer.preview.request import DataChoice

TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
    {"role": "assistant", "content": "Hello!"},
]


def rows_of(kind: Any, *records: dict[str, Any], **choice: Any) -> Rows:
    return Rows(DataChoice(type=kind, **{"val_set_size": 0, "shuffle": False, **choice}), records, "x.jsonl")


def first(rows: Rows, tokenizer: PreTrainedTokenizerBase, sequence_len: int = 2048) -> EncodedRow:
    return encode_rows(rows, tokenizer, sequence_len)[0]


def trained(row: EncodedRow, tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode([label for label in row.tokens.labels if label != -100]))


def whole(row: EncodedRow, tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(row.tokens.input_ids))


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        ("alpaca", {"instruction": "Say ä", "input": "x", "output": "ä"}),
        ("completion", {"text": "Once"}),
        ("chat_template", {"messages": TALK}),
        ("input_output", {"segments": [{"label": False, "text": "a"}, {"label": True, "text": "b"}]}),
    ],
)
@pytest.mark.parametrize("train_on_inputs", [False, True])
def test_a_label_is_its_token_or_ignored(
    kind: str, record: dict[str, Any], train_on_inputs: bool, tokenizer: PreTrainedTokenizerBase
) -> None:
    row = first(rows_of(kind, record, train_on_inputs=train_on_inputs), tokenizer)
    assert len(row.tokens.labels) == len(row.tokens.input_ids)
    pairs = zip(row.tokens.labels, row.tokens.input_ids, strict=True)
    assert all(label in (-100, token) for label, token in pairs)


def test_alpaca_trains_the_answer_and_an_end_token(tokenizer: PreTrainedTokenizerBase) -> None:
    row = first(rows_of("alpaca", {"instruction": "Add", "input": "2 and 3", "output": "5"}), tokenizer)
    assert trained(row, tokenizer) == "5<|im_end|>"
    assert whole(row, tokenizer).endswith(
        "provides further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd\n\n### Input:\n2 and 3\n\n### Response:\n5<|im_end|>"
    )


@pytest.mark.parametrize("no_input", [{}, {"input": ""}, {"input": None}])
def test_alpaca_without_an_input_has_another_prompt(
    no_input: dict[str, Any], tokenizer: PreTrainedTokenizerBase
) -> None:
    row = first(rows_of("alpaca", {"instruction": "Say {x}", "output": "x", **no_input}), tokenizer)
    assert whole(row, tokenizer) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nSay {x}\n\n### Response:\nx<|im_end|>"
    )


def test_train_on_inputs_trains_every_token(tokenizer: PreTrainedTokenizerBase) -> None:
    for rows in (
        rows_of("alpaca", {"instruction": "a", "output": "b"}, train_on_inputs=True),
        rows_of("input_output", {"segments": [{"label": False, "text": "a b"}]}, train_on_inputs=True),
    ):
        row = first(rows, tokenizer)
        assert row.tokens.labels == row.tokens.input_ids


def test_a_completion_is_trained_whole_with_one_end_token(tokenizer: PreTrainedTokenizerBase) -> None:
    for text in ("Once upon a time", "Once upon a time<|im_end|>"):
        row = first(rows_of("completion", {"text": text}), tokenizer)
        assert trained(row, tokenizer) == whole(row, tokenizer) == "Once upon a time<|im_end|>"


def test_a_long_completion_becomes_several_rows_and_loses_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = encode_rows(rows_of("completion", {"text": "abcdefghij" * 3}), tokenizer, 8)
    assert [row.length_tokens for row in rows] == [8, 8, 8, 7]
    assert "".join(whole(row, tokenizer) for row in rows) == "abcdefghij" * 3 + "<|im_end|>"
    assert {(row.number, row.use) for row in rows} == {(1, "train")}


def test_input_output_trains_the_segments_that_say_so_and_adds_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    segments = [{"label": False, "text": "Q: a?\n"}, {"label": True, "text": "A: b"}, {"label": False, "text": "\n"}]
    row = first(rows_of("input_output", {"segments": segments}), tokenizer)
    assert trained(row, tokenizer) == "A: b"
    assert whole(row, tokenizer) == "Q: a?\nA: b\n"


def test_a_conversation_trains_the_assistants_turns_with_their_end_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    row = first(rows_of("chat_template", {"messages": TALK}), tokenizer)
    assert trained(row, tokenizer) == "Hello!<|im_end|>" * 2
    assert whole(row, tokenizer) == "".join(
        f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in TALK
    )


@pytest.mark.parametrize(
    ("train_on_eos", "expected"),
    [
        ("turn", "Hello!<|im_end|>Hello!<|im_end|>"),
        ("all", "<|im_end|>Hello!<|im_end|><|im_end|>Hello!<|im_end|>"),
        ("last", "Hello!Hello!<|im_end|>"),
        ("none", "Hello!Hello!"),
    ],
)
def test_train_on_eos_chooses_the_end_tokens(
    train_on_eos: str, expected: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    row = first(rows_of("chat_template", {"messages": TALK}, train_on_eos=train_on_eos), tokenizer)
    assert trained(row, tokenizer) == expected


@pytest.mark.parametrize(
    ("roles", "expected"),
    [(("user",), "Hi<|im_end|>Bye<|im_end|>"), (("human",), "Hi<|im_end|>Bye<|im_end|>"), ((), "")],
)
def test_roles_to_train_chooses_the_turns(
    roles: tuple[str, ...], expected: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    row = first(rows_of("chat_template", {"messages": TALK}, roles_to_train=roles), tokenizer)
    assert trained(row, tokenizer) == expected


@pytest.mark.parametrize("content", ["[[", "]]", "zz", "user", "<|im_end|>", "an 👍🏽", " spaced "])
def test_a_turn_is_found_whatever_it_says(content: str, tokenizer: PreTrainedTokenizerBase) -> None:
    talk = [{"role": "user", "content": content}, {"role": "assistant", "content": content}]
    row = first(rows_of("chat_template", {"messages": talk}), tokenizer)
    assert trained(row, tokenizer) == f"{content}<|im_end|>"


def test_a_turn_ends_before_the_space_that_the_template_writes(tokenizer: PreTrainedTokenizerBase) -> None:
    template = "{% for message in messages %}{{ message['content'] }} |{% endfor %}"
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "zz"}]
    row = first(rows_of("chat_template", {"messages": talk}, chat_template=template), tokenizer)
    assert trained(row, tokenizer) == "zz"


def test_an_empty_turn_trains_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    talk = [*TALK[:1], {"role": "assistant", "content": ""}, *TALK[2:]]
    assert trained(first(rows_of("chat_template", {"messages": talk}), tokenizer), tokenizer) == "Hello!<|im_end|>"


def test_other_names_for_the_fields_give_the_same_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    usual = first(rows_of("chat_template", {"messages": TALK}), tokenizer)
    names = {"user": "human", "assistant": "gpt"}
    talk = [{"from": names[turn["role"]], "value": turn["content"]} for turn in TALK]
    columns = (
        ("field_messages", "conversations"),
        ("message_field_role", "from"),
        ("message_field_content", "value"),
    )
    assert first(rows_of("chat_template", {"conversations": talk}, columns=columns), tokenizer) == usual


def test_a_system_column_comes_before_the_conversation(tokenizer: PreTrainedTokenizerBase) -> None:
    row = first(rows_of("chat_template", {"messages": TALK, "system": "Be brief."}), tokenizer)
    assert whole(row, tokenizer).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")


def test_a_template_of_the_choice_takes_the_place_of_the_tokenizers(tokenizer: PreTrainedTokenizerBase) -> None:
    template = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] | trim }}\n{% endfor %}"
    row = first(rows_of("chat_template", {"messages": TALK}, chat_template=template), tokenizer)
    assert whole(row, tokenizer) == "user: Hi\nassistant: Hello!\nuser: Bye\nassistant: Hello!\n"
    assert trained(row, tokenizer) == "Hello!Hello!"


def test_another_end_of_a_turn_is_trained_on_where_it_is_named(tokenizer: PreTrainedTokenizerBase) -> None:
    template = "{% for message in messages %}{{ message['content'] }}|\n{% endfor %}"
    usual = rows_of("chat_template", {"messages": TALK}, chat_template=template)
    named = rows_of("chat_template", {"messages": TALK}, chat_template=template, eot_tokens=("|", "<absent>"))
    assert trained(first(usual, tokenizer), tokenizer) == "Hello!Hello!"
    assert trained(first(named, tokenizer), tokenizer) == "Hello!|Hello!|"
    assert encode(usual, tokenizer, 2048).notes == (
        "The chat template writes no end token after a turn, so the model does not learn to stop; "
        "name the one it writes in eot_tokens.",
    )
    assert encode(named, tokenizer, 2048).notes == ()


def test_an_end_of_several_tokens_is_told(tokenizer: PreTrainedTokenizerBase) -> None:
    template = "{% for message in messages %}{{ message['content'] }}[end]{% endfor %}"
    rows = rows_of("chat_template", {"messages": TALK}, chat_template=template, eot_tokens=("[end]",))
    with pytest.raises(PreviewRefused, match=r"eot_tokens names \[end\], which is 5 tokens"):
        encode(rows, tokenizer, 2048)


def test_a_conversation_that_the_template_refuses_is_named(tokenizer: PreTrainedTokenizerBase) -> None:
    template = "{{ raise_exception('Roles must alternate.') }}"
    rows = rows_of("chat_template", {"messages": TALK}, chat_template=template)
    with pytest.raises(
        PreviewRefused, match=r"Row 1 of x\.jsonl is refused by the chat template: Roles must alternate"
    ):
        encode(rows, tokenizer, 64)


def test_a_tokenizer_without_a_template_is_told(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = rows_of("chat_template", {"messages": TALK})
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(PreviewRefused, match="set chat_template: chatml"):
            encode(rows, tokenizer, 2048)
        chatml = replace(rows, choice=replace(rows.choice, chat_template="chatml"))
        assert trained(first(chatml, tokenizer), tokenizer) == "Hello!<|im_end|>" * 2
    finally:
        tokenizer.chat_template = template
