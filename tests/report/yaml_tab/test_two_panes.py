"""The pane beside the text: every problem at its line, every key in a sentence, no markup of a stranger's."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.findings import Finding
from lora_explorer.report.html import tag
from lora_explorer.report.yaml_tab.reading import Reading, reading_pane

TEXT = "# top\nbase_model: m\nlora_r: 0\ndatasets: []\nlora_rank: 8\n"
WRONG = Finding("lora_r", "error", "Too small.", outcome="fails at load", why="Because.", fix=(("lora_r", 16),))
DROPPED = Finding("lora_rank", "warning", "Dropped.", "lora_r", outcome="drops")
ABSENT = Finding("learning_rate", "note", "Missing.")


def pane(*findings: Finding, text: str = TEXT) -> str:
    return reading_pane(Reading(read_document(text), findings))


def marks(html: str) -> dict[str, Any]:
    found = re.search(r'data-marks="([^"]*)"', html)
    assert found
    return dict(json.loads(unescape(found[1])))


def test_problems_come_gravest_first_then_from_the_top_of_the_file() -> None:
    html = pane(ABSENT, DROPPED, WRONG)
    assert re.findall(r'<li class="(error|warning|note)"', html) == ["error", "warning", "note"]
    assert "1 error · 1 warning · 1 note" in html


def test_lines_are_marked_with_the_gravest_of_what_is_said_about_them() -> None:
    also = Finding("lora_r", "note", "Also.")
    assert marks(pane(also, WRONG, DROPPED, ABSENT)) == {"3": ["error", "Too small."], "5": ["warning", "Dropped."]}


def test_a_problem_says_what_axolotl_does_why_and_what_mends_it() -> None:
    html = pane(WRONG)
    for said in ("line 3", "ends when the model is loaded", "Because.", "lora_r: 16", 'data-go="3"'):
        assert said in html
    assert "Try lora_r." in pane(DROPPED)


def test_what_is_not_in_the_file_says_so() -> None:
    assert "not in the file" in pane(ABSENT)


def test_the_same_is_not_said_twice() -> None:
    assert pane(WRONG, WRONG).count("Too small.") == pane(WRONG).count("Too small.")


def test_every_key_is_explained_and_what_moves_no_figure_is_told_apart() -> None:
    html = pane()
    assert re.findall(r'<li(?: class="apart")? data-line="(\d)"', html) == ["2", "3", "4", "5"]
    assert re.findall(r'<li class="apart" data-line="(\d)"', html) == ["4", "5"]
    # A finding has said of lora_rank what there is to say.
    assert re.findall(r'<li class="apart" data-line="(\d)"', pane(DROPPED)) == ["4"]


def test_nothing_to_report_is_said() -> None:
    assert "Nothing to report" in pane()


def test_a_text_that_is_no_yaml_is_marked_where_it_cannot_be_read() -> None:
    html = reading_pane(Reading(None, (Finding("", "error", "Line 7, column 2: no."),)))
    assert marks(html) == {"7": ["error", "Line 7, column 2: no."]}
    assert "What each key means" not in html


def test_what_axolotl_fills_in_stands_between_problems_and_keys() -> None:
    html = reading_pane(Reading(read_document(TEXT), (WRONG,)), tag("p", "filled"))
    assert html.index("Too small.") < html.index("filled") < html.index("What each key means")


def test_markup_in_a_file_stays_text() -> None:
    evil = "<img src=x>"
    html = pane(Finding(evil, "warning", evil, evil, why=evil, fix=((evil, evil),)), text=f'"{evil}": 1\n')
    assert "<img" not in html
