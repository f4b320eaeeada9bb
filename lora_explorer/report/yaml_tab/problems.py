"""What is wrong with a file, or worth knowing: each at its line, with what Axolotl does and what mends it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from lora_explorer.findings import Finding, Outcome, Severity
from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag
from lora_explorer.report.mending import fix_button

LineOf = Callable[[str], int | None]

NOTHING = "Nothing to report: Axolotl and PEFT take this file as it is written."

_ORDER: tuple[Severity, ...] = ("error", "warning", "note")
_SIGNS: Mapping[Severity, str] = {"error": "✗", "warning": "!", "note": "i"}
_OUTCOMES: Mapping[Outcome, str] = {
    "rejects": "Axolotl refuses the file",
    "fails at load": "ends when the model is loaded",
    "changes": "Axolotl does something else",
    "drops": "Axolotl leaves it out",
    "warns": "Axolotl warns",
}
# A text that cannot be read at all says so with its place; there are no keys then.
_PLACE = re.compile(r"Line (\d+)\b")


def gravest_first(findings: Iterable[Finding], line_of: LineOf) -> list[Finding]:
    """In the order of the list: errors, warnings, notes, each from the top of the file; nothing twice."""
    once = {(finding.setting, finding.message): finding for finding in findings}

    def place(finding: Finding) -> tuple[int, int]:
        return _ORDER.index(finding.severity), line_of_finding(finding, line_of) or 0

    return sorted(once.values(), key=place)


def line_of_finding(finding: Finding, line_of: LineOf) -> int | None:
    """Where a finding is at home; None where its key is not in the file."""
    if finding.setting:
        return line_of(finding.setting)
    place = _PLACE.match(finding.message)
    return int(place[1]) if place else None


def summary(findings: Iterable[Finding]) -> str:
    """1 error · 2 notes."""
    severities = [finding.severity for finding in findings]
    counts = [words.counted(severities.count(severity), severity) for severity in _ORDER if severity in severities]
    return " · ".join(counts) or NOTHING


def problems_list(findings: Iterable[Finding], line_of: LineOf) -> Html:
    """Every finding, in the order given."""
    found = [(finding, line_of_finding(finding, line_of)) for finding in findings]
    return listed(_item(finding, line, _place(finding, line)) for finding, line in found)


def listed(items: Iterable[Html]) -> Html:
    """Items as a list; nothing where there are none."""
    items = tuple(items)
    return tag("ul", *items, class_="problems") if items else Html("")


def item_without_place(finding: Finding) -> Html:
    """A finding that is about no line of the text beside it."""
    return _item(finding, None, None)


def marked_lines(findings: Iterable[Finding], line_of: LineOf) -> dict[int, tuple[Severity, str]]:
    """What the lines of the text are marked with: the gravest severity, and its message."""
    marks: dict[int, tuple[Severity, str]] = {}
    for finding in findings:
        line = line_of_finding(finding, line_of)
        if line is not None:
            marks.setdefault(line, (finding.severity, finding.message))
    return marks


def _item(finding: Finding, line: int | None, place: Html | None) -> Html:
    sign = tag("i", _SIGNS[finding.severity], aria_hidden="true")
    severity = tag("span", f"{finding.severity}: ", class_="sr-only")
    key = tag("code", finding.setting) if finding.setting else None
    outcome = tag("span", _OUTCOMES[finding.outcome], class_="outcome-word") if finding.outcome else None
    head = tag("div", sign, severity, key, place, outcome, class_="problem-head")
    return tag("li", head, _sentences(finding), fix_button(finding), class_=finding.severity, data_line=line)


def _place(finding: Finding, line: int | None) -> Html | None:
    if line is None:
        return tag("span", "not in the file", class_="no-line") if finding.setting else None
    return tag(
        "button",
        f"line {line}",
        type="button",
        class_="line-link",
        title="Go to this line",
        data_go=line,
        data_keep=f"line {finding.setting} {finding.message}",
    )


def _sentences(finding: Finding) -> Html:
    why = tag("p", finding.why, class_="why") if finding.why else None
    # A button says it already.
    instead = None if finding.fix or not finding.suggestion else tag("p", f"Try {finding.suggestion}.", class_="why")
    return join(tag("p", finding.message), why, instead)
