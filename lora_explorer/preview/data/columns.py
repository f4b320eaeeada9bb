"""What each type of data needs in a row, how the type is told from the columns, and what is wrong with a row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lora_explorer.preview.data.refusal import quoted, refusal
from lora_explorer.preview.request import DataChoice, DatasetType

Record = Mapping[str, Any]

# The names of Axolotl's columns, by the key that renames them.
_NAMES = {
    "field_instruction": "instruction",
    "field_input": "input",
    "field_output": "output",
    "field": "text",
    "field_messages": "messages",
    "field_segments": "segments",
    "message_field_role": "role",
    "message_field_content": "content",
}
_NEEDED: dict[DatasetType, tuple[str, ...]] = {
    "alpaca": ("field_instruction", "field_output"),
    "completion": ("field",),
    "chat_template": ("field_messages",),
    "input_output": ("field_segments",),
}
_SHAREGPT = (("field_messages", "conversations"), ("message_field_role", "from"), ("message_field_content", "value"))
_SAID = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def column_names(choice: DataChoice) -> dict[str, str]:
    """The column, or the field of a message, by Axolotl's key."""
    return {**_NAMES, **dict(choice.columns)}


def with_type(choice: DataChoice, records: Sequence[Record], label: str) -> DataChoice:
    """The choice with its type, told from the columns where it says none. Raises PreviewRefused."""
    columns = _columns(records)
    if choice.type is None:
        choice = _detected(choice, columns, label)
    missing = [name for name in _needed(choice) if name not in columns]
    if missing:
        needed = " and ".join(_needed(choice))
        raise refusal(f"{label} has {_listed(columns)}; data of type {choice.type} need {needed}.")
    return choice


def check_records(choice: DataChoice, records: Sequence[Record], label: str) -> None:
    """Raises PreviewRefused at the first row that cannot become text, with its number."""
    names = column_names(choice)
    assert choice.type is not None
    problem_of = _CHECKS[choice.type]
    for number, record in enumerate(records, start=1):
        problem = problem_of(record, names)
        if problem:
            raise refusal(f"Row {number:,} of {label}: {problem}.")


def messages_of(record: Record, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A conversation's messages; some files hold them as one text of JSON. Raises ValueError where they are none."""
    messages = record[names["field_messages"]]
    if isinstance(messages, str):
        messages = json.loads(messages)
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError(f"{names['field_messages']} is no list of messages")
    return messages


def _columns(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(str(column) for record in records for column in record))


def _needed(choice: DataChoice) -> list[str]:
    assert choice.type is not None
    names = column_names(choice)
    return [names[key] for key in _NEEDED[choice.type]]


def _detected(choice: DataChoice, columns: list[str], label: str) -> DataChoice:
    kinds: tuple[DatasetType, ...] = ("chat_template", "input_output", "alpaca", "completion")
    for kind in kinds:
        candidate = replace(choice, type=kind)
        if all(name in columns for name in _needed(candidate)):
            return candidate
    if "conversations" in columns and not choice.columns:
        return replace(choice, type="chat_template", columns=_SHAREGPT)
    raise refusal(
        f"{label} has {_listed(columns)}, which fit no type: alpaca needs instruction and output, completion text, "
        "chat_template messages, input_output segments."
    )


def _listed(columns: list[str]) -> str:
    return f"the column{'s' if len(columns) > 1 else ''} {quoted(columns)}" if columns else "no columns"


def _problem_of_text(record: Record, column: str, *, empty: bool = False) -> str | None:
    value = record.get(column)
    if isinstance(value, str) or (value is None and empty):
        return None
    return f"{column} is missing" if value is None else f"{column} is {_said(value)} and must be text"


def _said(value: Any) -> str:
    return _SAID.get(type(value), f"of type {type(value).__name__}")


def _problem_of_alpaca(record: Record, names: Mapping[str, str]) -> str | None:
    output = names["field_output"]
    return (
        _problem_of_text(record, names["field_instruction"])
        or _problem_of_text(record, names["field_input"], empty=True)
        or _problem_of_text(record, output, empty=output in record)
    )


def _problem_of_completion(record: Record, names: Mapping[str, str]) -> str | None:
    return _problem_of_text(record, names["field"])


def _problem_of_messages(record: Record, names: Mapping[str, str]) -> str | None:
    column = names["field_messages"]
    if record.get(column) is None:
        return f"{column} is missing"
    try:
        messages = messages_of(record, names)
    except ValueError:
        return f"{column} is no list of messages"
    if not messages:
        return f"{column} is empty"
    problems = (_problem_of_message(message, place, names) for place, message in enumerate(messages, start=1))
    return next((problem for problem in problems if problem), None)


def _problem_of_message(message: Record, place: int, names: Mapping[str, str]) -> str | None:
    role, content = names["message_field_role"], names["message_field_content"]
    if not isinstance(message.get(role), str):
        return f"message {place} has no {role}"
    said = message.get(content)
    if said is None and not message.get("tool_calls"):
        return f"message {place} has no {content}"
    if isinstance(said, list):
        return _problem_of_parts(said, place)
    return None if said is None or isinstance(said, str) else f"{content} of message {place} is {_said(said)}"


def _problem_of_parts(parts: list[Any], place: int) -> str | None:
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        return f"message {place} has parts that are no text"
    if any("train" in part or "weight" in part for part in parts):
        return f"message {place} has parts that are trained on or not, which is not previewed"
    return None


def _problem_of_segments(record: Record, names: Mapping[str, str]) -> str | None:
    column = names["field_segments"]
    segments = record.get(column)
    if not isinstance(segments, list) or not segments:
        return f"{column} is no list of segments"
    right = (
        isinstance(each, dict) and isinstance(each.get("text"), str) and isinstance(each.get("label"), bool)
        for each in segments
    )
    return None if all(right) else f"each of its {column} needs a text and a label of true or false"


_CHECKS: dict[DatasetType, Callable[[Record, Mapping[str, str]], str | None]] = {
    "alpaca": _problem_of_alpaca,
    "completion": _problem_of_completion,
    "chat_template": _problem_of_messages,
    "input_output": _problem_of_segments,
}
