"""A person at a page: what they do at its controls, what it shows them, and pictures at the stations of their way."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from jsonschema import Draft202012Validator
from playwright.sync_api import Locator, Page, expect

from browser.conftest import FIRST_COUNT_MS, Watched
from browser.reading import open_tab, widget
from lora_explorer import Prediction, Question, find_base_model, find_card, import_axolotl, predict
from lora_explorer.exports.axolotl.schema import json_schema

# Traces wait for each other where the machine is busy; a state is waited for, never a time.
TRACED_MS = 180_000
ANSWERED_MS = 60_000
NOW = """() => {
  let draft;
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: (it) => { draft = it; } }));
  return draft;
}"""
COPIED = """async ([before, longest]) => {
  const end = performance.now() + longest;
  for (;;) {
    const now = await navigator.clipboard.readText();
    if (now !== before || performance.now() > end) return now;
    await new Promise(requestAnimationFrame);
  }
}"""


class Arrive(Protocol):
    """Somebody opens the page in a browser where nothing is kept yet."""

    def __call__(self, width: int, theme: str, fragment: str = "") -> Visitor: ...


@dataclass
class Visitor:
    """pictures: the folder for them. name: of the story and the person, with which their names begin."""

    watched: Watched
    pictures: Path
    name: str
    stations: list[str] = field(default_factory=list)

    @property
    def page(self) -> Page:
        return self.watched.page

    def look(self, station: str) -> None:
        """What they see now, kept as a picture; nothing of it is wider than their window."""
        self.stations.append(station)
        self.pictures.mkdir(exist_ok=True)
        path = self.pictures / f"{self.name}-{len(self.stations)}-{station}.png"
        self.page.screenshot(path=path, full_page=True, animations="disabled")
        assert self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0

    def value(self, elem_id: str) -> int:
        """The exact figure of an element."""
        return int(self.page.get_attribute(f"#{elem_id}", "data-value") or -1)

    @property
    def peak(self) -> Locator:
        return self.page.locator("#peak-memory")

    @property
    def fits(self) -> Locator:
        return self.page.locator("#fits")

    @property
    def draft(self) -> dict[str, Any]:
        return dict(self.page.evaluate(NOW))

    def choose_base_model(self, typed: str) -> None:
        self.page.locator(f"{widget(self.page, 'base_model')} input").fill(typed)
        self.page.keyboard.press("Enter")

    def choose_card(self, name: str) -> None:
        self.page.locator("#card input").click()
        self.page.get_by_role("option", name=name, exact=True).click()
        expect(self.page.locator("#memory-tiles")).to_contain_text(name, timeout=TRACED_MS)

    def type_number(self, key: str, typed: str) -> None:
        self.page.locator(f"#{key} input[type=number]").fill(typed)

    def is_told(self, key: str, said: str) -> None:
        """At the field at fault, and the numbers stay."""
        expect(self.page.locator(f"{widget(self.page, key)} > .sentence")).to_contain_text(said, timeout=ANSWERED_MS)

    def weighed(self) -> None:
        """Until memory is known for what the page shows."""
        expect(self.page.locator("body.weighing")).to_have_count(0, timeout=TRACED_MS)
        expect(self.page.locator("#fits[data-verdict]")).to_be_visible(timeout=TRACED_MS)

    def saves_what_it_says(self, button: Locator) -> None:
        """Press a piece of advice: the prediction is then lower by what it said, to the byte."""
        before, saved = self.value("peak-memory"), int(button.locator("b").get_attribute("data-value") or 0)
        assert saved > 0
        button.click()
        expect(self.peak).to_have_attribute("data-value", str(before - saved), timeout=TRACED_MS)
        self.weighed()

    def reload(self) -> None:
        """In the midst of whatever is on its way; that leaving cuts it off is told to nobody who is still there."""
        before = [*self.watched.complaints]
        self.page.reload()
        self.watched.complaints[:] = before
        self.page.wait_for_selector("#trainable-params[data-value]", timeout=FIRST_COUNT_MS)
        self.weighed()

    def pin(self) -> None:
        before = int(re.findall(r"\d+", self.page.locator(".pin-count").inner_text())[0])
        self.page.locator("#pin").click()
        expect(self.page.locator(".pin-count")).to_contain_text(str(before + 1))

    def copy(self, button: str) -> str:
        """What a button puts on the clipboard."""
        before = "nothing yet"
        self.page.evaluate("(text) => navigator.clipboard.writeText(text)", before)
        self.page.locator(button).click()
        copied = str(self.page.evaluate(COPIED, [before, ANSWERED_MS]))
        assert copied != before
        return copied

    def open_tab(self, name: str) -> None:
        open_tab(self.page, name)

    def takes_away(self) -> Taken:
        """The YAML, which must be one that Axolotl takes, and the library's own figures for it, which stand here."""
        self.weighed()
        taken = Taken(self.copy("#copy-yaml"), self.draft["card"])
        assert [error.message for error in Draft202012Validator(json_schema()).iter_errors(taken.values)] == []
        assert self.value("trainable-params") == taken.figures.trainable_params
        assert self.value("adapter-file") == taken.figures.adapter_file_bytes
        assert self.value("peak-memory") == taken.figures.process_bytes
        return taken


@dataclass(frozen=True)
class Taken:
    """A YAML in hand, and the card that it is meant for."""

    yaml: str
    card: str

    @cached_property
    def values(self) -> dict[Any, Any]:
        import yaml

        return dict(yaml.safe_load(self.yaml))

    @cached_property
    def figures(self) -> Prediction:
        recipe = import_axolotl(self.yaml).recipe
        return predict(Question(recipe, find_base_model(recipe.base_model), (find_card(self.card),)))
