"""Edits of the map, as a page sends them: read like a stranger's, written like a touch."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

from lora_explorer.adapters import plan_adapter
from lora_explorer.base_models import Access
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.ui.answers import Answers
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.map_edits import NO_NUMBER, UNREADABLE, MapEditAnswers

CONFIG = (
    '{"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 128, "num_hidden_layers": 8, '
    '"num_attention_heads": 4}'
)
TEXT = "base_model: llama\nadapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_target_linear: true\nlearning_rate: 0.0002\n"
DRAFT = Draft(TEXT, config=CONFIG, config_for="llama")
ANSWERS = MapEditAnswers(Answers(Access(folders=False)))


def asked(**edit: Any) -> dict[str, Any]:
    return {"asked": 7, "edit": {"names": ["q_proj"], "first": 0, "last": 3, **edit}}


def touched(answer: dict[str, Any]) -> dict[str, Any]:
    (pressed,) = re.findall(r'data-touches="([^"]*)"', answer["said"])
    return dict(json.loads(unescape(pressed)))


def ranks_after(answer: dict[str, Any]) -> dict[tuple[str, int | None], int | None]:
    draft = Draft(TEXT, touched(answer), config=CONFIG, config_for="llama")
    model = draft.base_model(draft.recipe, Access(folders=False))
    return {(each.kind, each.layer): each.r for each in plan_adapter(draft.recipe, load_skeleton(model)).modules}


def test_an_edit_answers_with_its_number_and_with_what_the_widgets_hold_then() -> None:
    answer = ANSWERS.edit(DRAFT.for_page(), asked(act="rank", value=64))
    assert answer["answered"] == 7
    assert list(touched(answer)) == ["lora_rank_pattern"]
    after = ranks_after(answer)
    assert {after["q_proj", layer] for layer in range(4)} == {64}
    assert {after["q_proj", layer] for layer in range(4, 8)} == {8}


@pytest.mark.parametrize("act", ["on", "off"])
def test_rows_are_switched_for_the_layers_that_are_chosen(act: str) -> None:
    answer = ANSWERS.edit(DRAFT.for_page(), asked(act=act, names=["q_proj", "up_proj"], last=7))
    if act == "on":
        assert "nothing was written" in answer["said"]
    else:
        assert {kind for kind, _ in ranks_after(answer)} == {"k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"}


def test_the_scale_is_kept_where_that_is_wanted() -> None:
    answer = ANSWERS.edit(DRAFT.for_page(), asked(act="rank", value=32, keep_scale=True))
    assert set(touched(answer)) == {"lora_rank_pattern", "lora_alpha_pattern"}


def test_an_alpha_of_all_layers_of_all_rows_is_the_recipes_own() -> None:
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    answer = ANSWERS.edit(DRAFT.for_page(), asked(act="alpha", value=5, names=names, last=7))
    assert touched(answer) == {"lora_alpha": 5}


@pytest.mark.parametrize("value", [None, "64", 2.5, True, float("nan"), float("inf"), [64], 1e300])
def test_a_rank_that_is_no_whole_number_says_so(value: Any) -> None:
    answer = ANSWERS.edit(DRAFT.for_page(), asked(act="rank", value=value))
    assert NO_NUMBER in answer["said"]
    assert "data-touches" not in answer["said"]


@pytest.mark.parametrize("value", [0, -4, 16_385])
def test_a_rank_out_of_range_says_the_range(value: int) -> None:
    assert "between 1 and 16,384" in ANSWERS.edit(DRAFT.for_page(), asked(act="rank", value=value))["said"]


@pytest.mark.parametrize(
    "edit",
    [
        None,
        "all",
        {},
        {"act": "off", "names": "q_proj", "first": 0, "last": 1},
        {"act": "off", "names": [], "first": 0, "last": 1},
        {"act": "off", "names": [{}], "first": 0, "last": 1},
        {"act": "off", "names": ["q_proj"], "first": 3, "last": 1},
        {"act": "off", "names": ["q_proj"], "first": -1, "last": 1},
        {"act": "off", "names": ["q_proj"], "first": 0, "last": 10**9},
        {"act": "off", "names": ["q_proj"], "first": "0", "last": None},
    ],
)
def test_an_edit_that_no_page_sends_changes_nothing(edit: Any) -> None:
    answer = ANSWERS.edit(DRAFT.for_page(), {"asked": 1, "edit": edit})
    assert UNREADABLE in answer["said"]
    assert "data-touches" not in answer["said"]


def test_a_name_or_a_layer_that_the_model_lacks_is_told() -> None:
    assert "There is no layer 8" in ANSWERS.edit(DRAFT.for_page(), asked(act="off", last=8))["said"]
    said = ANSWERS.edit(DRAFT.for_page(), asked(act="off", names=["<b>"]))["said"]
    assert "&lt;b&gt; to adapt" in said


def test_what_cannot_be_said_is_told_in_a_sentence() -> None:
    everything = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    answer = ANSWERS.edit(DRAFT.for_page(), asked(act="off", names=everything, last=7))
    assert "at least one module must stay" in answer["said"]
    assert "data-touches" not in answer["said"]


def test_settings_at_fault_are_told_and_nothing_is_written() -> None:
    faulty = Draft(TEXT.replace("lora_r: 8", "lora_r: 0"), config=CONFIG, config_for="llama")
    answer = ANSWERS.edit(faulty.for_page(), asked(act="off"))
    assert "lora_r" in answer["said"]
    assert 'data-kind="error"' in answer["said"]
    assert ANSWERS.edit(None, None)["answered"] is None
