"""Sentences about a run that cannot start: each at its field, the others in a list above the button."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from lora_explorer.findings import Finding, errors_among
from lora_explorer.report import notes
from lora_explorer.report.html import Html, tag
from lora_explorer.ui.preview_form import Form


@dataclass(frozen=True)
class Faults:
    """findings: those that stop the run; the others are told elsewhere."""

    findings: tuple[Finding, ...]
    form: Form

    def listed(self) -> Html:
        """What has no field in the form, with its key."""
        return notes.findings_list(self._elsewhere(errors_among(self.findings)))

    def placed(self) -> Html:
        """What has one, for the page's script to put there."""
        sentences: dict[str, str] = {}
        for finding in errors_among(self.findings):
            field = self.form.field_at_fault(finding.setting)
            if field:
                sentences.setdefault(field, notes.sentence_of(finding))
        return tag("div", data_sentences=json.dumps(sentences))

    def _elsewhere(self, findings: Iterable[Finding]) -> list[Finding]:
        return [finding for finding in findings if not self.form.field_at_fault(finding.setting)]
