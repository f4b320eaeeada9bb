"""What single changes would save, in the order of their advice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_explorer.report import words
from lora_explorer.report.html import Html, join, tag
from lora_explorer.settings import SETTINGS

if TYPE_CHECKING:
    from lora_explorer.memory.savings import Saving

Touches = Mapping[str, Any]
"""What widgets hold once a change is made, by the name of their setting."""

_SHOWN = 7
# The page marks it as old while a newer one is not there yet.
_WHOLE = "savings-whole"
_NOTHING = "None of the usual changes would save memory here."
WAITING = "Each change is traced like the run itself…"


def savings_list(
    savings: Sequence[Saving],
    *,
    tried: int = 0,
    total: int = 0,
    touches: Callable[[Saving], Touches] = lambda saving: saving.changes,
) -> Html:
    """One button for each change. tried, total: how many of the changes have been traced so far.

    touches: what pressing it does to the widgets; the page's script reads it.
    """
    if not savings and tried >= total:
        return tag("div", tag("p", _NOTHING, class_="quiet-line"), class_=_WHOLE)
    most = max((saving.saved_bytes for saving in savings), default=0)
    rows = [_row(saving, most, touches(saving)) for saving in savings]
    rest = rows[_SHOWN:]
    more = _more(rest) if rest else None
    progress = tag("p", f"{WAITING} {tried} of {total}", class_="quiet-line") if tried < total else None
    return tag("div", tag("ul", *rows[:_SHOWN], class_="savings"), more, progress, class_=_WHOLE)


def change_in_words(saving: Saving) -> str:
    """load_in_4bit: true, adapter: qlora: every setting that changes, as YAML writes it."""
    changes = saving.changes or {saving.setting: saving.value}
    return ", ".join(f"{_key(name)}: {_yaml(value)}" for name, value in changes.items())


def _more(rows: Sequence[Html]) -> Html:
    listed = tag("ul", *rows, class_="savings")
    return tag("details", tag("summary", f"{len(rows)} more", data_keep="savings"), listed, data_keep="savings")


def _row(saving: Saving, most: int, touches: Touches) -> Html:
    share = 100 * max(saving.saved_bytes, 0) / max(most, 1)
    others = [name for name in saving.changes if name != saving.setting]
    change = change_in_words(saving)
    also = join(" with ", tag("span", ", ".join(_key(name) for name in others), translate="no")) if others else None
    name = tag("span", tag("code", f"{_key(saving.setting)}: {_yaml(saving.value)}"), also, class_="saving-change")
    bar = tag("span", tag("span", style=f"width:{share:.1f}%"), class_="bar", aria_hidden="true")
    size = tag("b", _size(saving), data_value=saving.saved_bytes)
    fits = tag("span", "makes it fit", class_="saving-fits") if saving.makes_fit else None
    button = tag(
        "button",
        name,
        size,
        fits,
        bar,
        type="button",
        class_="saving",
        title=f"Set {change}",
        data_keep=change,
        data_touches=json.dumps(touches),
    )
    return tag("li", button, data_setting=saving.setting)


def _size(saving: Saving) -> str:
    sign = "−" if saving.saved_bytes >= 0 else "+"
    return f"{sign}{words.file_size(abs(saving.saved_bytes))}"


def _key(name: str) -> str:
    return SETTINGS[name].key if name in SETTINGS else name


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(str(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    return str(value)
