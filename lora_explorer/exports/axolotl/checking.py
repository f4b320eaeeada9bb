"""A whole file checked: everything there is to say about it without its base model, and what Axolotl makes of it."""

from __future__ import annotations

from collections.abc import Iterable

from lora_explorer.errors import InvalidSettings
from lora_explorer.exports.axolotl.reading import import_axolotl
from lora_explorer.findings import Finding
from lora_explorer.settings import find_problems


def findings_in(text: str) -> tuple[Finding, ...]:
    """Of the file and of its settings. Raises UnreadableYaml."""
    try:
        imported = import_axolotl(text)
    except InvalidSettings as error:
        return error.findings
    return (*imported.findings, *find_problems(imported.recipe))


def accepted_by_axolotl(findings: Iterable[Finding]) -> bool:
    """Whether Axolotl goes on to load the model: nothing among the findings makes it refuse the file."""
    return all(finding.outcome != "rejects" for finding in findings)
