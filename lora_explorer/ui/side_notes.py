"""Small texts that belong beside a control or a group, sent as one piece and put in their places by the page."""

from __future__ import annotations

import json
from collections.abc import Iterable

from lora_explorer.findings import Finding
from lora_explorer.report.html import Html, tag
from lora_explorer.report.mending import fix_in_words, pressed_for
from lora_explorer.report.notes import Fact, sentence_of
from lora_explorer.settings import SETTINGS, Group, Recipe, errors_among
from lora_explorer.ui.controls import group_id

STALE = "The numbers are those of earlier, valid settings."
_ORDER = ("error", "warning", "note")


def side_notes(
    findings: Iterable[Finding],
    recipe: Recipe | None = None,
    facts: Iterable[Fact] = (),
) -> Html:
    """Sentences at the settings at fault, facts at the groups, and which settings to hide.

    recipe: None, while the settings cannot be used, leaves hidden what was hidden, and marks the numbers as old.
    """
    ordered = sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
    facts = tuple(facts)
    return tag(
        "div",
        _line(ordered, facts, stale=recipe is None),
        class_="side-notes",
        data_stale=recipe is None,
        data_sentences=json.dumps(_sentences(ordered)),
        data_facts=json.dumps({group_id(Group[fact.group]): [fact.name, fact.text, fact.value] for fact in facts}),
        data_hidden=None if recipe is None else json.dumps(hidden_settings(recipe)),
    )


def memory_notes(findings: Iterable[Finding], asked: int | None = None) -> Html:
    """Why memory is not known, at the setting that is the reason. The count stands, so nothing is marked as old.

    asked: the number of the question that is answered.
    """
    sentences = {finding.setting: ["warning", sentence_of(finding)] for finding in findings if finding.setting}
    return tag("div", class_="memory-notes", data_sentences=json.dumps(sentences), data_asked=asked)


def hidden_settings(recipe: Recipe) -> list[str]:
    """Keys of the settings that have no effect now."""
    return [setting.key for setting in SETTINGS.values() if not setting.shown_when(recipe)]


def _sentences(ordered: Iterable[Finding]) -> dict[str, list[str]]:
    """The gravest sentence of each setting; where there is a fix, what it writes and what a press on it says."""
    sentences: dict[str, list[str]] = {}
    for finding in ordered:
        sentences.setdefault(finding.setting, [finding.severity, *_said(finding)])
    return sentences


def _said(finding: Finding) -> Iterable[str]:
    if not finding.fix:
        return (sentence_of(finding),)
    return finding.message, fix_in_words(finding.fix), json.dumps(pressed_for(finding))


def _line(ordered: list[Finding], facts: Iterable[Fact], *, stale: bool) -> Html:
    """What is wrong, wherever on the page its setting stands; else what the settings come to."""
    if stale:
        said = " ".join(sentence_of(finding) for finding in errors_among(tuple(ordered)))
        return tag("p", f"{said} {STALE}", class_="side-line", data_kind="error", role="status")
    return tag("p", " · ".join(fact.text for fact in facts), class_="side-line")
