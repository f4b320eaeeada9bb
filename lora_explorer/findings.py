"""What is wrong, or worth knowing, about one setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One sentence about one setting.

    setting: the Axolotl key at fault, dotted where the YAML nests it.
    severity: an error stops a run (here, in Axolotl, or in PEFT); a warning changes what a run means; a note informs.
    suggestion: what to write instead, if there is one answer.
    """

    setting: str
    severity: Severity
    message: str
    suggestion: str | None = None


def errors_among(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.severity == "error")
