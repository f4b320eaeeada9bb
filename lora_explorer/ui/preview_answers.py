"""From what a visitor wants of a run to what the page shows: one core call each, then the report's words.

Every handler takes what the page sent and reads it like any stranger's input: the form, a run's id, the secret that
says whose browser it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.base_models import Access
from lora_explorer.errors import ExplorerError, InvalidSettings, PreviewRefused
from lora_explorer.exports.axolotl import export_axolotl
from lora_explorer.preview.request import Limits, PreviewRequest
from lora_explorer.report import preview_data, preview_plan
from lora_explorer.report.html import Html, tag
from lora_explorer.settings import errors_among, find_problems
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.preview_desk import Wish
from lora_explorer.ui.preview_faults import Faults
from lora_explorer.ui.preview_preparation import Preparation, look_at_data, prepare, weights_on_offer
from lora_explorer.ui.remembered import Remembered
from lora_explorer.ui.tracer import InProcess, Memory

if TYPE_CHECKING:
    from pathlib import Path

    from lora_explorer.preview.data import DataTable

Outputs = Any


@dataclass(frozen=True)
class PreviewAnswers:
    """What stands before a run.

    access, limits: what this page's visitors may use. aside: who answers what takes long.
    """

    access: Access
    limits: Limits = field(default_factory=Limits)
    aside: Memory = field(default_factory=InProcess)
    _plans: Remembered[PreviewRequest, Preparation] = field(default_factory=Remembered)
    _tables: Remembered[PreviewRequest, tuple[DataTable, int]] = field(default_factory=Remembered)

    def prepare(self, sent_draft: Any, sent_wish: Any) -> Outputs:
        """Outputs: which weights cannot be had, the plan, what is wrong, sentences at fields, Run anyway."""
        wish = Wish.from_page(sent_wish)
        try:
            request = self.request(sent_draft, wish)
            offers = preview_plan.weights_offer(self.aside.ask(weights_on_offer, request))
        except ExplorerError as error:
            faults = Faults(error.findings, wish.form)
            return gr.skip(), gr.skip(), faults.listed(), faults.placed(), gr.update(visible=False)
        try:
            found = self.prepared(request)
        except ExplorerError as error:
            faults = Faults(error.findings, wish.form)
            return offers, gr.skip(), faults.listed(), faults.placed(), gr.update(visible=self._runs_anyway(request))
        card = preview_plan.plan_card(found.plan, found.prediction, found.unknown, has_bundled=found.has_bundled)
        return offers, card, Html(""), Html(""), gr.update(visible=not found.fits)

    def look(self, sent_draft: Any, sent_wish: Any) -> Outputs:
        """Outputs: the data as the model will see them, sentences at the data."""
        wish = Wish.from_page(sent_wish)
        try:
            table, sequence_len = self._table(self.request(sent_draft, wish))
        except ExplorerError as error:
            # What is wrong with the rest is told beside the button.
            of_data = tuple(finding for finding in error.findings if finding.setting == "datasets")
            return Html("") if of_data else gr.skip(), Faults(of_data, wish.form).placed()
        return preview_data.data_table(table, sequence_len), Html("")

    def fields(self, names: Sequence[str], sent_wish: Any) -> list[Any]:
        """Output: what the fields of these names hold, where a button or an earlier visit filled the form."""
        form = Wish.from_page(sent_wish).form
        return [getattr(form, name) for name in names]

    def check_data(self, request: PreviewRequest) -> None:
        """Raises PreviewRefused where nothing can be trained on these data."""
        table, _ = self._table(request)
        if table.problem:
            raise PreviewRefused(table.problem, setting="datasets")

    def prepared(self, request: PreviewRequest) -> Preparation:
        """The plan of a request and what it will need, asked for once in a while. Raises ExplorerError."""
        return self._plans.get(request, lambda: self.aside.ask(prepare, request))

    def _table(self, request: PreviewRequest) -> tuple[DataTable, int]:
        return self._tables.get(request, lambda: self.aside.ask(look_at_data, request))

    def _runs_anyway(self, request: PreviewRequest) -> bool:
        try:
            self.prepared(replace(request, run_anyway=True))
        except ExplorerError:
            return False
        return True

    def keep_file(self, path: str, sent_wish: Any) -> Outputs:
        """Outputs: what to say beside the button, sentences at fields."""
        from pathlib import Path

        from lora_explorer.preview.data import keep_upload

        wish = Wish.from_page(sent_wish)
        try:
            kept = Path(keep_upload(Path(path), access=self.access))
        except ExplorerError as error:
            return Html(""), Faults(error.findings, wish.form).placed()
        return _uploaded(Path(path), kept), Html("")

    def request(self, sent_draft: Any, wish: Wish, *, run_anyway: bool = False) -> PreviewRequest:
        """What is to run. Raises ExplorerError with the setting at fault."""
        draft = Draft.from_page(sent_draft)
        recipe = draft.recipe
        findings = find_problems(recipe)
        if errors_among(findings):
            raise InvalidSettings(findings)
        text = export_axolotl(recipe, draft.text)
        chosen = wish.form.choices(text, self.limits)
        base_model = draft.base_model(recipe, self.access)
        return PreviewRequest(recipe, base_model, text=text, run_anyway=run_anyway, access=self.access, **chosen)


def _uploaded(file: Path, kept: Path) -> Html:
    """Its own name for the eye, the kept one for the desk."""
    return tag("p", file.name, class_="quiet-line", data_kept=kept.name)
