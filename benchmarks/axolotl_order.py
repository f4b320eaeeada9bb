"""In which order real Axolotl files write their keys, and how often a new key lands where they have it.

    python benchmarks/axolotl_order.py FOLDER... [--learn]

Each setting that a file holds is taken out and put in again; counted is how often it then stands where it stood,
at most two keys off, or in its paragraph. --learn prints the order that the fewest pairs of keys in all files
contradict, as presets/axolotl_order.yml keeps it.
"""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from axolotl_files import files_below, owned_lines

from lora_explorer.errors import ExplorerError
from lora_explorer.exports.axolotl import export_axolotl, import_axolotl
from lora_explorer.exports.axolotl.keys import known_keys
from lora_explorer.settings import SETTINGS

FEWEST_FILES = 6


def keys_of(text: str) -> list[str]:
    """The top-level keys, in order."""
    return list(dict.fromkeys(owner for owner, _ in owned_lines(text) if owner))


def learned(texts: Sequence[str]) -> list[str]:
    """Keys of several files in the order that the fewest pairs contradict; rare settings as on the page."""
    files = [keys_of(text) for text in texts]
    seen = Counter(key for keys in files for key in keys)
    known = {key for key, count in seen.items() if key in known_keys().names and count >= FEWEST_FILES}
    before: Counter[tuple[str, str]] = Counter()
    for keys in files:
        before.update(combinations([key for key in keys if key in known], 2))
    places = defaultdict(list)
    for keys in files:
        for place, key in enumerate(keys):
            places[key].append(place / len(keys))
    order = _improved(sorted(known, key=lambda key: sum(places[key]) / len(places[key])), before)
    for key, following in zip([*tops_in_order()][1:], tops_in_order(), strict=False):
        if key not in order:
            order.insert(order.index(following) + 1, key)
    return order


def tops_in_order() -> list[str]:
    return list(dict.fromkeys(setting.path[0] for setting in SETTINGS.values()))


def _improved(order: list[str], before: Mapping[tuple[str, str], int]) -> list[str]:
    """Move single keys for as long as that leaves fewer contradicted pairs."""
    moved = True
    while moved:
        moved = False
        for key in list(order):
            place = order.index(key)
            rest = [other for other in order if other != key]
            costs = [sum(before.get((key, other), 0) for other in rest)]
            costs[0] = sum(before.get((other, key), 0) for other in rest)
            for other in rest:
                costs.append(costs[-1] - before.get((other, key), 0) + before.get((key, other), 0))
            best = min(range(len(costs)), key=lambda at: (costs[at], abs(at - place)))
            if costs[best] < costs[place]:
                order = [*rest[:best], key, *rest[best:]]
                moved = True
    return order


def placements(texts: Sequence[str]) -> Counter[str]:
    """How settings come back that were taken out of a file and put in again."""
    found: Counter[str] = Counter()
    for text in texts:
        try:
            recipe = import_axolotl(text).recipe
        except ExplorerError:
            continue
        keys = keys_of(text)
        for key in keys:
            if key in SETTINGS and getattr(recipe, key) != SETTINGS[key].default:
                found.update(_placement(text, key, keys))
    return found


def _placement(text: str, key: str, keys: Sequence[str]) -> list[str]:
    recipe = import_axolotl(text).recipe
    without = "".join(line for owner, line in owned_lines(text) if owner != key)
    try:
        again = export_axolotl(recipe, without)
    except ExplorerError:
        return []
    there = keys_of(again)
    if key not in there:
        return []
    off = abs(there.index(key) - keys.index(key))
    same = set(_paragraph(text, key)) & set(_paragraph(again, key)) - {key}
    return ["tried", *["same place"] * (off == 0), *["at most two off"] * (off <= 2), *["same paragraph"] * bool(same)]


def _paragraph(text: str, key: str) -> list[str]:
    paragraphs = text.replace("\r\n", "\n").split("\n\n")
    return next((keys for paragraph in paragraphs if key in (keys := keys_of(paragraph))), [])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folders", nargs="+", type=Path)
    arguments.add_argument("--learn", action="store_true", help="print the order")
    given = arguments.parse_args()
    texts = [file.read_text(encoding="utf-8") for file in files_below(given.folders)]
    if given.learn:
        print(textwrap.fill(", ".join(learned(texts)), 118, initial_indent="  ", subsequent_indent="  "))
        return
    found = placements(texts)
    for name in ("tried", "same place", "at most two off", "same paragraph"):
        print(f"| {name} | {found[name]} | {found[name] / max(found['tried'], 1):.1%} |")


if __name__ == "__main__":
    main()
