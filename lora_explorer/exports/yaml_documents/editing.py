"""Changing single values of a YAML text and leaving every other character as it is.

A round trip through a YAML library gives back its own layout. Here the places of the values are known, so only the
characters of a changed value are replaced: comments, order, anchors, quotes and line ends around it stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from lora_explorer.exports.yaml_documents.reading import MERGE_KEY, Document, Node
from lora_explorer.exports.yaml_documents.text import entries_as_text, value_as_text


@dataclass(frozen=True)
class Removed:
    """In place of a value: the entry goes. `resting` is what its line says instead where a comment keeps the line."""

    resting: Any = None


@dataclass(frozen=True)
class _Splice:
    start: int
    end: int
    text: str


class _Editor:
    """Collects splices for one document."""

    def __init__(self, document: Document) -> None:
        self.text = document.text
        self.root = document.root
        self.values = document.values
        self.newline = "\r\n" if "\r\n" in document.text else "\n"
        self.indent = " " * document.root.column
        self.splices: list[_Splice] = []

    def replace(self, key: Node, node: Node, old: Any, new: Any) -> None:
        self._free_aliases_of(node)
        if node.kind == "list" and not node.flow and isinstance(new, list) and new:
            self.splices.append(self._items(node, old, new))
        elif node.start == node.end and _stands_in_lines(new):
            end = self._line_end(node.end)
            self.splices.append(_Splice(end, end, self.newline + self._block(new, key.column + 2).rstrip()))
        elif node.kind == "mapping" and not node.flow and isinstance(new, Mapping) and new:
            start = self._line_start(node.start)
            self.splices.append(_Splice(start, node.end, self._block(new, node.column).rstrip()))
        else:
            self._in_line(key, node, new)

    def _in_line(self, key: Node, node: Node, new: Any) -> None:
        blocks = node.kind in ("list", "mapping") and not node.flow
        # A block starts on a line of its own; its one-line form goes behind the key.
        start = self.text.index(":", key.end) + 1 if blocks else node.start
        space = " " if self.text[start - 1] == ":" else ""
        # The text of a literal scalar (|) includes its last line end.
        end = start + len(self.text[start : node.end].rstrip())
        self.splices.append(_Splice(start, max(end, start), space + value_as_text(new)))

    def _items(self, node: Node, old: Sequence[Any], new: Sequence[Any]) -> _Splice:
        starts = [self._line_start(child.start) for child in node.children]
        end = self._line_end(node.end)
        chunks = [
            self.text[here:there].removesuffix(self.newline)
            for here, there in zip(starts, [*starts[1:], end], strict=True)
        ]
        dash = self.text[starts[0] : node.children[0].start]
        return _Splice(starts[0], end, self.newline.join(_merged_items(chunks, old, new, dash)))

    def _free_aliases_of(self, node: Node) -> None:
        """Write the old value out where an alias refers to it: only the setting that was changed may change."""
        if node.anchor is None or node.kind != "scalar":
            return
        literal = self.text[node.start : node.end].removeprefix(f"&{node.anchor}").strip()
        for alias in self.root.walk():
            if alias.kind == "alias" and alias.text == node.anchor:
                self.splices.append(_Splice(alias.start, alias.end, literal))

    def remove(self, key: Node, node: Node, resting: Any) -> None:
        self._free_aliases_of(node)
        start, end = self._line_start(key.start), self._line_end(node.end)
        comment = self.text[node.end : end].strip()
        if comment and resting is None and node.start == node.end:
            return
        if comment:
            written = "" if resting is None else f" {value_as_text(resting)}"
            self.splices.append(_Splice(self.text.index(":", key.end) + 1, node.end, written))
        else:
            self.splices.append(_Splice(start, min(end + len(self.newline), len(self.text)), ""))

    def insert(self, name: str, value: Any, after: Node | None, before: Node | None) -> None:
        lines = self._indented(entries_as_text({name: value}), self.indent)
        if after is None and before is not None:
            start = self._line_start(before.start)
            self.splices.append(_Splice(start, start, lines))
            return
        end = after.end if after else len(self.text)
        if self.text[end - 1] != "\n":
            end = min(self._line_end(end) + len(self.newline), len(self.text))
        at_line_start = self.text[:end].endswith("\n")
        self.splices.append(
            _Splice(end, end, lines if at_line_start else self.newline + lines.removesuffix(self.newline))
        )

    def _block(self, value: Any, column: int) -> str:
        if isinstance(value, Mapping):
            return self._indented(entries_as_text(value), " " * column)
        return self._indented("".join(f"- {value_as_text(item)}\n" for item in value), " " * column)

    def _indented(self, lines: str, indent: str) -> str:
        return "".join(f"{indent}{line}{self.newline}" for line in lines.splitlines())

    def _line_start(self, position: int) -> int:
        return self.text.rfind("\n", 0, position) + 1

    def _line_end(self, position: int) -> int:
        """Before the line end that follows, or the end of the text."""
        if position and self.text[position - 1] == "\n":
            return position - len(self.newline)
        end = self.text.find(self.newline, position)
        return len(self.text) if end < 0 else end

    def result(self) -> str:
        parts, done = [], 0
        for splice in sorted(self.splices, key=lambda splice: splice.start):
            parts += [self.text[done : splice.start], splice.text]
            done = max(done, splice.end)
        return "".join([*parts, self.text[done:]])


def _stands_in_lines(value: Any) -> bool:
    """Whether a value is written over several lines when there is no older form to follow."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and any(isinstance(item, str) for item in value)


def _merged_items(chunks: Sequence[str], old: Sequence[Any], new: Sequence[Any], dash: str) -> Iterator[str]:
    """The lines of a list's new items: an item that stays keeps its line, and comments below one that goes stay."""
    matcher = SequenceMatcher(None, [repr(item) for item in old], [repr(item) for item in new], autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            yield from chunks[old_from:old_to]
            continue
        yield from (f"{dash}{value_as_text(item)}" for item in new[new_from:new_to])
        for chunk in chunks[old_from:old_to]:
            yield from (line for line in chunk.splitlines() if line.lstrip().startswith("#"))


def _found(root: Node, path: Sequence[str]) -> tuple[Node, Node] | None:
    entry = root.value_of(path[0])
    for name in path[1:]:
        entry = entry[1].value_of(name) if entry else None
    return entry


def _value_at(values: Mapping[Any, Any], path: Sequence[str]) -> Any:
    value: Any = values
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def with_value(values: Mapping[Any, Any], path: Sequence[str], new: Any) -> dict[Any, Any]:
    """A copy of nested mappings with one value set or, as Removed, taken out together with what it leaves empty."""
    first, rest = path[0], path[1:]
    result = dict(values)
    if rest:
        inner = values.get(first)
        new = with_value(inner if isinstance(inner, Mapping) else {}, rest, new) or Removed()
    if isinstance(new, Removed):
        result.pop(first, None)
    else:
        result[first] = new
    return result


def _neighbours(root: Node, name: str, order: Sequence[str]) -> tuple[Node | None, Node | None]:
    """The value to insert behind and the key to insert before, by an order of keys; the last value if none is near."""
    place = order.index(name)
    earlier = (root.value_of(other) for other in reversed(order[:place]))
    later = (root.value_of(other) for other in order[place + 1 :])
    behind = next((entry[1] for entry in earlier if entry), None)
    before = next((entry[0] for entry in later if entry), None)
    return (None, before) if behind is None and before else (behind or root.children[-1], None)


def edited(document: Document, changes: Mapping[tuple[str, ...], Any], orders: Sequence[Sequence[str]]) -> str:
    """The text with some values changed.

    changes: new values by path, Removed for those that go. orders: groups of top-level keys that belong together, in
    the order they are written; a new key is put beside its nearest neighbour.
    The result is a proposal: layouts exist (a mapping in braces) where it does not say what it should, so read it back.
    """
    editor = _Editor(document)
    for path, new in changes.items():
        entry = _found(document.root, path)
        if entry and not (isinstance(new, Removed) and path[1:]):
            _change(editor, entry, _value_at(document.values, path), new)
            continue
        # What is not there yet, or takes its parents along, changes the top-level entry as a whole.
        whole = with_value(document.values, path, new).get(path[0], Removed())
        outer = document.root.value_of(path[0])
        if outer:
            _change(editor, outer, document.values.get(path[0]), whole)
        elif not isinstance(new, Removed):
            editor.insert(path[0], whole, *_neighbours(document.root, path[0], _order_of(path[0], orders)))
        elif document.root.value_of(MERGE_KEY):
            # An entry that was merged in can only be overruled.
            editor.insert(path[0], new.resting, *_neighbours(document.root, path[0], _order_of(path[0], orders)))
    return editor.result()


def _change(editor: _Editor, entry: tuple[Node, Node], old: Any, new: Any) -> None:
    if isinstance(new, Removed):
        editor.remove(*entry, new.resting)
    else:
        editor.replace(*entry, old, new)


def _order_of(name: str, orders: Sequence[Sequence[str]]) -> Sequence[str]:
    return next((order for order in orders if name in order), (name,))
