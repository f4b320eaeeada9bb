"""A rule: what must not be, and what to say where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lora_explorer.findings import Finding, Fix, Outcome, Severity
from lora_explorer.settings.adapter import ADAPTERS
from lora_explorer.settings.recipe import Recipe

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """Holds while `broken` is false of a subject; otherwise the message is said at the setting.

    Subjects are recipes, or the values of a file where a rule speaks of keys that are no settings.
    message, suggestion: templates; a key in braces stands for its value. outcome, why: as a Finding has them.
    fix: what to change, or how to find that out from the subject.
    """

    setting: str
    severity: Severity
    broken: Callable[[Subject], object]
    message: str
    suggestion: str | None = None
    outcome: Outcome | None = None
    why: str = ""
    fix: Fix | Callable[[Subject], Fix] = ()

    def finding(self, subject: Subject, values: Mapping[str, Any]) -> Finding | None:
        """What to say about a subject whose keys have these values; None while the rule holds."""
        if not self.broken(subject):
            return None
        return Finding(
            self.setting,
            self.severity,
            self.message.format_map(values),
            self.suggestion.format_map(values) if self.suggestion else None,
            self.outcome,
            self.why,
            self.fix(subject) if callable(self.fix) else self.fix,
        )


def broken_among(rules: Iterable[Rule[Subject]], subject: Subject, values: Mapping[str, Any]) -> Iterator[Finding]:
    """A finding for each rule that does not hold, in the order of the rules."""
    for rule in rules:
        finding = rule.finding(subject, values)
        if finding:
            yield finding


def adapted(recipe: Recipe) -> bool:
    """Whether Axolotl builds an adapter of its own kinds."""
    return recipe.adapter in ADAPTERS
