"""What Axolotl puts into a file by itself, told apart from what stands in it."""

from __future__ import annotations

from collections.abc import Iterable

from lora_explorer.exports.axolotl.filled_in import FilledIn
from lora_explorer.exports.yaml_documents.text import value_as_text
from lora_explorer.report import words
from lora_explorer.report.html import Html, tag


def filled_in_list(filled_in: Iterable[FilledIn]) -> Html:
    """The values by the reason they have; nothing where there are none."""
    by_reason: dict[str, list[str]] = {}
    for each in filled_in:
        by_reason.setdefault(each.why, []).append(f"{each.key}: {value_as_text(each.value)}")
    if not by_reason:
        return Html("")
    count = tag("span", words.counted(sum(map(len, by_reason.values())), "value"), class_="count")
    summary = tag("summary", "What Axolotl fills in by itself ", count, data_keep="filled-in")
    rows = (tag("li", tag("code", ", ".join(entries)), tag("span", why)) for why, entries in by_reason.items())
    return tag("details", summary, tag("ul", *rows, class_="filled-in"), open=True, data_keep="filled-in")
