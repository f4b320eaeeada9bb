"""Two texts laid over each other: the lines that went, the lines that came, and a few around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag

_AROUND = 3
_SIGN = {"same": " ", "gone": "−", "new": "+"}
# A reader of the screen is told what the sign and the colour tell the eye.
_SPOKEN = {"same": None, "gone": "removed: ", "new": "added: "}


def difference(before: str, after: str, than: str) -> Html:
    """What changed from one text to the other. than: what `before` is, such as "the file you opened"."""
    old, new = before.splitlines(), after.splitlines()
    groups = list(SequenceMatcher(a=old, b=new, autojunk=False).get_grouped_opcodes(_AROUND))
    if not groups:
        return tag("p", f"Nothing differs from {than}.", class_="quiet-line")
    hunks = [list(_lines(old, new, group)) for group in groups]
    kinds = [kind for hunk in hunks for kind, _, _ in hunk]
    gone, came = kinds.count("gone"), kinds.count("new")
    said = f"{words.counted(came, 'line')} added, {gone:,} removed since {than}."
    return join(tag("p", said, class_="quiet-line"), tag("div", *map(_hunk, hunks), class_="difference"))


def _lines(
    old: Sequence[str], new: Sequence[str], group: Sequence[tuple[str, int, int, int, int]]
) -> Iterator[tuple[str, int, str]]:
    """Kind, number and text of each line; numbers count from 1 in the text that the line stands in."""
    for kind, old_from, old_to, new_from, new_to in group:
        if kind == "equal":
            yield from (("same", number + 1, new[number]) for number in range(new_from, new_to))
        else:
            yield from (("gone", number + 1, old[number]) for number in range(old_from, old_to))
            yield from (("new", number + 1, new[number]) for number in range(new_from, new_to))


def _hunk(lines: Sequence[tuple[str, int, str]]) -> Html:
    return tag("ol", *(_line(*line) for line in lines))


def _line(kind: str, number: int, text: str) -> Html:
    sign = tag("i", _SIGN[kind], aria_hidden="true")
    spoken = tag("span", _SPOKEN[kind], class_="sr-only") if _SPOKEN[kind] else None
    return tag("li", tag("b", number), sign, spoken, tag("code", text), class_=kind)
