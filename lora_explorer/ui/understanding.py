"""Two ways to understand a configuration by touching it: the layer × module map, and what each setting changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lora_explorer.ui.answers import Answers
from lora_explorer.ui.map_edits import MapEditAnswers
from lora_explorer.ui.setting_about import SettingAnswers


@dataclass(frozen=True)
class Understanding:
    """map_edits: built where the map stands. about: what is said of a setting, over the page while it is open."""

    map_edits: gr.HTML
    about: gr.HTML


def wire_understanding(parts: Understanding, answers: Answers, desk: gr.HTML, live: Mapping[str, Any]) -> None:
    """live: how questions are asked. What takes seconds waits in a queue, each question in a place of its own."""
    slow = {**live, "queue": True, "concurrency_limit": None, "trigger_mode": "multiple"}
    parts.map_edits.edit(MapEditAnswers(answers).edit, [desk, parts.map_edits], parts.map_edits, **live)
    parts.about.explain(SettingAnswers(answers).explain, [desk, parts.about], parts.about, **slow)
