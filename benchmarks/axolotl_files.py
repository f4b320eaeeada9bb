"""How whole real Axolotl files come back, and how fast they are read.

    python benchmarks/axolotl_files.py FOLDER... [--peer] [--speed] [--json]

Every YAML below the folders is imported and exported untouched; then each setting in turn gets other values, and the
result is held against the file line by line: it must mean what was wanted, and differ in lines of that key only.
--peer does the same through ruamel.yaml's round trip, as far as it is installed. --speed times a file of 400 lines made
of the lines of all of them. Which lines belong to a key is found by their indentation here, not by the editor's parser.
"""

from __future__ import annotations

import argparse
import difflib
import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from lora_explorer.errors import ExplorerError, InvalidSettings
from lora_explorer.exports.axolotl import export_axolotl, import_axolotl
from lora_explorer.settings import SETTINGS, Recipe, Setting, find_problems

LINES_TIMED = 400
TIMES = 60
# Of mappings, of lists, and of the dash in a list.
_INDENTATIONS = ((2, 2, 0), (2, 4, 2), (4, 6, 4), (4, 4, 2))
_KEY = re.compile(r"""\ufeff?["']?([\w.-]+)["']?\s*:""")
_ANCHOR = re.compile(r"&([\w-]+)")
_COMMENT = re.compile(r"(?:^|\s)(#.*)$")


@dataclass(frozen=True)
class Change:
    """What became of one file when one setting got one value. odd: what is wrong with it, or nothing."""

    file: str
    setting: str
    value: str
    odd: str
    lines: int


@dataclass(frozen=True)
class Result:
    """One file. refused: why it was not imported. whole: an untouched export gives it back byte for byte."""

    file: str
    refused: str
    whole: bool
    changes: tuple[Change, ...] = ()


def other_values(setting: Setting, current: Any) -> Iterator[Any]:
    """Values that differ from the current one, the unset one among them."""
    kind = setting.control.kind
    if isinstance(current, bool) or kind == "checkbox":
        yield not current
    elif kind in ("slider", "number"):
        yield _other_number(setting, current)
    elif kind == "mapping":
        yield {**(current or {}), "q_proj": 48}
    elif kind == "names" or setting.name in ("peft_layer_replication", "peft_trainable_token_indices"):
        yield from _other_lists(setting, current)
    elif setting.name == "loftq_bits":
        yield 2 if current != 2 else 8
    else:
        choices = [True if choice == "true" else choice for choice in setting.control.choices if choice != "false"]
        yield next((choice for choice in choices if choice != current), "other/name")
    yield None


def _other_number(setting: Setting, current: Any) -> float:
    low = setting.minimum if setting.minimum is not None else 0
    high = setting.maximum if setting.maximum is not None else setting.below if setting.below is not None else 1e6
    step = setting.control.step or 1
    moved = (current if current is not None else low + step) + step
    return moved if moved < high else low + step


def _other_lists(setting: Setting, current: Any) -> Iterator[Any]:
    own = {"peft_layers_to_transform": 3, "peft_layer_replication": (0, 4), "peft_trainable_token_indices": 5}
    item = own.get(setting.name, "other_proj")
    items = list(current) if isinstance(current, tuple) else []
    yield [*items, item]
    if len(items) > 1:
        yield items[:1]
        yield [item, *items[1:]]
    if setting.name == "lora_target_modules":
        yield r".*\.(q|v)_proj" if not isinstance(current, str) else r".*\.(q|k)_proj"


def tried(file: Path, *, every_setting: bool = True, edit: Callable[..., str] | None = None) -> Result:
    """One file imported, exported untouched, and exported with each setting changed."""
    text = file.read_bytes().decode("utf-8")
    try:
        recipe = import_axolotl(text).recipe
    except ExplorerError as error:
        return Result(str(file), str(error), whole=False)
    write = edit or _ours
    whole = write(text, recipe, recipe, ()) == text
    return Result(str(file), "", whole, tuple(_changes(file, text, recipe, write)) if every_setting else ())


def _ours(text: str, before: Recipe, wanted: Recipe, path: Sequence[str]) -> str:
    return export_axolotl(wanted, text)


def _changes(file: Path, text: str, before: Recipe, write: Callable[..., str]) -> Iterator[Change]:
    for name, setting in SETTINGS.items():
        for value in other_values(setting, getattr(before, name)):
            try:
                wanted = before.changed(**{name: value})
            except InvalidSettings:
                continue
            if wanted == before:
                continue
            result = write(text, before, wanted, setting.path)
            odd, lines = what_is_odd(text, result, wanted, setting.path[0])
            yield Change(str(file), name, repr(value)[:60], odd, lines)


def what_is_odd(before: str, after: str, wanted: Recipe, key: str) -> tuple[str, int]:
    """What is wrong with an edited text, and how many lines changed."""
    try:
        means = import_axolotl(after).recipe
    except ExplorerError as error:
        return f"unreadable: {error}", 0
    gone, come = changed_lines(before, after)
    changed = len(gone) + len(come)
    if means != wanted:
        return "means something else", changed
    # The comment of an entry that goes may stay on a line of its own, and an alias of a changed value is written out.
    moved = comments_of(line for _, line in gone)
    anchors = {name for owner, line in gone if owner == key for name in _ANCHOR.findall(line)}
    freed = {owner for owner, line in gone if any(f"*{name}" in line for name in anchors)}
    strangers = [line for owner, line in (*gone, *come) if owner not in (key, *freed) and line.strip() not in moved]
    if strangers:
        return f"touches {strangers[0]!r}", changed
    lost = moved - comments_of(line for _, line in come)
    return (f"loses {next(iter(lost))!r}" if lost else ""), changed


def changed_lines(before: str, after: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Lines that are gone and lines that have come, each with the key it belongs to."""
    old, new = owned_lines(before), owned_lines(after)
    matcher = difflib.SequenceMatcher(None, [line for _, line in old], [line for _, line in new], autojunk=False)
    gone, come = [], []
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag != "equal":
            gone += old[old_from:old_to]
            come += new[new_from:new_to]
    return gone, come


def owned_lines(text: str) -> list[tuple[str, str]]:
    """Each line with its line end and the top-level key it belongs to; comments belong to none."""
    owner, found = "", []
    for line in text.splitlines(keepends=True):
        match = _KEY.match(line)
        owner = match.group(1) if match else owner
        found.append(("" if line.strip().startswith("#") else owner, line))
    # A blank line belongs to a key only where more of it follows.
    more = ""
    for at, (whose, line) in reversed([*enumerate(found)]):
        if not line.strip():
            found[at] = (more, line)
        elif whose:
            more = "" if _KEY.match(line) else whose
    return found


def comments_of(lines: Iterable[str]) -> Counter[str]:
    """Comments behind values; those of list items go with their items."""
    found = (_COMMENT.search(line.rstrip()) for line in lines if not line.lstrip().startswith("- "))
    return Counter(match.group(1) for match in found if match)


def through_ruamel(text: str, before: Recipe, wanted: Recipe, path: Sequence[str]) -> str:
    """The same change by ruamel.yaml, with the indentation that fits this file best."""
    peer = _ruamel(text, *_best_indentation(text))
    values = peer.load(text)
    if path:
        _set(values, path, getattr(wanted, next(name for name, each in SETTINGS.items() if each.path == tuple(path))))
    return _dumped(peer, values)


@lru_cache(maxsize=1)
def _best_indentation(text: str) -> tuple[int, int, int]:
    def distance(layout: tuple[int, int, int]) -> int:
        peer = _ruamel(text, *layout)
        gone, come = changed_lines(text, _dumped(peer, peer.load(text)))
        return len(gone) + len(come)

    return min(_INDENTATIONS, key=distance)


def _ruamel(text: str, mapping: int, sequence: int, offset: int) -> Any:
    from ruamel.yaml import YAML

    peer = YAML()
    peer.preserve_quotes = True
    peer.width = 1 << 20
    peer.indent(mapping=mapping, sequence=sequence, offset=offset)
    peer.line_break = "\r\n" if "\r\n" in text else "\n"
    return peer


def _set(values: Any, path: Sequence[str], value: Any) -> None:
    *blocks, last = path
    for block in blocks:
        if not isinstance(values.get(block), Mapping):
            values[block] = {}
        values = values[block]
    if value is None:
        values.pop(last, None)
    else:
        values[last] = json.loads(json.dumps(value))


def _dumped(peer: Any, values: Any) -> str:
    stream = io.StringIO()
    peer.dump(values, stream)
    return stream.getvalue()


def tried_with_peer(file: Path, *, every_setting: bool) -> Result:
    try:
        return tried(file, every_setting=every_setting, edit=through_ruamel)
    except Exception as error:  # noqa: BLE001 - a peer may fail in any way, which is what is counted
        return Result(str(file), f"{type(error).__name__}: {str(error).splitlines()[0]}", whole=False)


def files_below(folders: Iterable[Path]) -> list[Path]:
    """Every YAML below the folders, the same content once."""
    found = (file for folder in folders for file in sorted(folder.rglob("*.y*ml")))
    return list({file.read_bytes(): file for file in reversed(list(found))}.values())


def time_reading(files: Sequence[Path]) -> dict[str, float]:
    """Milliseconds to import 400 dense lines and find everything there is to say about them."""
    text = dense_text(files)
    import_axolotl(text)
    seconds = []
    for _ in range(TIMES):
        start = time.perf_counter()
        find_problems(import_axolotl(text).recipe)
        seconds.append(time.perf_counter() - start)
    return {
        "lines": text.count("\n"),
        "bytes": len(text.encode()),
        "p50_ms": round(median(seconds) * 1e3, 1),
        "p95_ms": round(quantiles(seconds, n=20)[-1] * 1e3, 1),
    }


def dense_text(files: Sequence[Path]) -> str:
    """The entries of many files, each key once, as one file; settings first."""
    entries: dict[str, str] = {}
    for file in files:
        for owner, lines in _entries(file.read_text(encoding="utf-8")):
            entries.setdefault(owner, lines)
    chosen: list[str] = []
    for owner in sorted(entries, key=lambda name: name not in SETTINGS):
        lines = entries[owner]
        one_more = "".join([*chosen, lines])
        if one_more.count("\n") <= LINES_TIMED and _imports(one_more):
            chosen.append(lines)
    return "".join(chosen)


def _entries(text: str) -> Iterator[tuple[str, str]]:
    owned = [(owner, line if line.endswith("\n") else line + "\n") for owner, line in owned_lines(text) if owner]
    for owner in dict.fromkeys(owner for owner, _ in owned):
        yield owner, "".join(line for each, line in owned if each == owner)


def _imports(text: str) -> bool:
    try:
        import_axolotl(text)
    except ExplorerError:
        return False
    return True


def summary(results: Sequence[Result]) -> dict[str, Any]:
    changes = [change for result in results for change in result.changes]
    return {
        "files": len(results),
        "imported": sum(not result.refused for result in results),
        "whole": sum(result.whole for result in results),
        "changes": len(changes),
        "as_wanted": sum(not change.odd for change in changes),
        "lines_changed_mean": round(sum(change.lines for change in changes) / len(changes), 2) if changes else None,
        "lines_changed_most": max((change.lines for change in changes), default=None),
    }


def show(title: str, results: Sequence[Result]) -> None:
    for result in results:
        if result.refused:
            print(f"{result.file}: {result.refused}")
    odd = [change for result in results for change in result.changes if change.odd]
    for change in odd[:40]:
        print(f"{change.file}: {change.setting} = {change.value}: {change.odd}")
    print(f"\n| {title} | |\n|---|--:|")
    for name, value in summary(results).items():
        print(f"| {name.replace('_', ' ')} | {value} |")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folders", nargs="+", type=Path)
    arguments.add_argument("--peer", action="store_true", help="the same through ruamel.yaml")
    arguments.add_argument("--untouched", action="store_true", help="change no setting")
    arguments.add_argument("--speed", action="store_true", help="only time a file of 400 lines")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    files = files_below(given.folders)
    if given.speed:
        print(json.dumps(time_reading(files)))
        return
    work = partial(tried_with_peer if given.peer else tried, every_setting=not given.untouched)
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(work, files))
    if given.json:
        print(json.dumps(summary(results)))
    else:
        show("ruamel.yaml" if given.peer else "LoRA Explorer", results)


if __name__ == "__main__":
    main()
