"""Which data: read from Axolotl's YAML, and whether they may be had at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from lora_explorer.base_models import Access
from lora_explorer.preview.data.files import SUFFIXES, check_file
from lora_explorer.preview.data.refusal import quoted, refusal, shown
from lora_explorer.preview.data.uploads import is_upload
from lora_explorer.preview.request import DataChoice, DatasetType, EndTokens, ExcessLength

TYPES: tuple[DatasetType, ...] = get_args(DatasetType)

# A name alone would be one of the kinds of files that `datasets` reads, such as json.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
# The keys of an entry that name columns, where Axolotl itself looks at them.
_COLUMN_KEYS = ("field", "field_messages", "message_field_role", "message_field_content")
# What changes rows or labels in Axolotl and is not read here, with what it is when it is not written.
_UNREAD_OF_ENTRY: Mapping[str, Any] = {
    "data_files": None,
    "revision": None,
    "shards": None,
    "weight": 1.0,
    "input_transform": None,
    "field_tools": "tools",
    "field_thinking": "reasoning_content",
    "template_thinking_key": "reasoning_content",
    "message_field_training": None,
    "message_field_training_detail": None,
    "split_thinking": False,
    "train_on_eot": None,
    "roles": None,
    "drop_system_message": False,
}
_UNREAD_BESIDE: Mapping[str, Any] = {
    "test_datasets": None,
    "chat_template_kwargs": None,
    "min_sample_len": None,
    "dataset_exact_deduplication": False,
}


def data_choice_from(values: Mapping[str, Any]) -> DataChoice | None:
    """The first entry of a configuration's `datasets`, with the keys beside it; None where there is no entry.

    Raises PreviewRefused for an entry that is none or of a type that is not previewed.
    """
    entries = values.get("datasets")
    if not entries:
        return None
    entry = entries[0] if isinstance(entries, list) else None
    path = entry.get("path") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(path, str) or not path.strip():
        raise refusal("datasets must be a list of entries, each with a path.")
    is_file = _is_file(path.strip())
    return DataChoice(
        origin="file" if is_file else "hub",
        name=_absolute(path.strip()) if is_file else path.strip(),
        type=_dataset_type(entry.get("type")),
        columns=_columns(entry),
        val_set_size=_number(values.get("val_set_size")),
        notes=tuple(_unread(values, entries)),
        **(_beside(values) | _of_entry(entry)),
    )


def with_keys_beside(choice: DataChoice, values: Mapping[str, Any]) -> DataChoice:
    """Other data than a configuration's own, read as its keys beside `datasets` say."""
    return replace(choice, **_beside(values))


def check_choice(choice: DataChoice, *, access: Access) -> None:
    """Refuse, before anything is read, what cannot be had or is not for this visitor. Raises PreviewRefused."""
    if choice.origin == "file" and not access.folders and not is_upload(choice.name):
        raise refusal("Files of the server cannot be read on a public page; upload the file instead.")
    if choice.origin == "file":
        check_file(Path(choice.name), public=not access.folders)
    if choice.origin == "hub":
        _check_hub_id(choice.name, access)


def check_template(choice: DataChoice, *, access: Access) -> None:
    """Refuse to run a stranger's chat template. choice: with its type. Raises PreviewRefused."""
    if choice.type == "chat_template" and "{" in choice.chat_template and not access.folders:
        raise refusal("Chat templates of one's own are not run on a public page; leave chat_template away.")


def _check_hub_id(name: str, access: Access) -> None:
    if not _HUB_ID.fullmatch(name) or ".." in name:
        raise refusal(f"{shown(name)!r} is no data set of the Hub: those are called owner/name.")
    if not access.hub or not access.folders:
        raise refusal("Data sets of the Hub are switched off here; choose a built-in one or upload a file.")


def _is_file(path: str) -> bool:
    if path.startswith((".", "/", "~")) or "\\" in path or Path(path).suffix.lower() in SUFFIXES:
        return True
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:  # The home of nobody.
        return path


def _dataset_type(named: Any) -> DatasetType | None:
    for known in TYPES:
        if named == known:
            return known
    if named is None:
        return None
    what = "of a prompt format of their own" if isinstance(named, Mapping) else f"of type {shown(str(named))}"
    raise refusal(f"Data {what} are not previewed; of type {', '.join(TYPES[:-1])} and {TYPES[-1]} they are.")


def _columns(entry: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    mapped = entry.get("message_property_mappings")
    properties = mapped if isinstance(mapped, Mapping) else {}
    named = {f"message_field_{key}": properties.get(key) for key in ("role", "content")}
    named.update({key: entry[key] for key in _COLUMN_KEYS if entry.get(key)})
    return tuple((key, column) for key, column in named.items() if isinstance(column, str) and column)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def _beside(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says of all its data, where it says something."""
    return _written(
        {
            "chat_template": _template(values),
            "eot_tokens": _texts(values.get("eot_tokens")),
            "excess_length": _one_of(get_args(ExcessLength), values.get("excess_length_strategy")),
            "train_on_inputs": True if values.get("train_on_inputs") is True else None,
            "shuffle": False if values.get("shuffle_merged_datasets") is False else None,
        }
    )


def _of_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says of itself, where it says something."""
    return _written(
        {
            "split": _text(entry.get("split")),
            "config": _text(entry.get("name")),
            "chat_template": _template(entry),
            "roles_to_train": _texts(entry.get("roles_to_train")),
            "train_on_eos": _one_of(get_args(EndTokens), entry.get("train_on_eos")),
        }
    )


def _written(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}


def _unread(values: Mapping[str, Any], entries: Sequence[Any]) -> Iterator[str]:
    """Sentences on what would make other rows or labels in the full run."""
    if len(entries) > 1:
        yield f"Of the {len(entries)} entries of datasets only the first is previewed."
    entry = entries[0]
    keys = [*_differing(_UNREAD_OF_ENTRY, entry), *_differing(_UNREAD_BESIDE, values)]
    if keys:
        yield f"Not read in a preview, so that rows may differ from the full run's: {quoted(keys)}."


def _differing(usual: Mapping[str, Any], keys: Mapping[str, Any]) -> list[str]:
    return [name for name, value in usual.items() if keys.get(name) not in (None, value)]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _template(keys: Mapping[str, Any]) -> str | None:
    return _text(keys.get("chat_template_jinja")) or _text(keys.get("chat_template"))


def _texts(value: Any) -> tuple[str, ...] | None:
    return tuple(str(item) for item in value) if isinstance(value, list) else None


def _one_of(allowed: tuple[str, ...], value: Any) -> str | None:
    return value if value in allowed else None
