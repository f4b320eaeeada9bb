"""Where keys stand in a text."""

from __future__ import annotations

from lora_explorer.exports.yaml_documents.reading import Document, Node


def line_of(document: Document, key: str) -> int | None:
    """The line of a dotted key, counted from 1; of the nearest key around it that is there; None where none is.

    A key with a dot of its own is found as it is written.
    """
    whole = document.root.value_of(key)
    if whole:
        return whole[0].line + 1
    entry: tuple[Node, Node] | None = None
    node = document.root
    for name in key.split("."):
        inner = node.value_of(name)
        if inner is None:
            break
        entry, node = inner, inner[1]
    return entry[0].line + 1 if entry else None
