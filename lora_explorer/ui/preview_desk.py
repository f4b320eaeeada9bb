"""Where the page keeps what was chosen for the next run, and the secret by which a browser owns its runs.

Like the draft it goes up as one small value with each question. The secret lies in the browser's own storage, so that
a reload, another tab and a restart of the app find the same runs again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from lora_explorer.preview.supervision.history import MOST_CURVES
from lora_explorer.ui.layout import ASSETS
from lora_explorer.ui.preview_form import Form

TOUCHED = "preview-touched"
"""The DOM event by which a field of the form tells: detail {name, value}."""
READY_JS = '() => { document.dispatchEvent(new CustomEvent("preview-ready")); }'
"""Has the page look for a run of this browser, once everything is there."""
OPENED_JS = '() => { document.dispatchEvent(new CustomEvent("preview-opened")); }'
_OWNER = re.compile(r"[0-9a-f]{32}")
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")
# The server's half of the conversation: which run is shown, and how far its events have been seen.
_SHOWN_JS = """
const tell = () => document.dispatchEvent(new CustomEvent("preview-shown", { detail: props.value }));
watch("value", tell);
"""


@dataclass(frozen=True)
class Wish:
    """What a page sent: the form, whose browser it is, the run a button is about, and those to lay over each other."""

    form: Form = field(default_factory=Form)
    owner: str = ""
    asked: str = ""
    picked: tuple[str, ...] = ()

    @classmethod
    def from_page(cls, value: Any) -> Wish:
        """What is not as it should be is left out."""
        given = value if isinstance(value, Mapping) else {}
        picked = given.get("picked")
        listed = [run for run in picked if is_run_id(run)] if isinstance(picked, list) else []
        return cls(
            form=Form.from_page(given.get("form")),
            owner=given["owner"] if _matches(_OWNER, given.get("owner")) else "",
            asked=given["asked"] if is_run_id(given.get("asked")) else "",
            picked=tuple(listed[:MOST_CURVES]),
        )


@dataclass(frozen=True)
class Shown:
    """The run on the page. seen: the byte offset up to which its events are shown."""

    run: str = ""
    seen: int = -1
    status: str = ""

    @classmethod
    def from_page(cls, value: Any) -> Shown:
        """What is not as it should be is as if nothing were shown."""
        given = value if isinstance(value, Mapping) else {}
        seen = given.get("seen")
        if not is_run_id(given.get("run")) or not isinstance(seen, int):
            return cls()
        return cls(given["run"], seen, str(given.get("status", "")))

    def for_page(self) -> dict[str, Any]:
        return {"run": self.run, "seen": self.seen, "status": self.status}


def build_preview_desk(most_file_bytes: int) -> gr.HTML:
    """Events: `attach`, `prepare`, `fill`, `open`, `remove`, `overlay`. most_file_bytes: of an upload."""
    limits = f"const MOST_RUNS = {MOST_CURVES}, MOST_FILE_BYTES = {most_file_bytes};\n"
    script = (ASSETS / "preview_desk.js").read_text(encoding="utf-8")
    empty = {"form": Form().for_page(), "owner": "", "asked": "", "picked": []}
    return _faceless(empty, limits + script, "preview-desk")


def build_shown() -> gr.HTML:
    """Which run is on the page; only the server writes it."""
    return _faceless(Shown().for_page(), _SHOWN_JS, "preview-shown")


def is_run_id(value: Any) -> bool:
    """Whether it could be the id of a run; anything else could be a path."""
    return _matches(_RUN, value)


def _faceless(value: dict[str, Any], script: str, elem_id: str) -> gr.HTML:
    return gr.HTML(
        value, html_template="", js_on_load=script, apply_default_css=False, elem_id=elem_id, elem_classes="faceless"
    )


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
