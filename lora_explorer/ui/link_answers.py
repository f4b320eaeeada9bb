"""From the page's state to a link and back: one core call each, then sentences about what does not travel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_explorer.base_models import Access
from lora_explorer.errors import ExplorerError, UnreadableLink
from lora_explorer.exploration.permalink import (
    MOST_PINNED,
    Pinned,
    SharedState,
    read_permalink,
    write_permalink,
)
from lora_explorer.exports.axolotl.shared_text import find_template, unshared_of
from lora_explorer.report.notes import sentence_of
from lora_explorer.ui.draft import Draft

Answer = dict[str, Any]
"""What the page is told: `asked` is the number of its question, `said` sentences for people."""


@dataclass(frozen=True)
class LinkAnswers:
    """start: the draft that every visit starts with, whose card stands in for one that a link does not name."""

    access: Access
    start: Draft

    def share(self, sent: Any, sent_links: Any) -> Answer:
        """`link` to the draft that the page sent, and to the `pins` in what it sent about links."""
        draft, asked = Draft.from_page(sent), _question(sent_links)
        try:
            recipe, written = draft.recipe, draft.written
        except ExplorerError as error:
            why = f"There is no link to settings that cannot be used. {_first_of(error)}"
            return {"asked": asked, "said": [why]}
        pinned, unpinned = _pinned_in(sent_links)
        template = find_template(recipe, written)
        state = SharedState(recipe, draft.card, draft.expandable_segments, pinned, template)
        link = write_permalink(state, self.access)
        beside = () if template else unshared_of(written)
        left_out = [sentence_of(finding) for finding in link.left_out]
        # What is too long for a link is not counted.
        pins = len(read_permalink(link.text, self.access).state.pinned)
        said = [*left_out, *_of_config(draft), *beside, *unpinned]
        return {"asked": asked, "link": link.text, "pins": pins, "said": said}

    def open(self, sent_links: Any) -> Answer:
        """`draft` and `pins` of the `link` that the page sent; where it is none, the page stays as it is."""
        asked = _question(sent_links)
        link = sent_links.get("link") if isinstance(sent_links, Mapping) else None
        try:
            opened = read_permalink(link if isinstance(link, str) else "", self.access)
        except UnreadableLink as error:
            return {"asked": asked, "said": [str(error)]}
        state = opened.state
        card = state.card or self.start.card
        around = Draft("", card=card, expandable_segments=state.expandable_segments)
        pins = [{"name": each.name, "draft": around.beside(Draft.of(each.recipe)).for_page()} for each in state.pinned]
        draft = around.beside(Draft.of(state.recipe, state.template))
        return {
            "asked": asked,
            "draft": draft.for_page(),
            "pins": pins,
            "said": [sentence_of(finding) for finding in opened.left_out],
        }


def _question(sent_links: Any) -> int | None:
    number = sent_links.get("asked") if isinstance(sent_links, Mapping) else None
    return number if isinstance(number, int) else None


def _first_of(error: ExplorerError) -> str:
    return next((sentence_of(finding) for finding in error.findings), str(error))


def _of_config(draft: Draft) -> Iterator[str]:
    recipe = draft.recipe
    if draft.config and recipe.base_model == draft.config_for:
        yield f"The uploaded config.json is not in the link, which names {recipe.base_model} as it is known everywhere."


def _pinned_in(sent_links: Any) -> tuple[tuple[Pinned, ...], list[str]]:
    """The pinned configurations that can be shared, and a sentence for each other one."""
    listed = sent_links.get("pins") if isinstance(sent_links, Mapping) else None
    pinned: list[Pinned] = []
    said: list[str] = []
    # One more than a link takes, which then says so.
    for each in (listed if isinstance(listed, list) else [])[: MOST_PINNED + 1]:
        name = each.get("name") if isinstance(each, Mapping) else None
        try:
            recipe = Draft.from_page(each.get("draft") if isinstance(each, Mapping) else None).recipe
        except ExplorerError:
            said.append(f"The link leaves out {name or 'a pinned configuration'}, which cannot be used.")
            continue
        pinned.append(Pinned(name if isinstance(name, str) else "", recipe))
    return tuple(pinned), said
