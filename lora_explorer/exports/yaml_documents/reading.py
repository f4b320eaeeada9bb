"""Reading YAML that a stranger wrote: the values PyYAML gives Axolotl, where each one stands, and limits before both.

The text is read once, as a stream of events, which expands nothing. Only a document that stays within the limits there
is built into values, from the same events.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from lora_explorer.errors import UnreadableYaml

# Axolotl reads with PyYAML's own parser; libyaml is faster but takes texts that this one refuses.
_Loader = yaml.SafeLoader

LARGEST_TEXT_BYTES = 256 << 10
LONGEST_NUMBER = 100
MOST_NODES = 20_000
DEEPEST_NESTING = 40
_NUMBER = re.compile(r"[-+]?[0-9.][0-9a-fA-Fxo_:.+-]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Quotes by another name; every other tag builds something, or converts what may not be convertible.
_ALLOWED_TAGS = (None, "!", "tag:yaml.org,2002:str")
MERGE_KEY = "<<"


@dataclass
class Node:
    """One value of the text.

    kind: scalar, list, mapping or alias. start, end: characters of the text, end after the last character of its last
    part. text: of a scalar, or the name an alias refers to. children: of a mapping, key and value in turn.
    nodes: how many there are below and with it, aliases expanded.
    """

    kind: str
    start: int
    end: int
    column: int
    line: int
    text: str = ""
    flow: bool = False
    anchor: str | None = None
    children: list[Node] = field(default_factory=list)
    nodes: int = 1

    def entries(self) -> Iterator[tuple[Node, Node]]:
        """The pairs of a mapping."""
        return zip(self.children[::2], self.children[1::2], strict=True)

    def value_of(self, key: str) -> tuple[Node, Node] | None:
        """Key and value of a mapping's own entry; merged entries are elsewhere."""
        if self.kind != "mapping":
            return None
        return next(((name, value) for name, value in self.entries() if name.text == key), None)

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Document:
    """A YAML mapping: its text, its values as Axolotl reads them, and where they stand in the text."""

    text: str
    values: dict[Any, Any]
    root: Node


class _Builder:
    """Turns events into nodes and stops at the first limit."""

    def __init__(self) -> None:
        self.open: list[Node] = []
        self.anchored: dict[str, Node] = {}
        self.roots: list[Node] = []
        self.total = 0

    def add(self, event: Any) -> None:
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close(event)
        elif isinstance(event, yaml.NodeEvent):
            self._append(event, self._node(event))

    def _node(self, event: Any) -> Node:
        kinds = {yaml.ScalarEvent: "scalar", yaml.SequenceStartEvent: "list", yaml.MappingStartEvent: "mapping"}
        mark = event.start_mark
        return Node(
            kind=kinds.get(type(event), "alias"),
            start=mark.index,
            end=event.end_mark.index,
            column=mark.column,
            line=mark.line,
            text=event.value if isinstance(event, yaml.ScalarEvent) else event.anchor or "",
            flow=bool(getattr(event, "flow_style", False)),
            anchor=None if isinstance(event, yaml.AliasEvent) else event.anchor,
        )

    def _append(self, event: Any, node: Node) -> None:
        _refuse_tags(event)
        if node.kind == "alias":
            node.nodes = self._aliased(node).nodes
        elif node.anchor:
            self.anchored[node.anchor] = node
        if _SURROGATE.search(node.text):
            raise UnreadableYaml(f"{_place(node)}: the text holds half a character (a lone surrogate).")
        if len(node.text) > LONGEST_NUMBER and _NUMBER.fullmatch(node.text):
            raise UnreadableYaml(f"{_place(node)}: a number of {len(node.text):,} characters is too long.")
        self._count(node.nodes)
        (self.open[-1].children if self.open else self.roots).append(node)
        if node.kind in ("list", "mapping"):
            self.open.append(node)
        if len(self.open) > DEEPEST_NESTING:
            raise UnreadableYaml(f"{_place(node)}: the YAML is nested more than {DEEPEST_NESTING} deep.")

    def _aliased(self, node: Node) -> Node:
        target = self.anchored.get(node.text)
        if target is None:
            raise UnreadableYaml(f"{_place(node)}: *{node.text} refers to an anchor that is not there.")
        if target in self.open:
            raise UnreadableYaml(f"{_place(node)}: *{node.text} refers to the value it stands in.")
        return target

    def _count(self, more: int) -> None:
        self.total += more
        if self.total > MOST_NODES:
            raise UnreadableYaml(f"The YAML holds more than {MOST_NODES:,} values with its aliases written out.")

    def _close(self, event: Any) -> None:
        node = self.open.pop()
        node.nodes += sum(child.nodes for child in node.children)
        # A block ends where the next token starts, after comments that do not belong to it.
        node.end = event.end_mark.index if node.flow else max((child.end for child in node.children), default=node.end)
        if node.kind == "mapping":
            _refuse_twins(node)


def _place(node: Node) -> str:
    return f"Line {node.line + 1}, column {node.column + 1}"


def _refuse_tags(event: Any) -> None:
    tag = getattr(event, "tag", None)
    if tag not in _ALLOWED_TAGS:
        line = event.start_mark.line + 1
        shown = tag.replace("tag:yaml.org,2002:", "!!")[:60]
        raise UnreadableYaml(f"Line {line}: the tag {shown} is not allowed; a configuration holds plain values only.")


def _refuse_twins(mapping: Node) -> None:
    """Axolotl would keep the last of two equal keys without a word."""
    seen: dict[str, Node] = {}
    for key, _ in mapping.entries():
        if key.kind != "scalar":
            raise UnreadableYaml(f"{_place(key)}: a key must be a name, not a list or a mapping.")
        if key.text in seen and key.text != MERGE_KEY:
            raise UnreadableYaml(
                f"Line {key.line + 1}: the key {key.text[:60]} is given twice, first on line {seen[key.text].line + 1}."
            )
        seen.setdefault(key.text, key)


def _sentence(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"The YAML cannot be read: {str(error).splitlines()[0]}."
    place = f"Line {mark.line + 1}, column {mark.column + 1}"
    if text[mark.index : mark.index + 1] == "\t":
        return f"{place}: YAML does not take a tab here; indent with spaces."
    return f"{place}: the YAML cannot be read: {getattr(error, 'problem', None) or error}."


# What surrogateescape makes of bytes that are no UTF-8.
_UNDECODED = frozenset(map(chr, range(0xDC80, 0xDD00)))


def _checked(text: str) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_TEXT_BYTES:
        raise UnreadableYaml(
            f"The YAML is larger than {LARGEST_TEXT_BYTES // 1024} KiB, far more than a configuration needs."
        )
    odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        if odd.group() in _UNDECODED:
            raise UnreadableYaml(f"Line {line}: the file is not UTF-8 text.")
        raise UnreadableYaml(f"Line {line}: the character U+{ord(odd.group()):04X} cannot stand in YAML.")


def _read(text: str) -> tuple[Node, Sequence[yaml.Event]]:
    """The root and the events it was built from."""
    builder, events = _Builder(), []
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.add(event)
            events.append(event)
    except yaml.YAMLError as error:
        raise UnreadableYaml(_sentence(error, text)) from error
    return _only_mapping(builder), events


def _only_mapping(builder: _Builder) -> Node:
    if len(builder.roots) > 1:
        raise UnreadableYaml(f"Line {builder.roots[1].line + 1}: a second document starts; Axolotl reads one.")
    if not builder.roots or (builder.roots[0].kind, builder.roots[0].end) == ("scalar", builder.roots[0].start):
        raise UnreadableYaml("The YAML is empty.")
    if builder.roots[0].kind != "mapping":
        found = "a list" if builder.roots[0].kind == "list" else "a single value"
        raise UnreadableYaml(f"The YAML is {found}; a configuration is a mapping of keys to values.")
    return builder.roots[0]


class _EventLoader(yaml.composer.Composer, yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """PyYAML's own way from events to values; the events are there already."""

    def __init__(self, events: Sequence[yaml.Event]) -> None:
        yaml.composer.Composer.__init__(self)
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)
        self.events = deque(events)

    def check_event(self, *kinds: type[yaml.Event]) -> bool:
        return bool(self.events) and (not kinds or isinstance(self.events[0], kinds))

    def peek_event(self) -> yaml.Event:
        return self.events[0]

    def get_event(self) -> yaml.Event:
        return self.events.popleft()


def _values(text: str, events: Sequence[yaml.Event]) -> dict[Any, Any]:
    try:
        return dict(_EventLoader(events).get_single_data())
    except yaml.YAMLError as error:
        raise UnreadableYaml(_sentence(error, text)) from error
    except (ValueError, ArithmeticError) as error:
        # PyYAML recognises a number or a date by its look, and Python may still refuse it: 2024-13-45.
        raise UnreadableYaml(f"The YAML holds a number or date that cannot be read: {str(error)[:80]}.") from error


def read_document(text: str) -> Document:
    """Read a YAML mapping. Raises UnreadableYaml with one sentence; never expands what is too large."""
    _checked(text)
    root, events = _read(text)
    return Document(text, _values(text, events), root)
