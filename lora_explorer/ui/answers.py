"""From the draft to what the page shows: one core call each, then the report's words.

Every method takes the draft as the page sent it. Where that cannot be used, figures and pictures stay with the last
draft that was counted: all of them, also those that had not been asked for yet when it was followed by a bad one. A
part of the page that has nothing new to say is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import gradio as gr

from lora_explorer.base_models import Access, BaseModel
from lora_explorer.errors import ExplorerError, InvalidSettings, MemoryUnknown, UnknownBaseModel
from lora_explorer.findings import Finding
from lora_explorer.memory import Card
from lora_explorer.report import (
    coverage,
    headline,
    heat_map,
    kind_bars,
    lower_bound,
    matrix_drawing,
    memory_bar,
    model_facts,
    notes,
    savings,
    step_curve,
)
from lora_explorer.report.html import Html
from lora_explorer.settings import Recipe, errors_among, find_problems
from lora_explorer.ui.background import Background
from lora_explorer.ui.draft import Draft, read_yaml
from lora_explorer.ui.interests import Interests, NobodyWaits, visitor_of
from lora_explorer.ui.pick_list import pick_list
from lora_explorer.ui.savings_press import touches_of
from lora_explorer.ui.side_notes import memory_notes, side_notes
from lora_explorer.ui.tracer import InProcess, Memory

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan
    from lora_explorer.base_models.skeleton import Skeleton
    from lora_explorer.exploration.advice import Advice
    from lora_explorer.memory import MemoryEstimate
    from lora_explorer.memory.lower_bound import LowerBound

Outputs = Any
"""What a Gradio handler returns: one value for each output."""


@dataclass(frozen=True)
class Question:
    """A draft, read: valid settings and the base model they are for."""

    recipe: Recipe
    base_model: BaseModel
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Answers:
    """access: what this page's visitors may use. memory_of: who estimates; memory_of_changes: for changed settings."""

    access: Access
    memory_of: Memory = field(default_factory=InProcess)
    memory_of_changes: Memory = field(default_factory=InProcess)
    interests: Interests = field(default_factory=Interests)
    PICK_LISTS: ClassVar = ("lora_target_modules", "lora_target_parameters", "lora_modules_to_save")

    def count(self, sent: Any, request: gr.Request | None = None) -> Outputs:
        """Outputs: count tiles, side notes. The live path, so both are small."""
        try:
            draft = Draft.from_page(sent)
            question = self.read(draft)
            plan = _plan(question)
        except ExplorerError as error:
            return gr.skip(), side_notes(error.findings)
        self.interests.note_counted(visitor_of(request), sent)
        findings = (*question.findings, *plan.findings, *_token_problems(draft, question))
        facts = notes.group_facts(question.recipe, plan)
        return headline.count_tiles(plan), side_notes(findings, question.recipe, facts)

    def memory(self, sent: Any, request: gr.Request | None = None) -> Outputs:
        """Outputs: memory tiles, memory bar, the moment of the peak, sentences at settings."""
        self.interests.note(visitor_of(request), Draft.from_page(sent).for_page())
        figures, said = self._usable(sent, request, self._weighed, ((gr.skip(),) * 3, ()))
        return *figures, memory_notes(said, _number(sent))

    def _weighed(self, draft: Draft) -> tuple[Outputs, tuple[Finding, ...]]:
        """The figures, and why there are none."""
        question, card = self.read(draft), draft.held_against()
        try:
            estimate = self._estimate(question, draft)
        except MemoryUnknown as error:
            bound = self.lower_bound(question.recipe, question.base_model, card, str(error))
            tiles = headline.memory_tiles(None, card, str(error), bound)
            figures = tiles, lower_bound.lower_bound(bound, str(error)), lower_bound.no_curve()
            return figures, error.findings
        bar = memory_bar.memory_bar(estimate, card)
        return (headline.memory_tiles(estimate, card), bar, step_curve.peak_explained(estimate)), ()

    def cards(self, sent: Any, request: gr.Request | None = None) -> Outputs:
        """Output: chips of all cards. Those of another kind than the chosen one take traces of their own."""
        return self._usable(sent, request, self._verdicts, gr.skip())

    def _verdicts(self, draft: Draft) -> Html:
        try:
            return memory_bar.card_chips(self._estimate(self.read(draft), draft, every_card=True))
        except MemoryUnknown as error:
            return lower_bound.no_verdicts(str(error))

    def _usable(
        self, sent: Any, request: gr.Request | None, answer: Callable[[Draft], Outputs], nothing: Outputs
    ) -> Outputs:
        """The answer to what was sent; where that cannot be used, to the last draft that was counted."""
        draft = Draft.from_page(sent)
        counted = self.interests.last_counted(visitor_of(request))
        before = None if counted is None else draft.beside(Draft.from_page(counted))
        for usable in (draft, before):
            try:
                if usable is not None:
                    return answer(usable)
            except ExplorerError:
                # What is wrong is told with the count.
                continue
        return nothing

    def savings(self, sent: Any, request: gr.Request | None = None) -> Iterator[Outputs]:
        """Output: what single changes would save, more each time, until the visitor asks about another draft."""
        from lora_explorer.exploration.advice import find_advice, rank_advice
        from lora_explorer.memory.switches import switches

        draft = Draft.from_page(sent)
        background = Background(self.memory_of_changes, self.interested_in(draft, request))
        found: list[Advice | None] = []
        try:
            question, card, segments = self.read(draft), draft.held_against(), draft.expandable_segments
            asked, touches = (question.recipe, question.base_model), touches_of(question.recipe)
            total = len(list(switches(*asked, expandable_segments=segments)))
            yield savings.savings_list((), tried=0, total=total)
            for each in find_advice(background.situation(*asked, card, expandable_segments=segments)):
                found.append(each)
                # The same list in the same order as in the tab Fit, there with what each costs.
                single = [advice.steps[0].saving for advice in rank_advice(found)]
                yield savings.savings_list(single, tried=len(found), total=total, touches=touches)
        except NobodyWaits:
            return
        except MemoryUnknown:
            yield lower_bound.no_savings()
        except ExplorerError:
            # What stands in the way is told at the settings; the list stays, marked as old.
            yield gr.skip()

    def interested_in(self, draft: Draft, request: gr.Request | None) -> Callable[[], bool]:
        """Whether the visitor asks about this draft still; asked again and again by an answer that takes long."""
        visitor, asked_about = visitor_of(request), draft.for_page()
        self.interests.note(visitor, asked_about)
        return lambda: self.interests.holds(visitor, asked_about)

    def details(self, sent: Any, request: gr.Request | None = None) -> Outputs:
        """Outputs: no complaint, line about the base model, pick lists, heat map, one matrix of each kind, coverage
        table, bars by kind.
        """
        pictures = self._usable(sent, request, self._drawn, (gr.skip(),) * 4)
        return (*self._about_model(Draft.from_page(sent)), *pictures)

    def _drawn(self, draft: Draft) -> Outputs:
        question = self.read(draft)
        plan, of = _plan(question), (question.recipe, skeleton_of(question))
        # What edits the map is not needed for the first page.
        from lora_explorer.exploration.layer_map import matrices_of, rows_of

        layers = heat_map.heat_map(rows_of(plan, *of), plan.num_layers)
        drawings = matrix_drawing.matrix_drawings(matrices_of(plan, *of))
        return layers, drawings, coverage.coverage_table(plan), kind_bars.kind_bars(plan)

    def findings_of_adapter(self, draft: Draft) -> tuple[Finding, ...]:
        """What only the base model shows of a draft whose settings can be used."""
        try:
            question = self.read(draft)
            return (*_plan(question).findings, *_token_problems(draft, question))
        except ExplorerError as error:
            return error.findings

    def _estimate(self, question: Question, draft: Draft, *, every_card: bool = False) -> MemoryEstimate:
        return self.memory_of.estimate(
            question.recipe,
            question.base_model,
            card=draft.held_against(),
            expandable_segments=draft.expandable_segments,
            every_card=every_card,
        )

    def lower_bound(self, recipe: Recipe, base_model: BaseModel, card: Card, reason: str) -> LowerBound | None:
        """What a run needs at the very least whose estimate is unknown for a reason."""
        try:
            return self.memory_of.lower_bound(recipe, base_model, reason, card=card)
        except ExplorerError:
            # Not even that can be counted; the reason of the estimate stands.
            return None

    def _about_model(self, draft: Draft) -> tuple[Any, ...]:
        """What holds for a base model whatever is trained in it: names to choose from help where nothing matched."""
        try:
            recipe = draft.recipe
            base_model = draft.base_model(recipe, self.access)
            lists = self._pick_lists(recipe, base_model)
        except ExplorerError:
            return Html(""), gr.skip(), *(gr.skip() for _ in self.PICK_LISTS)
        return Html(""), model_facts.facts_line(base_model, _base_params(base_model)), *lists

    def _pick_lists(self, recipe: Recipe, base_model: BaseModel) -> list[Any]:
        """The widgets of PICK_LISTS, with this model's names and what each would train."""
        from lora_explorer.adapters import find_candidates
        from lora_explorer.base_models.skeleton import load_skeleton

        found = find_candidates(recipe, load_skeleton(base_model))
        return [gr.update(choices=list(pick_list(name, found))) for name in self.PICK_LISTS]

    def recipe_and_skeleton(self, draft: Draft) -> tuple[Recipe, Skeleton | None]:
        """None for a base model that cannot be had. Raises InvalidSettings, UnreadableYaml."""
        from lora_explorer.base_models.skeleton import load_skeleton

        recipe, _ = _usable(draft)
        try:
            return recipe, load_skeleton(draft.base_model(recipe, self.access))
        except UnknownBaseModel:
            return recipe, None

    def read(self, draft: Draft) -> Question:
        """Raises ExplorerError where the draft cannot be counted."""
        recipe, findings = _usable(draft)
        return Question(recipe, draft.base_model(recipe, self.access), findings)


def _usable(draft: Draft) -> tuple[Recipe, tuple[Finding, ...]]:
    """Raises InvalidSettings, UnreadableYaml."""
    recipe = draft.recipe
    findings = find_problems(recipe)
    if errors_among(findings):
        raise InvalidSettings(findings)
    return recipe, findings


def _number(sent: Any) -> int | None:
    """Of the question, by which the page knows its answer."""
    number = sent.get("asked") if isinstance(sent, Mapping) else None
    return number if isinstance(number, int) else None


def _plan(question: Question) -> AdapterPlan:
    # Torch, transformers and PEFT are loaded by the first count, not by the page.
    from lora_explorer.adapters import plan_adapter
    from lora_explorer.base_models.skeleton import load_skeleton

    return plan_adapter(question.recipe, load_skeleton(question.base_model))


def skeleton_of(question: Question) -> Skeleton:
    # Through the package, which makes threads wait for each other; transformers is not loaded by two at once.
    import lora_explorer.adapters  # noqa: F401
    from lora_explorer.base_models.skeleton import load_skeleton

    return load_skeleton(question.base_model)


def _token_problems(draft: Draft, question: Question) -> tuple[Finding, ...]:
    from lora_explorer.adapters import find_token_problems, new_tokens_of
    from lora_explorer.base_models.skeleton import load_skeleton

    in_file = new_tokens_of(read_yaml(draft.text).values)
    return find_token_problems(question.recipe, load_skeleton(question.base_model), in_file)


def _base_params(base_model: BaseModel) -> int:
    from lora_explorer.base_models.skeleton import load_skeleton

    return load_skeleton(base_model).total_params
