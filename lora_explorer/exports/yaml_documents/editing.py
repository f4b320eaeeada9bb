"""Changing single values of a YAML text and leaving every other character as it is.

A round trip through a YAML library gives back its own layout. Here the places of the values are known, so only the
characters of a changed value are replaced: comments, order, anchors, quotes and line ends around it stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from types import MappingProxyType
from typing import Any

from lora_explorer.exports.yaml_documents.reading import MERGE_KEY, Document, Node
from lora_explorer.exports.yaml_documents.text import entries_as_text, value_as_text

# difflib takes time in proportion to the product of two lengths, and more where items repeat.
_MOST_COMPARED = 40_000
_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_ITEM_COMMENTED_OUT = re.compile(r"[ ]+#|#[ ]*- ")


@dataclass(frozen=True)
class Removed:
    """In place of a value: the entry goes.

    resting: what its line says instead where a comment keeps the line. entirely: no line is kept; a comment behind the
    value then has one of its own.
    """

    resting: Any = None
    entirely: bool = False


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
        first_break = _LINE_BREAK.search(document.text)
        self.newline = first_break.group() if first_break else "\n"
        self.splices: list[_Splice] = []
        self.entries = {key.text: (key, value) for key, value in reversed([*document.root.entries()])}
        self.aliases: dict[str, list[Node]] = {}
        for node in document.root.walk():
            if node.kind == "alias":
                self.aliases.setdefault(node.text, []).append(node)

    def replace(self, key: Node, node: Node, old: Any, new: Any) -> None:
        block = not node.flow and bool(new)
        if block and _can_merge(node, old, new):
            self._entries(node, old, new)
            return
        self._free_aliases_of(node, old)
        if block and node.kind == "list" and isinstance(new, list):
            self.splices.append(self._items(node, old, new))
        elif node.start == node.end and _stands_in_lines(new):
            end = self._line_end(node.end)
            self.splices.append(_Splice(end, end, self.newline + self._block(new, key.column + 2).rstrip()))
        elif block and node.kind == "mapping" and isinstance(new, Mapping):
            start = self._line_start(node.start)
            self.splices.append(_Splice(start, node.end, self._block(new, node.column).rstrip()))
        else:
            self._in_line(key, node, new)

    def _in_line(self, key: Node, node: Node, new: Any) -> None:
        if _is_block(node):
            # A block starts on a line of its own; its one-line form goes behind the key.
            start, end = self._behind_colon(key), node.end
            self.splices.append(_Splice(start, end, f" {value_as_text(new)}" + self._comment_lines(start, end)))
            return
        space = " " if self.text[node.start - 1] == ":" else ""
        # The text of a literal scalar (|) includes its last line end.
        end = node.start + len(self.text[node.start : node.end].rstrip())
        written = _in_quotes_of(self.text[node.start : node.start + 1], new)
        self.splices.append(_Splice(node.start, max(end, node.start), space + written))

    def _entries(self, node: Node, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> None:
        """A mapping changed entry by entry."""
        for (key, value), name in zip(node.entries(), old, strict=True):
            if name not in new:
                self.remove(key, value, old[name], inside=True)
            elif repr(new[name]) != repr(old[name]):
                self.replace(key, value, old[name], new[name])
        added = {name: value for name, value in new.items() if name not in old}
        if added:
            self._insert_behind(node.children[-1], self._indented(entries_as_text(added), node.column))

    def _items(self, node: Node, old: Sequence[Any], new: Sequence[Any]) -> _Splice:
        starts = [self._line_start(child.start) for child in node.children]
        end = self._line_end(node.end)
        chunks = [self.text[here:there] for here, there in zip(starts, [*starts[1:], end], strict=True)]
        chunks[-1] += self.newline
        dash = self.text[starts[0] : node.children[0].start]
        added = {repr(item): f"{dash}{value_as_text(item)}{self.newline}" for item in new}
        merged = "".join(_merged_items(chunks, [repr(item) for item in old], [repr(item) for item in new], added))
        return _Splice(starts[0], end, merged.removesuffix(self.newline))

    def _free_aliases_of(self, node: Node, old: Any) -> None:
        """Write the old value out where an alias refers to it: only the setting that was changed may change."""
        for inner in node.walk():
            if inner.anchor is None:
                continue
            source = self.text[inner.start : inner.end].removeprefix(f"&{inner.anchor}").strip()
            literal = value_as_text(old) if inner is node and inner.kind != "scalar" else source
            for alias in self.aliases.get(inner.anchor, ()):
                if not node.start <= alias.start < node.end:
                    self.splices.append(_Splice(alias.start, alias.end, literal))

    def remove(self, key: Node, node: Node, old: Any, resting: Any = None, *, inside: bool = False) -> None:
        """inside: its comment stays without it, as that of an entry of a mapping does that stays."""
        self._free_aliases_of(node, old)
        start, end = self._line_start(key.start), self._line_end(node.end)
        comment = self._comment_behind(node)
        if _is_block(node) or inside:
            kept = self._comments_within(key, node)
            # The line end before the kept lines goes, and the one behind the last of them stays.
            after = end if kept else self._next_line(end)
            self.splices.append(_Splice(start, after, kept.removeprefix(self.newline)))
        elif comment and resting is None and node.start == node.end:
            return
        elif comment:
            written = "" if resting is None else f" {value_as_text(resting)}"
            self.splices.append(_Splice(self._behind_colon(key), node.end, written))
        else:
            self.splices.append(_Splice(start, self._next_line(end), ""))

    def _comments_within(self, key: Node, node: Node) -> str:
        """Every comment of an entry, on lines of their own; those behind a list's items go with them."""
        kept = self._comment_lines(self._behind_colon(key), node.start)
        if node.kind == "list" and not node.flow:
            return kept + self._comment_lines(node.start, node.end)
        if not _is_block(node):
            comment = self._comment_behind(node)
            return f"{kept}{self.newline}{' ' * key.column}{comment}" if comment else kept
        done = node.start
        for inner_key, inner in node.entries():
            kept += self._comment_lines(self._line_end(done), inner_key.start) if done < inner_key.start else ""
            kept += self._comments_within(inner_key, inner)
            done = inner.end
        return kept

    def _comment_behind(self, node: Node) -> str:
        return self.text[node.end : self._line_end(node.end)].strip()

    def insert(self, name: str, value: Any, beside: tuple[Node | None, Node | None], comment: str = "") -> None:
        """A new top-level entry. beside: the value to insert behind, or the key to insert before, or the end."""
        behind, before = beside
        if self.root.flow:
            self._insert_in_braces(f"{value_as_text(name)}: {value_as_text(value)}", behind)
            return
        lines = (f"# {comment}\n" if comment else "") + entries_as_text({name: value})
        written = self._indented(lines, self.root.column)
        if behind is None and before is not None:
            # What looks like a comment at the end of a text of several lines is a part of it.
            above = max((node.end for node in self.root.children if node.end <= before.start), default=0)
            start = self._above_comments(self._line_start(before.start), above)
            self.splices.append(_Splice(start, start, written))
        else:
            self._insert_behind(behind or self.root.children[-1], written)

    def _insert_in_braces(self, written: str, behind: Node | None) -> None:
        if behind is None:
            start = self.root.children[0].start if self.root.children else self.root.start + 1
            self.splices.append(_Splice(start, start, f"{written}, "))
        else:
            self.splices.append(_Splice(behind.end, behind.end, f", {written}"))

    def _insert_behind(self, node: Node, lines: str) -> None:
        end = self._next_line(self._line_end(node.end))
        end = self._below_items(end) if node.kind == "list" else end
        at_line_start = self.text[end - 1] in "\r\n"
        self.splices.append(
            _Splice(end, end, lines if at_line_start else self.newline + lines.removesuffix(self.newline))
        )

    def _below_items(self, position: int) -> int:
        """Below the items of a list that are commented out right under it."""
        while _ITEM_COMMENTED_OUT.match(self.text, position):
            position = self._next_line(self._line_end(position, within=False))
        return position

    def _above_comments(self, position: int, least: int) -> int:
        """Above the comment on a line, unless it is the one that the file starts with."""
        top = position
        above = self._line_start(self._line_end(top))
        while least <= above < top and self.text[above:top].lstrip().startswith("#"):
            top, above = above, self._line_start(self._line_end(above))
        return top or position

    def _comment_lines(self, start: int, end: int) -> str:
        """The lines between that hold nothing but a comment, each behind a line end."""
        lines = self.text[start:end].splitlines()
        return "".join(self.newline + line for line in lines if line.lstrip().startswith("#"))

    def _block(self, value: Any, column: int) -> str:
        if isinstance(value, Mapping):
            return self._indented(entries_as_text(value), column)
        return self._indented("".join(f"- {value_as_text(item)}\n" for item in value), column)

    def _indented(self, lines: str, column: int) -> str:
        return "".join(f"{' ' * column}{line}{self.newline}" for line in lines.splitlines())

    def _behind_colon(self, key: Node) -> int:
        return self.text.index(":", key.end) + 1

    def _line_start(self, position: int) -> int:
        start = max(self.text.rfind("\n", 0, position), self.text.rfind("\r", 0, position)) + 1
        # A byte order mark is only one at the very start.
        return start or int(self.text.startswith("\ufeff"))

    def _line_end(self, position: int, *, within: bool = True) -> int:
        """Before the line break that follows, or the end of the text. within: a break right before counts as well."""
        if within and position and self.text[position - 1] in "\r\n":
            return position - (2 if self.text[:position].endswith("\r\n") else 1)
        found = _LINE_BREAK.search(self.text, position)
        return found.start() if found else len(self.text)

    def _next_line(self, line_end: int) -> int:
        found = _LINE_BREAK.match(self.text, line_end)
        return found.end() if found else line_end

    def result(self) -> str:
        parts, done = [], 0
        # What comes in where something else goes stands before what is kept of that.
        for splice in sorted(self.splices, key=lambda splice: (splice.start, splice.end)):
            parts += [self.text[done : splice.start], splice.text]
            done = max(done, splice.end)
        return "".join([*parts, self.text[done:]])


def _is_block(node: Node) -> bool:
    return node.kind in ("list", "mapping") and not node.flow


def _can_merge(node: Node, old: Any, new: Any) -> bool:
    """Whether a mapping can be changed entry by entry: those that stay are in their old order, the new ones last."""
    if node.kind != "mapping" or node.anchor or not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return False
    stay = [name for name in old if name in new]
    plain = len(node.children) == 2 * len(old) and node.value_of(MERGE_KEY) is None
    return plain and list(new)[: len(stay)] == stay


def _in_quotes_of(sign: str, value: Any) -> str:
    """A value as text, a text in the same quotes as before."""
    if not isinstance(value, str) or not value.isprintable() or sign not in ("'", '"'):
        return value_as_text(value)
    if sign == "'":
        return "'" + value.replace("'", "''") + "'"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _stands_in_lines(value: Any) -> bool:
    """Whether a value is written over several lines when there is no older form to follow."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and any(isinstance(item, str) for item in value)


def _merged_items(
    chunks: Sequence[str], old: Sequence[str], new: Sequence[str], added: Mapping[str, str]
) -> Iterator[str]:
    """The lines of a list's new items: an item that stays keeps its line, and comments below one that goes stay."""
    for tag, old_from, old_to, new_from, new_to in _differences(old, new):
        if tag == "equal":
            yield from chunks[old_from:old_to]
            continue
        yield from (added[item] for item in new[new_from:new_to])
        for chunk in chunks[old_from:old_to]:
            yield from (line for line in chunk.splitlines(keepends=True) if line.lstrip().startswith("#"))


def _differences(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """difflib's opcodes; between two long lists only their common start and end are equal."""
    if len(old) * len(new) <= _MOST_COMPARED:
        yield from SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        return
    shorter = min(len(old), len(new))
    start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    rest = shorter - start
    end = next((at for at in range(rest) if old[-1 - at] != new[-1 - at]), rest)
    yield "equal", 0, start, 0, start
    yield "replace", start, len(old) - end, start, len(new) - end
    yield "equal", len(old) - end, len(old), len(new) - end, len(new)


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


def _neighbours(
    entries: Mapping[str, tuple[Node, Node]], name: str, order: Sequence[str]
) -> tuple[Node | None, Node | None]:
    """The value to insert behind, or the key to insert before: the nearer one by an order of keys."""
    place = order.index(name) if name in order else 0
    there = ((abs(at - place), at > place, entries.get(other)) for at, other in enumerate(order))
    _, later, entry = min((found for found in there if found[2]), default=(0, False, None), key=lambda found: found[:2])
    if entry is None:
        return None, None
    return (None, entry[0]) if later else (entry[1], None)


def edited(
    document: Document,
    changes: Mapping[tuple[str, ...], Any],
    orders: Sequence[Sequence[str]],
    comments: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The text with some values changed.

    changes: new values by path, Removed for those that go. orders: groups of top-level keys that belong together, in
    the order they are written; a new key is put beside its nearest neighbour, with its comment above it.
    The result is a proposal: layouts exist (a key of several lines) where it does not say what it should, so read it
    back.
    """
    editor = _Editor(document)
    for path, new in _leaving_one(document, changes).items():
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
            beside = _neighbours(editor.entries, path[0], _order_of(path[0], orders))
            editor.insert(path[0], whole, beside, comments.get(path[0], ""))
        elif document.root.value_of(MERGE_KEY):
            # An entry that was merged in can only be overruled.
            editor.insert(path[0], new.resting, _neighbours(editor.entries, path[0], _order_of(path[0], orders)))
    return editor.result()


def _leaving_one(document: Document, changes: Mapping[tuple[str, ...], Any]) -> Mapping[tuple[str, ...], Any]:
    """The changes, with the last key of all kept without its value: comments alone are no mapping."""
    gone = [path for path, new in changes.items() if isinstance(new, Removed) and document.root.value_of(path[0])]
    if len(gone) < len(document.root.children) / 2 or len(gone) < len(changes):
        return changes
    return {gone[0][:1]: changes[gone[0]].resting, **{path: Removed() for path in gone[1:]}}


def _change(editor: _Editor, entry: tuple[Node, Node], old: Any, new: Any) -> None:
    if isinstance(new, Removed):
        editor.remove(*entry, old, new.resting, inside=new.entirely)
    else:
        editor.replace(*entry, old, new)


def _order_of(name: str, orders: Sequence[Sequence[str]]) -> Sequence[str]:
    return next((order for order in orders if name in order), (name,))
