"""What is wrong, or worth knowing, about one setting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]

# What Axolotl itself does with such a file: it refuses it, says something, leaves a key out without a word, does
# something else than written, or starts and ends when the model is loaded.
Outcome = Literal["rejects", "warns", "drops", "changes", "fails at load"]

# Dotted keys and the values they should have; None takes the key away.
Fix = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Finding:
    """One sentence about one setting.

    setting: the Axolotl key at fault, dotted where the YAML nests it.
    severity: an error stops a run (here, in Axolotl, or in PEFT); a warning changes what a run means; a note informs.
    suggestion: what to write instead, if there is one answer.
    outcome: what Axolotl does, where it is known. why: the reason, where the message does not give it.
    fix: what to change so that it is no longer so, if there is one answer; its values are tuples, never lists.
    """

    setting: str
    severity: Severity
    message: str
    suggestion: str | None = None
    outcome: Outcome | None = None
    why: str = ""
    fix: Fix = ()


def errors_among(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.severity == "error")
