"""A draft read from a browser's storage may hold anything: what widgets are given for it they can always show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_explorer.settings import SETTINGS
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.following import show_replaced
from lora_explorer.ui.page import build_page, start_draft

HELD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.lists(st.text(max_size=4) | st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
TOUCHED = st.dictionaries(st.sampled_from([*SETTINGS, "no_such"]), HELD, max_size=8)
TEXTS = st.sampled_from([start_draft().text, "lora_r: 4\n", "a: [", "lora_r: many\n", "- a\n", ""])


@pytest.fixture(scope="module")
def widgets() -> dict[str, Any]:
    by_id = {getattr(block, "elem_id", None): block for block in build_page().blocks.values()}
    return {name: by_id[setting.key] for name, setting in SETTINGS.items()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, touched=TOUCHED, card=st.sampled_from(["T4", "no card"]))
def test_a_kept_draft_of_any_shape_is_shown(widgets: dict[str, Any], text: str, touched: Any, card: str) -> None:
    kept = Draft(text, card=card).for_page() | {"touched": touched}
    _, _, editor, desk, *shown = show_replaced(kept | {"before": start_draft().for_page()})
    assert isinstance(editor, str)
    assert Draft.from_page(desk).text
    skipped = {"__type__": "update"}
    for name, value in zip(SETTINGS, shown, strict=True):
        if value != skipped:
            widgets[name].postprocess(value)


@pytest.mark.parametrize("kept", [None, 3, "text", [], {"text": 3}, {"touched": [1]}], ids=repr)
def test_what_is_no_draft_leaves_the_file_as_it_was_and_the_editor_empty(kept: Any) -> None:
    sent = (kept if isinstance(kept, dict) else {}) | {"before": start_draft().for_page()}
    _, _, editor, desk, *_ = show_replaced(sent)
    assert (Draft.from_page(desk).text, editor) == (start_draft().text, "")
