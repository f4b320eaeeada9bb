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
    """The findings as comment lines; both YAML and Python start them with #.

    A value of a stranger's may be quoted in one: whatever could end the line becomes a blank.
    """
    return "".join(f"# {in_one_line(finding.message)}\n" for finding in unsaid)


def in_one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
