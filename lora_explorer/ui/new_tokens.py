"""Beneath the modules that are trained in full: what new tokens need, of a file or of somebody's plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from lora_explorer.errors import ExplorerError
from lora_explorer.findings import Fix
from lora_explorer.report import new_tokens, notes
from lora_explorer.report.html import tag
from lora_explorer.ui.answers import Answers, Question
from lora_explorer.ui.draft import Draft, read_yaml
from lora_explorer.ui.layout import script_of

if TYPE_CHECKING:
    from lora_explorer.adapters.new_tokens import NewTokensAdvice

Outputs = Any

_LONGEST_TYPED = 2000
_EXAMPLE = "<tool>, </tool> or just 2"


def build_new_tokens() -> gr.HTML:
    """Its value is what is said, and what was typed. Event: `ask`, when something was, or the draft has rested."""
    field = tag("input", type="text", id="new-tokens-typed", placeholder=_EXAMPLE, maxlength=_LONGEST_TYPED)
    label = tag("label", "Tokens to add, or how many", field)
    summary = tag("summary", new_tokens.QUESTION)
    return gr.HTML(
        _value(None, "", ""),
        html_template=tag("details", summary, label, tag("div", class_="token-ways"), class_="token-plan"),
        elem_id="new-tokens",
        apply_default_css=False,
        js_on_load=script_of("new_tokens.js"),
    )


@dataclass(frozen=True)
class NewTokenAnswers:
    answers: Answers

    def weigh(self, sent: Any, sent_field: Any, request: gr.Request | None = None) -> Iterator[Outputs]:
        """Output: what new tokens need, at first without memory, until the visitor asks about another draft."""
        from lora_explorer.memory.new_tokens import weigh_ways

        draft, typed = Draft.from_page(sent), _typed(sent_field)
        try:
            question, advice = self._advice(draft, typed)
            card = draft.held_against()
        except ExplorerError as error:
            # What is wrong with the settings is told there; what was typed here is said here.
            about_typed = any(finding.setting == "tokens" for finding in error.findings)
            yield _value(None, notes.complaint(str(error)), typed) if about_typed else gr.skip()
            return
        if not advice.new_tokens.count:
            yield _value(None, "", typed)
            return
        weights: list[Any] = []
        yield _value(advice, new_tokens.new_tokens_panel(advice, weights, typed, card.name), typed)
        options: dict[str, Any] = {"card": card, "expandable_segments": draft.expandable_segments}
        asked_about = self.answers.interested_in(draft, request)
        for weight in weigh_ways(advice, question.base_model, self.answers.memory_of_changes.estimate, **options):
            if not asked_about():
                return
            weights.append(weight)
            yield _value(advice, new_tokens.new_tokens_panel(advice, weights, typed, card.name), typed)

    def fix_pressed(self, pressed: Any, draft: Draft) -> Fix:
        """The changes that lead to the way that was pressed; empty where it was none."""
        if not isinstance(pressed, Mapping) or "way" not in pressed:
            return ()
        try:
            return new_tokens.fix_of_way(pressed, self._advice(draft, _typed(pressed))[1])
        except ExplorerError:
            return ()

    def _advice(self, draft: Draft, typed: str) -> tuple[Question, NewTokensAdvice]:
        # Through the package, which makes threads wait for each other; transformers is not loaded by two at once.
        from lora_explorer.adapters import advise_on_new_tokens, new_tokens_of, read_new_tokens
        from lora_explorer.base_models.skeleton import load_skeleton

        more = read_new_tokens(typed)
        question = self.answers.read(draft)
        in_file = new_tokens_of(read_yaml(draft.text).values)
        return question, advise_on_new_tokens(question.recipe, load_skeleton(question.base_model), in_file, more)


def _value(advice: NewTokensAdvice | None, said: str, typed: str) -> dict[str, Any]:
    needed = advice is not None and new_tokens.lacks_the_pair(advice)
    return {"said": said, "title": new_tokens.title(advice), "needed": needed, "typed": typed}


def _typed(sent: Any) -> str:
    typed = sent.get("typed") if isinstance(sent, Mapping) else None
    return typed[:_LONGEST_TYPED] if isinstance(typed, str) else ""
