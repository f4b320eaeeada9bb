"""What the comparison says before anything is pinned. Apart from the rest, for the first page needs no more."""

from __future__ import annotations

from lora_explorer.report.html import Html, tag

_TITLE = "Which configuration is worth it?"
_EMPTY = "Nothing is pinned yet."
_HOW = (
    "Pin keeps the configuration on screen in this browser, up to {most} of them, also of different base models. "
    "Then change settings, or choose another base model, and pin again: they are held beside each other here."
)


def nothing_pinned(most: int) -> Html:
    """What stands there before anything is compared."""
    button = tag("button", "Pin what is on screen", type="button", class_="pin-press", data_pin_ask="pin")
    return tag(
        "section",
        panel_title("nothing is pinned yet"),
        tag("p", tag("b", _EMPTY), f" {_HOW.format(most=most)}", class_="quiet-line"),
        tag("p", button),
        id="panel-compare",
    )


def panel_title(quiet: str) -> Html:
    """The question of the whole tab. quiet: what is to be known beside it."""
    return tag("div", tag("h2", _TITLE), tag("span", quiet), class_="panel-title")
