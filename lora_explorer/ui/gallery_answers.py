"""From presets to what the tab Presets shows: the recipes that come along, and figures of these and of one's own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_explorer.errors import ExplorerError, UnreadablePresets
from lora_explorer.exploration.comparison import Figures
from lora_explorer.exploration.permalink import LONGEST_NAME
from lora_explorer.exploration.prediction import Question
from lora_explorer.exploration.recipe_figures import recipe_figures
from lora_explorer.recipe_files import recipe_files
from lora_explorer.report.html import Html
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.own_presets import MOST_PRESETS, read_presets
from lora_explorer.ui.remembered import Remembered

Outputs = Any
_LONGEST_ID = 40


@dataclass(frozen=True)
class GalleryAnswers:
    """known: figures of what anybody has asked about; they hold for as long as the program runs."""

    answers: Answers
    known: Remembered[Question, Figures] = field(default_factory=lambda: Remembered(for_seconds=math.inf, most=512))

    def offer(self) -> Iterator[Outputs]:
        """Output: the whole tab; then with the figures of one more recipe each time."""
        # Not needed for the first page.
        from lora_explorer.report.gallery import gallery

        files = recipe_files()
        drafts = {file.name: Draft(file.text) for file in files}
        with_models = [(file, drafts[file.name].recipe.base_model) for file in files]
        page = gallery(with_models, most=MOST_PRESETS, longest_name=LONGEST_NAME)
        for figures in self._figures(drafts):
            yield {"page": page, "figures": figures}

    def weigh(self, sent: Any) -> Iterator[Outputs]:
        """Output: base model, YAML and figures of the presets that the page sends, one more of the latter each time."""
        drafts = _own_drafts(sent)
        described = {key: _described(draft) for key, draft in drafts.items()}
        for figures in self._figures(drafts):
            yield {"described": described, "figures": figures}

    def take(self, sent: Any) -> Outputs:
        """Output: the presets of a file that was opened, or what is wrong with it."""
        number = sent.get("asked") if isinstance(sent, Mapping) else None
        try:
            taken = read_presets(sent.get("file") if isinstance(sent, Mapping) else None)
        except UnreadablePresets as error:
            return {"taken": [], "fault": str(error), "answered": number}
        listed = [{"name": preset.name, "draft": preset.draft.for_page()} for preset in taken]
        return {"taken": listed, "fault": "", "answered": number}

    def _figures(self, drafts: Mapping[str, Draft]) -> Iterator[dict[str, Html]]:
        """What is known of each at once, then one more at a time; whatever is not known says so."""
        from lora_explorer.report.gallery import preset_figures

        questions = {key: self._question(draft) for key, draft in drafts.items()}
        said: dict[str, Html] = {}
        for key, question in questions.items():
            figures = question if isinstance(question, Figures) else self.known.known(question)
            if figures is not None:
                said[key] = preset_figures(figures)
        yield dict(said)
        for key, question in questions.items():
            if key not in said and isinstance(question, Question):
                said[key] = preset_figures(self._weighed(question))
                yield dict(said)

    def _weighed(self, question: Question) -> Figures:
        ask = self.answers.memory_of_changes.ask
        try:
            return self.known.get(question, lambda: ask(recipe_figures, question))
        except ExplorerError as error:
            return Figures(problem=str(error))

    def _question(self, draft: Draft) -> Question | Figures:
        """What is to be asked of a draft, or why nothing can be."""
        try:
            asked = self.answers.read(draft)
        except ExplorerError as error:
            return Figures(problem=str(error))
        return Question(asked.recipe, asked.base_model, (), draft.expandable_segments)


def _described(draft: Draft) -> dict[str, str]:
    from lora_explorer.report.gallery import preset_model

    try:
        model = draft.recipe.base_model
    except ExplorerError:
        # What is wrong stands in place of the figures.
        model = None
    return {"model": preset_model(model), "yaml": draft.written}


def _own_drafts(sent: Any) -> dict[str, Draft]:
    """By the key that the page gives each; what is not as it should be is left out."""
    listed = sent.get("own") if isinstance(sent, Mapping) else None
    given = listed[:MOST_PRESETS] if isinstance(listed, list) else []
    return {
        each["id"]: Draft.from_page(each.get("draft"))
        for each in given
        if isinstance(each, Mapping) and isinstance(each.get("id"), str) and len(each["id"]) <= _LONGEST_ID
    }
