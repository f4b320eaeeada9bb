"""What each key of a file means, in the order of the file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from lora_explorer.exports.axolotl.inventory import KeyInFile, Role
from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag

_LEGEND = "Keys in grey are Axolotl's own; no figure here depends on them."
_SPOKEN = " No figure here depends on it."
_WITHOUT_MEANING: Mapping[Role, str] = {
    "setting": "",
    "read": "Axolotl reads it.",
    "plugin": "Read by the plugin {plugin}.",
    "not read": "Axolotl does not read it.",
}


def meanings_list(keys: Iterable[KeyInFile], told: Collection[str]) -> Html:
    """One line for each key. told: the keys that something is said about already."""
    rows = [_row(key, is_told=key.key in told) for key in keys]
    if not rows:
        return Html("")
    count = tag("span", words.counted(len(rows), "key"), class_="count")
    summary = tag("summary", "What each key means ", count, data_keep="meanings")
    listed = tag("ul", *rows, class_="meanings")
    return tag("details", summary, tag("p", _LEGEND, class_="quiet-line"), listed, open=True, data_keep="meanings")


def _row(key: KeyInFile, *, is_told: bool) -> Html:
    line = tag("b", tag("span", "line ", class_="sr-only"), key.first_line)
    lines = {"data_line": key.first_line, "data_end": key.last_line}
    if key.role == "setting":
        return tag("li", line, tag("code", key.key), tag("span", key.meaning), **lines)
    said = key.meaning or _WITHOUT_MEANING[key.role].format(plugin=key.plugin.rpartition(".")[2])
    if is_told:
        # A finding has said already who reads it, and what of the figures.
        return tag("li", line, tag("code", key.key), tag("span", key.meaning or "See above."), **lines)
    spoken = tag("span", _SPOKEN, class_="sr-only")
    return tag("li", line, tag("code", key.key), tag("span", join(said, spoken)), class_="apart", **lines)
