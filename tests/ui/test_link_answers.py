"""Sharing and opening by the page's own handlers: every setting comes back bit for bit, nothing private travels."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recipe_values import VALUES, recipes

from lora_explorer import presets
from lora_explorer.base_models import Access
from lora_explorer.exploration.permalink import MOST_PINNED, read_permalink
from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.memory import cards
from lora_explorer.settings import SETTINGS, Recipe, recipe_from
from lora_explorer.ui.draft import Draft, shown_by
from lora_explorer.ui.link_answers import LinkAnswers
from lora_explorer.ui.page import start_draft

ANSWERS = LinkAnswers(Access(folders=False), start_draft())
RECIPES = sorted((presets.folder() / "recipes").glob("*.yml"))
CARDS = [card.name for card in cards()]
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def shared(draft: Draft, *pins: tuple[str, Draft]) -> dict[str, Any]:
    listed = [{"name": name, "draft": pinned.for_page()} for name, pinned in pins]
    return dict(through_json(ANSWERS.share(through_json(draft.for_page()), {"asked": 7, "pins": through_json(listed)})))


def opened(link: str) -> dict[str, Any]:
    return dict(through_json(ANSWERS.open({"asked": 8, "link": link})))


def private_in(answer: dict[str, Any]) -> set[str]:
    """The settings that the answer says are left out of the link."""
    told = "|".join(answer["said"])
    return {name for name, one in SETTINGS.items() if re.search(rf"(^|\|){re.escape(one.key)} ", told)}


def assert_same(found: Recipe, wanted: Recipe, without: set[str]) -> None:
    """Equal in every bit, which repr tells, and in which defaults are written down."""
    for name in SETTINGS:
        if name not in without:
            assert repr(getattr(found, name)) == repr(getattr(wanted, name)), name
    assert found.model_fields_set == wanted.model_fields_set - without


def assert_comes_back(draft: Draft) -> None:
    answer = shared(draft)
    back = Draft.from_page(opened(answer["link"])["draft"])
    without = private_in(answer)
    assert_same(back.recipe, draft.recipe, without)
    if not without:
        assert import_axolotl(back.written).recipe == import_axolotl(draft.written).recipe
    assert (back.card, back.expandable_segments) == (draft.card, draft.expandable_segments)


@pytest.mark.parametrize("name", sorted(VALUES))
@settings(slow, max_examples=15)
@given(data=st.data())
def test_every_setting_of_a_file_comes_back_bit_for_bit(name: str, data: st.DataObject) -> None:
    assert_comes_back(Draft.of(recipe_from({name: data.draw(VALUES[name])})))


@pytest.mark.parametrize("name", sorted(VALUES))
@settings(slow, max_examples=10)
@given(data=st.data())
def test_every_setting_that_a_widget_holds_comes_back_bit_for_bit(name: str, data: st.DataObject) -> None:
    shown = shown_by(recipe_from({name: data.draw(VALUES[name])}))[name]
    assert_comes_back(replace(start_draft(), touched={name: shown}))


@settings(slow, max_examples=60)
@given(file=recipes(), held=recipes(), card=st.sampled_from(CARDS), segments=st.booleans())
def test_the_whole_state_comes_back_bit_for_bit(file: Recipe, held: Recipe, card: str, segments: bool) -> None:
    touched = {name: shown_by(held)[name] for name in held.model_fields_set}
    assert_comes_back(replace(Draft.of(file), touched=touched, card=card, expandable_segments=segments))


@settings(slow, max_examples=100)
@given(recipes())
def test_a_draft_of_a_recipe_holds_it_bit_for_bit(recipe: Recipe) -> None:
    assert_same(Draft.of(recipe).recipe, recipe, set())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_that_comes_with_the_program_is_the_same_text_word_for_word_when_it_is_opened(path: Path) -> None:
    draft = Draft(path.read_text(encoding="utf-8"), {"lora_r": 24, "micro_batch_size": 3})
    answer = shared(draft)
    # A folder of somebody's machine does not travel.
    folder = draft.recipe.lora_model_dir
    assert [said.split()[0] for said in answer["said"]] == ["lora_model_dir"] * bool(folder)
    again = Draft.from_page(opened(answer["link"])["draft"])
    if folder:
        assert again.recipe.changed(lora_model_dir=folder) == draft.recipe
    else:
        assert again.written == draft.written


def test_keys_and_comments_that_do_not_travel_are_named() -> None:
    keys = "".join(f"own_{number}: {number}\n" for number in range(7))
    said = shared(Draft(f"# mine\nlora_r: 8\n{keys}"))["said"]
    assert said == [
        "The link holds settings alone, not the other keys of the YAML: own_0, own_1, own_2, own_3, own_4 and 2 more.",
        "The comments of the YAML are not in the link.",
    ]
    assert shared(Draft("lora_r: 8\n"))["said"] == []


def test_an_uploaded_config_is_said_not_to_travel_while_it_is_in_use() -> None:
    draft = start_draft()
    uploaded = replace(draft, config="{}", config_for=draft.recipe.base_model)
    assert "config.json is not in the link" in " ".join(shared(uploaded)["said"])
    assert shared(replace(uploaded, config_for="another/model"))["said"] == []


def test_pinned_configurations_come_back_under_their_names() -> None:
    one, other = start_draft(), replace(start_draft(), touched={"lora_r": 64})
    answer = shared(one, ("low", one), ("high", other))
    back = opened(answer["link"])
    assert answer["pins"] == 2
    assert [pin["name"] for pin in back["pins"]] == ["low", "high"]
    for pin, wanted in zip(back["pins"], (one, other), strict=True):
        assert_same(Draft.from_page(pin["draft"]).recipe, wanted.recipe, set())


def test_more_pinned_configurations_than_a_link_takes_are_said_to_be_left_out() -> None:
    pins = [(f"rank {rank}", replace(start_draft(), touched={"lora_r": rank})) for rank in range(1, 12)]
    answer = shared(start_draft(), *pins)
    assert answer["pins"] == MOST_PINNED
    assert "Only the first 8 pinned configurations are in the link." in answer["said"]


@pytest.mark.parametrize(
    ("touched", "secret"),
    [
        ({"base_model": "/home/someone/model"}, "someone"),
        ({"lora_model_dir": "./mine"}, "mine"),
        ({"plugins": ["hf_" + "a1B2" * 9]}, "a1B2"),
        ({"optimizer": "C:\\somewhere"}, "somewhere"),
    ],
    ids=str,
)
def test_no_path_and_no_token_is_in_a_link_of_settings_pins_or_names(touched: dict[str, Any], secret: str) -> None:
    private = replace(start_draft(), touched=touched)
    name = next(iter(touched))
    value = touched[name] if isinstance(touched[name], str) else touched[name][0]
    answer = shared(private, (value, private))
    assert answer["said"]
    assert secret not in json.dumps(opened(answer["link"]))
    assert secret not in repr(read_permalink(answer["link"]))


def test_a_card_and_a_name_that_nobody_knows_do_not_travel() -> None:
    link = shared(replace(start_draft(), card="/home/someone"))["link"]
    assert opened(link)["draft"]["card"] == start_draft().card


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        (replace(start_draft(), touched={"lora_r": 0}), "lora_r must be"),
        (replace(start_draft(), touched={"lora_rank_pattern": "{"}), "lora_rank_pattern cannot be read"),
        (replace(start_draft(), unread="a: ["), "There is no link to settings that cannot be used."),
        (Draft(""), "empty"),
    ],
    ids=["rank", "pattern", "unread", "nothing"],
)
def test_settings_that_cannot_be_used_are_refused_in_a_sentence(draft: Draft, words: str) -> None:
    answer = shared(draft)
    assert "link" not in answer
    assert words in " ".join(answer["said"])


def test_a_pinned_configuration_that_cannot_be_used_is_left_out_by_name() -> None:
    answer = shared(start_draft(), ("broken", Draft("a: [")), ("good", start_draft()))
    assert answer["pins"] == 1
    assert answer["said"] == ["The link leaves out broken, which cannot be used."]


@pytest.mark.parametrize("link", ["", "1", "2AAAA", "1zzzz", "x" * 7000, "1qhzD<script>", None, 3, ["1"], "¼½"])
def test_what_is_no_link_is_one_sentence_and_no_draft(link: Any) -> None:
    answer = ANSWERS.open({"asked": 3, "link": link})
    assert set(answer) == {"asked", "said"}
    assert answer["asked"] == 3
    (sentence,) = answer["said"]
    assert re.fullmatch(r"[A-Z].*[.]", sentence)


def test_what_a_link_of_another_release_holds_and_is_not_taken_over_is_said() -> None:
    link = shared(start_draft())["link"]
    assert opened(link)["said"] == []
    kept = "1qhzDlgRQKjKk6DNCiwsTC8KhCSuZoa7wMYHaXwsA"
    assert opened(kept)["draft"]["card"] == "L4"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "draft", "text", "touched", "pins", "link", "lora_r"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(slow, max_examples=150)
@given(ANYTHING, ANYTHING)
def test_whatever_a_stranger_sends_is_answered_in_sentences(sent: Any, sent_links: Any) -> None:
    for answer in (ANSWERS.share(sent, sent_links), ANSWERS.open(sent_links)):
        assert all(isinstance(sentence, str) and sentence for sentence in answer["said"])
