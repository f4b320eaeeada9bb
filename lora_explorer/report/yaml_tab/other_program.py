"""The file of another program: its text, to read and to take away, and what it cannot be told."""

from __future__ import annotations

from collections.abc import Iterable

from lora_explorer.findings import Finding
from lora_explorer.report import words
from lora_explorer.report.html import Html, tag
from lora_explorer.report.yaml_tab import problems


def other_file(text: str, file_name: str) -> Html:
    """The text as it is; the page's scripts copy and download it by its classes."""
    copy = tag(
        "button", "Copy", type="button", class_="line-link", aria_label=f"Copy {file_name}", data_copy_shown=True
    )
    head = tag("div", tag("code", file_name), tag("span", "written from the settings, to read only"), copy)
    label = f"{file_name}, to read only"
    shown = tag("pre", text, class_="other-text", tabindex="0", role="region", aria_label=label, data_name=file_name)
    return tag("div", head, shown, class_="other-file")


def unsaid_pane(program: str, unsaid: Iterable[Finding]) -> Html:
    """What of the recipe is not in its file, or is done otherwise there."""
    findings = problems.gravest_first(unsaid, lambda _: None)
    said = f"{words.counted(len(findings), 'thing')} that {program} cannot be told, or does otherwise."
    summary = said if findings else f"{program} is told all of it."
    kind = findings[0].severity if findings else "fine"
    line = tag("p", summary, class_="reading-summary", tabindex="-1", data_kind=kind)
    return tag("div", line, problems.listed(map(problems.item_without_place, findings)), class_="reading")


def refused_pane(program: str, findings: Iterable[Finding]) -> Html:
    """Why there is no file for a program; the one that was there before is of earlier settings."""
    said = f"No file for {program} can be written of these settings; the one shown is of earlier ones."
    line = tag("p", said, class_="reading-summary", tabindex="-1", data_kind="error")
    return tag("div", line, problems.listed(map(problems.item_without_place, findings)), class_="reading")
