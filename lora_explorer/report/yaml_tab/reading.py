"""The right pane of the YAML tab: what a file means, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from lora_explorer.exports.axolotl.inventory import keys_in
from lora_explorer.exports.yaml_documents.places import line_of
from lora_explorer.exports.yaml_documents.reading import Document
from lora_explorer.findings import Finding
from lora_explorer.report.html import Html, tag
from lora_explorer.report.yaml_tab import problems
from lora_explorer.report.yaml_tab.meanings import meanings_list


@dataclass(frozen=True)
class Reading:
    """A text as it was read. document: None where it is no YAML mapping; then one finding says why."""

    document: Document | None
    findings: tuple[Finding, ...]

    def line_of(self, key: str) -> int | None:
        """The line of a dotted key, counted from 1; None where it is not in the text."""
        return line_of(self.document, key) if self.document else None


def reading_pane(reading: Reading, filled_in: Html | None = None) -> Html:
    """The pane; the page's script reads the marked lines from it. filled_in: what Axolotl adds by itself."""
    findings = problems.gravest_first(reading.findings, reading.line_of)
    keys = keys_in(reading.document) if reading.document else ()
    # Where a fix was the last thing to press, this is what the keyboard is at next.
    said = tag("p", problems.summary(findings), class_="reading-summary", tabindex="-1", data_kind=_kind(findings))
    return tag(
        "div",
        said,
        problems.problems_list(findings, reading.line_of),
        filled_in,
        meanings_list(keys, {finding.setting for finding in findings}),
        class_="reading",
        data_marks=json.dumps(problems.marked_lines(findings, reading.line_of)),
    )


def _kind(findings: Iterable[Finding]) -> str:
    return next((finding.severity for finding in findings), "fine")
