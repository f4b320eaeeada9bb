"""A recipe in another program's form, and what of it that form does not hold."""

from __future__ import annotations

from dataclasses import dataclass

from lora_explorer.findings import Finding


@dataclass(frozen=True)
class Exported:
    """A file for a program.

    unsaid: what of the recipe the program cannot be told, or does otherwise; one finding a setting.
    """

    text: str
    unsaid: tuple[Finding, ...] = ()


def as_comments(unsaid: tuple[Finding, ...]) -> str:
    """The findings as comment lines; both YAML and Python start them with #."""
    return "".join(f"# {finding.message}\n" for finding in unsaid)
