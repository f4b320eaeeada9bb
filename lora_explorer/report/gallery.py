"""The gallery of presets: recipes that come along, each with its purpose and its figures, and room for one's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lora_explorer.recipe_files import RecipeFile
from lora_explorer.report.html import Html, join, tag
from lora_explorer.report.recipe_figures import Figure, figures_in_words
from lora_explorer.report.setting_words import model_in_words

if TYPE_CHECKING:
    from lora_explorer.exploration.comparison import Figures

_TITLE = "Which recipe is near to what you want?"
_QUIET = "each a whole Axolotl file; its figures are predicted for it as it is"
_OWN_TITLE = "Which have you kept?"
_OWN_EMPTY = "Nothing is kept yet. What you save stays in this browser until you delete it."
_FILTER, _FILTER_EXAMPLE = "Filter by words", "DoRA, 8-bit, Qwen"
_NAME, _SAVE = "Name", "Save what is on screen"
_EXPORT, _IMPORT = "Export all", "Import"
_OPEN, _RENAME, _FILE, _DELETE = "Open", "Rename", "YAML file", "Delete"
_OPENED, _ABOUT_OPENED = "opened", "The file on screen was opened from this preset."


def gallery(recipes: Iterable[tuple[RecipeFile, str | None]], *, most: int, longest_name: int) -> Html:
    """The whole tab, without figures. recipes: with their base models. most: presets of one's own."""
    return join(
        _own(most, longest_name),
        tag(
            "section",
            _panel_title(_TITLE, _QUIET),
            _filter(),
            tag("div", *(_card(file, base_model) for file, base_model in recipes), class_="presets", id="presets-list"),
            id="panel-presets",
        ),
        tag("p", class_="gallery-said", role="status"),
    )


def preset_figures(figures: Figures | None) -> Html:
    """What a preset comes to, and why something is not known. None: nothing is known yet."""
    problem = figures.problem if figures else ""
    return join(
        tag("dl", *(_figure(each) for each in figures_in_words(figures))),
        tag("p", problem, class_="problem") if problem else None,
    )


def preset_model(base_model: str | None) -> str:
    """The base model on the card of a preset."""
    return model_in_words(base_model) if base_model else "no base model"


def _panel_title(title: str, quiet: str) -> Html:
    return tag("div", tag("h2", title), tag("span", quiet), class_="panel-title")


def _filter() -> Html:
    field = tag("input", type="search", placeholder=_FILTER_EXAMPLE, maxlength=80, autocomplete="off")
    return tag(
        "div",
        tag("label", tag("span", _FILTER), field),
        tag("span", class_="gallery-count", role="status"),
        class_="gallery-filter",
    )


def _card(file: RecipeFile, base_model: str | None) -> Html:
    opened = tag("span", _OPENED, class_="preset-opened", title=_ABOUT_OPENED)
    return tag(
        "article",
        tag("div", tag("h3", file.title), opened, class_="preset-head"),
        tag("p", file.purpose, class_="preset-purpose"),
        tag("p", preset_model(base_model), class_="preset-model"),
        tag("div", preset_figures(None), class_="preset-figures"),
        tag("div", _ask("open", _OPEN, file.title), _yaml(file.text), class_="preset-asks"),
        class_="preset",
        data_preset=file.name,
    )


def _own(most: int, longest_name: int) -> Html:
    name = tag("input", type="text", maxlength=longest_name, id="preset-name", autocomplete="off")
    form = tag(
        "form",
        tag("label", _NAME, name),
        tag("button", _SAVE, type="submit", class_="preset-save"),
        tag("p", class_="sentence", data_kind="error", role="status"),
        class_="own-form",
        novalidate=True,
    )
    asks = tag(
        "div",
        _ask("export", _EXPORT),
        _ask("import", _IMPORT),
        tag("input", type="file", accept=".json", hidden=True, tabindex="-1", aria_label=_IMPORT),
        class_="own-asks",
    )
    listed = tag("div", class_="presets own-list")
    empty = tag("p", _OWN_EMPTY, class_="quiet-line own-empty")
    quiet = f"in this browser, up to {most}"
    return tag(
        "section", _panel_title(_OWN_TITLE, quiet), form, asks, empty, listed, _own_card(longest_name), id="panel-own"
    )


def _own_card(longest_name: int) -> Html:
    """What the page's script makes a card of each preset from; names are written by it, as text."""
    name = tag("input", type="text", maxlength=longest_name, class_="own-name", aria_label=_NAME, hidden=True)
    asks = (("open", _OPEN), ("rename", _RENAME), ("file", _FILE), ("delete", _DELETE))
    card = tag(
        "article",
        tag("div", tag("h3"), name, class_="preset-head"),
        tag("p", class_="preset-model"),
        tag("div", preset_figures(None), class_="preset-figures"),
        tag("div", *(_ask(*each) for each in asks), _yaml(""), class_="preset-asks"),
        class_="preset",
    )
    return tag("template", card)


def _yaml(text: str) -> Html:
    return tag("details", tag("summary", "YAML"), tag("pre", tag("code", text), tabindex="0"), class_="preset-yaml")


def _ask(action: str, label: str, about: str = "") -> Html:
    spoken = f"{label}: {about}" if about else None
    return tag("button", label, type="button", class_="preset-ask", data_preset_ask=action, aria_label=spoken)


def _figure(figure: Figure) -> Html:
    below = tag("span", figure.below) if figure.below else None
    return tag(
        "div",
        tag("dt", figure.label),
        tag("dd", figure.said, below, data_figure=figure.name, data_value=figure.value),
    )
