"""How a configuration for another program is laid out as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_explorer.exports.exported import Exported, as_comments
from lora_explorer.exports.yaml_documents.editing import with_value
from lora_explorer.exports.yaml_documents.text import entries_as_text
from lora_explorer.findings import Finding


def yaml_file(command: str, entries: Mapping[str, Any], unsaid: tuple[Finding, ...], data: str = "") -> Exported:
    """A file with its command line and what is unsaid above, and what the reader has to fill in below.

    entries: by dotted keys. data: lines of YAML with a comment of their own, under keys that no entry has.
    """
    values: dict[Any, Any] = {}
    for key, value in entries.items():
        values = with_value(values, tuple(key.split(".")), value)
    parts = [f"# {command}\n{as_comments(unsaid)}", entries_as_text(values)]
    if data:
        parts.append(data)
    return Exported("\n".join(parts), unsaid)
