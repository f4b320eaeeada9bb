"""Findings as sentences, and facts that stand beside a group of settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_explorer.findings import Finding
from lora_explorer.report import words
from lora_explorer.report.html import Html, tag

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan
    from lora_explorer.settings import Recipe


def findings_list(findings: Iterable[Finding]) -> Html:
    """Every finding with its key, errors first."""
    order = ("error", "warning", "note")
    ordered = sorted(findings, key=lambda finding: order.index(finding.severity))
    return tag("ul", *(_listed(finding) for finding in ordered), class_="findings") if ordered else Html("")


def _listed(finding: Finding) -> Html:
    key = tag("code", finding.setting) if finding.setting else None
    return tag("li", key, tag("span", sentence_of(finding)), class_=finding.severity)


def sentence_of(finding: Finding) -> str:
    """The message, and what to write instead where there is one answer."""
    return f"{finding.message} Try {finding.suggestion}." if finding.suggestion else finding.message


@dataclass(frozen=True)
class Fact:
    """What a group of settings comes to. group: the name of a Group. name: what the number is called on the page."""

    group: str
    name: str
    text: str
    value: float


def group_facts(recipe: Recipe, plan: AdapterPlan) -> Iterator[Fact]:
    """The scale, the number of trained modules and the effective batch size."""
    if recipe.scaling is not None:
        formula = "α/√r" if recipe.peft_use_rslora else "α/r"
        yield Fact("ADAPTER", "effective-scale", f"scale {formula} = {words.scale(recipe.scaling)}", recipe.scaling)
    yield Fact("TARGETS", "target-count", words.counted(len(plan.modules), "module"), len(plan.modules))
    rows = recipe.effective_batch_size
    yield Fact("TRAINING", "effective-batch", f"effective batch {rows:,}", rows)


def complaint(sentence: str) -> Html:
    """A sentence that stands by itself where something went wrong."""
    return tag("p", sentence, class_="sentence", data_kind="error", role="status")


def sentences(said: Iterable[str]) -> Html:
    """A list, in which what stands between backticks is code; nothing where there is none."""
    listed = [with_code("li", sentence) for sentence in said]
    return tag("ul", *listed, class_="plan-notes") if listed else Html("")


def with_code(element: str, sentence: str) -> Html:
    """One element, in which what stands between backticks is code; then it holds the sentence as a whole as well."""
    parts = sentence.split("`")
    shown = (tag("code", part) if number % 2 else part for number, part in enumerate(parts))
    return tag(element, *shown, data_sentence=sentence if len(parts) > 1 else None)
