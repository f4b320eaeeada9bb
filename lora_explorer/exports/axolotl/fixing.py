"""Mending a file: what a finding wants changed, written into its text, whether its keys are settings or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_explorer.errors import UnreadableYaml
from lora_explorer.exports.axolotl.order import usual_order
from lora_explorer.exports.yaml_documents.editing import Removed, edited, with_value
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.exports.yaml_documents.text import entries_as_text
from lora_explorer.findings import Fix


def with_fix(text: str, fix: Fix) -> str:
    """The text with a fix in it; only the lines of its keys change. Raises UnreadableYaml."""
    document = read_document(text)
    changes = {tuple(key.split(".")): Removed(entirely=True) if value is None else _plain(value) for key, value in fix}
    wanted: dict[Any, Any] = dict(document.values)
    for path, value in changes.items():
        wanted = with_value(wanted, path, value)
    proposal = edited(document, changes, (usual_order(),))
    return proposal if _says(proposal, wanted) else entries_as_text(wanted) or "{}\n"


def _says(text: str, wanted: Mapping[Any, Any]) -> bool:
    try:
        # repr, because two values that are not a number (.nan) are never equal.
        return repr(sorted(read_document(text).values.items(), key=repr)) == repr(sorted(wanted.items(), key=repr))
    except UnreadableYaml:
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
