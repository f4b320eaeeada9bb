"""Permalinks: every setting comes back bit for bit, nothing private travels, and no text that is opened does harm."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recipe_values import VALUES, recipes

from lora_explorer import presets
from lora_explorer.base_models import Access
from lora_explorer.errors import UnreadableLink
from lora_explorer.exploration.link_dictionary import DICTIONARY_1
from lora_explorer.exploration.permalink import (
    LONGEST_LINK,
    LONGEST_NAME,
    MOST_PINNED,
    Pinned,
    SharedState,
    read_permalink,
    write_permalink,
)
from lora_explorer.exports.axolotl import export_axolotl, import_axolotl
from lora_explorer.memory import cards
from lora_explorer.settings import SETTINGS, Recipe, recipe_from

CARDS = [card.name for card in cards()]
PRIVATE = r"is a folder of this machine|is neither a preset nor a Hub id|holds a path|an access token"


def sealed(content: Any) -> str:
    """A link with any content, as a stranger could make it."""
    written = content if isinstance(content, bytes) else json.dumps(content).encode()
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY_1)
    packed = zlib.crc32(written).to_bytes(4, "big")[:2] + packing.compress(written) + packing.flush()
    return "1" + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def assert_same(found: Recipe, wanted: Recipe, without: set[str]) -> None:
    """Equal in every bit, and in which defaults are written down."""
    for name in SETTINGS:
        if name not in without:
            # Told apart by repr: 1, 1.0 and True, 0.0 and -0.0.
            assert repr(getattr(found, name)) == repr(getattr(wanted, name)), name
    assert found.model_fields_set == wanted.model_fields_set - without


@pytest.mark.parametrize("name", sorted(VALUES))
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_setting_comes_back_bit_for_bit(name: str, data: st.DataObject) -> None:
    recipe = recipe_from({name: data.draw(VALUES[name])})
    link = write_permalink(SharedState(recipe))
    opened = read_permalink(link.text)
    private = {name} if any(re.search(PRIVATE, each.message) for each in link.left_out) else set()
    assert len(link.left_out) == len(private)
    assert not opened.left_out
    assert_same(opened.state.recipe, recipe, private)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"base_model", "lora_model_dir"}))
def test_a_default_that_is_written_down_stays_written_down(name: str) -> None:
    recipe = recipe_from({name: SETTINGS[name].default})
    link = write_permalink(SharedState(recipe))
    assert not link.left_out
    assert_same(read_permalink(link.text).state.recipe, recipe, set())


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    recipe=recipes(),
    card=st.none() | st.sampled_from(CARDS),
    expandable=st.booleans(),
    pinned=st.lists(st.builds(Pinned, st.text(max_size=20), recipes()), max_size=3),
)
def test_the_whole_state_comes_back(recipe: Recipe, card: str | None, expandable: bool, pinned: list[Pinned]) -> None:
    state = SharedState(recipe, card, expandable, tuple(pinned))
    link = write_permalink(state)
    opened = read_permalink(link.text)
    assert len(link.text) <= LONGEST_LINK
    assert re.fullmatch(r"[\w-]+", link.text, re.ASCII)
    assert (opened.state.card, opened.state.expandable_segments) == (card, expandable)
    if "too long" in str(link.left_out):
        return
    assert [each.name for each in opened.state.pinned] == [each.name for each in pinned]
    private = {name for name in SETTINGS for each in link.left_out if each.setting == SETTINGS[name].key}
    for found, wanted in zip((opened.state, *opened.state.pinned), (state, *pinned), strict=True):
        assert_same(found.recipe, wanted.recipe, private & wanted.recipe.model_fields_set)


@pytest.mark.parametrize("path", sorted((presets.folder() / "recipes").glob("*.yml")), ids=lambda path: path.stem)
def test_a_recipe_with_a_purpose_is_a_short_link_that_gives_the_same_yaml(path: Path) -> None:
    recipe = import_axolotl(path.read_text(encoding="utf-8")).recipe
    link = write_permalink(SharedState(recipe, "RTX 4090"))
    # A folder of somebody's machine does not travel.
    assert [each.setting for each in link.left_out] == ["lora_model_dir"] * bool(recipe.lora_model_dir)
    recipe = recipe.changed(lora_model_dir=None) if recipe.lora_model_dir else recipe
    assert len(link.text) <= 150
    assert export_axolotl(read_permalink(link.text).state.recipe) == export_axolotl(recipe)


def test_eight_pinned_configurations_fit_in_a_link_and_more_are_named() -> None:
    recipe = import_axolotl((presets.folder() / "recipes" / "llama-3-8b-lora.yml").read_text("utf-8")).recipe
    pinned = tuple(Pinned(f"rank {rank}", recipe.changed(lora_r=rank)) for rank in range(1, MOST_PINNED + 2))
    link = write_permalink(SharedState(recipe, pinned=pinned))
    assert len(link.text) <= 600
    assert [each.message for each in link.left_out] == ["Only the first 8 pinned configurations are in the link."]
    assert read_permalink(link.text).state.pinned == pinned[:MOST_PINNED]


@pytest.mark.parametrize(
    ("values", "secret"),
    [
        ({"lora_model_dir": "./mine"}, "mine"),
        ({"base_model": "/home/someone/model"}, "someone"),
        ({"base_model": "my-model"}, "my-model"),
        ({"plugins": ["~/plugins/mine.py"]}, "plugins/mine"),
        ({"optimizer": "C:\\mine"}, "mine"),
        ({"bnb_config_kwargs": {"cache": {"at": "file:///data"}}}, "data"),
        ({"bnb_config_kwargs": {"/data": 1}}, "data"),
        ({"plugins": ["hf_" + "a1B2" * 9]}, "a1B2"),
        ({"lora_target_modules": ["key ghp_" + "Zz9" * 12]}, "Zz9"),
        ({"gradient_checkpointing_kwargs": {"key": "0123456789abcdef" * 3}}, "89abcdef"),
        ({"lora_target_modules": "AKIA" + "ABCD" * 4}, "AKIA"),
        ({"lora_target_modules": "eyJ" + "hbGc" * 9 + "." + "eyJz" * 9}, "hbGc"),
    ],
    ids=str,
)
def test_a_path_or_a_token_neither_travels_nor_is_taken_over(values: dict[str, Any], secret: str) -> None:
    recipe = recipe_from({**values, "lora_r": 4})
    link = write_permalink(SharedState(recipe, pinned=(Pinned("one", recipe),)))
    (name,) = values
    assert [each.setting for each in link.left_out] == 2 * [SETTINGS[name].key]
    assert all(re.search(PRIVATE, each.message) for each in link.left_out)
    packed = base64.urlsafe_b64decode(link.text[1:] + "==="[: -len(link.text[1:]) % 4])
    content = zlib.decompressobj(-zlib.MAX_WBITS, DICTIONARY_1).decompress(packed[2:])
    assert secret.encode() not in content
    assert secret not in str(link.left_out)
    opened = read_permalink(sealed({"s": {**values, "lora_r": 4}}))
    assert opened.state.recipe == recipe_from({"lora_r": 4})
    assert [each.setting for each in opened.left_out] == [SETTINGS[name].key]


def test_a_folder_called_like_a_hub_id_does_not_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    state = SharedState(recipe_from({"base_model": "mine/model"}))
    assert write_permalink(state).left_out
    assert not write_permalink(state, Access(folders=False)).left_out


@settings(max_examples=200)
@given(st.text(max_size=60) | st.text("1ABCxyz-_09", max_size=60).map(lambda text: f"1{text}"))
def test_whatever_text_is_opened_is_refused_in_a_sentence_or_read(text: str) -> None:
    if read_if_whole(text) is None:
        with pytest.raises(UnreadableLink, match=r"^[A-Z].*[.]$"):
            read_permalink(text)


KEYS = st.sampled_from([*"scap", "x", *SETTINGS])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, JSON, max_size=4), st.dictionaries(KEYS, JSON, max_size=6))
def test_whatever_a_stranger_seals_into_a_link_gives_a_recipe(content: dict[str, Any], values: dict[str, Any]) -> None:
    opened = read_permalink(sealed({**content, "s": values, "p": [["a", values], content]}))
    assert {each.severity for each in opened.left_out} <= {"warning"}
    written = write_permalink(opened.state)
    assert not written.left_out
    assert read_permalink(written.text).state == opened.state


def test_a_cut_or_changed_link_never_opens_as_another_state() -> None:
    state = SharedState(recipe_from({"lora_r": 24, "lora_target_modules": ["q_proj", "up_proj"]}))
    link = write_permalink(state).text
    for position in range(1, len(link)):
        with pytest.raises(UnreadableLink):
            read_permalink(link[:position])
    letters = "ABCabc019-_"
    changed = [f"{link[:at]}{letter}{link[at + 1 :]}" for at in range(1, len(link)) for letter in letters]
    # The last bits of the last sign say nothing.
    assert all(read_if_whole(each) in (None, state) for each in changed)
    assert sum(read_if_whole(each) is None for each in changed) > 0.95 * len(changed) - len(letters)


def read_if_whole(text: str) -> SharedState | None:
    try:
        return read_permalink(text).state
    except UnreadableLink:
        return None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "between 1 and 6,000 characters, this one 0"),
        ("1" * 7000, "this one 7,000"),
        ("2AAAA", "version that is not known"),
        (sealed(b"x" * 3_000_000), "not whole"),
        (sealed(b"[" * 40_000), "cannot be read"),
        (sealed(b'{"s":{"plugins":' + b"[" * 300 + b"]" * 300 + b"}}"), "not whole"),
        (sealed([1]), "not whole"),
    ],
    ids=range(7),
)
def test_what_is_no_link_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UnreadableLink, match=words):
        read_permalink(text)


def test_a_link_of_another_release_keeps_what_is_known() -> None:
    content = {"s": {"lora_r": 12, "lora_x": 1, "lora_alpha": "many"}, "c": "GTX 1", "z": 1, "p": [["n"], 3]}
    opened = read_permalink(sealed(content))
    assert opened.state == SharedState(recipe_from({"lora_r": 12}))
    told = " ".join(each.message for each in opened.left_out)
    for word in ("'z'", "'lora_x'", "lora_alpha", "'GTX 1'", "pinned configuration in the link cannot be read"):
        assert word in told


@pytest.mark.parametrize("random_text", [False, True])
def test_what_is_too_long_is_left_out_and_named_and_the_rest_can_be_opened(random_text: bool) -> None:
    names = [f"layer{number * 7919 % 99_991 if random_text else 1}.{number}" for number in range(20_000)]
    recipe = recipe_from({"lora_target_modules": names, "lora_r": 24})
    link = write_permalink(SharedState(recipe, pinned=(Pinned("one", recipe),)))
    assert [each.message for each in link.left_out] == [
        "The pinned configurations are too long for a link.",
        "lora_target_modules is too long for a link, so the link leaves it out.",
    ]
    assert read_permalink(link.text).state.recipe == recipe_from({"lora_r": 24})


def test_what_json_cannot_hold_is_left_out_and_named() -> None:
    recipe = recipe_from({"bnb_config_kwargs": yaml.safe_load("{when: 2026-01-01}"), "lora_r": 3})
    link = write_permalink(SharedState(recipe))
    assert [each.message for each in link.left_out] == [
        "bnb_config_kwargs cannot be written in a link, so the link leaves it out."
    ]


def test_long_names_of_pinned_configurations_are_cut() -> None:
    link = write_permalink(SharedState(pinned=(Pinned("n" * 500, Recipe()),)))
    assert read_permalink(link.text).state.pinned == (Pinned("n" * LONGEST_NAME, Recipe()),)


@pytest.mark.parametrize("name", ["/home/someone/run", "~/run", "hf_" + "a1B2" * 9], ids=["path", "home", "token"])
def test_the_name_of_a_pinned_configuration_that_is_a_path_or_a_token_does_not_travel(name: str) -> None:
    link = write_permalink(SharedState(pinned=(Pinned("fine", Recipe()), Pinned(name, Recipe()))))
    assert [each.name for each in read_permalink(link.text).state.pinned] == ["fine", "Configuration 2"]
    assert re.search(PRIVATE, link.left_out[0].message)


@pytest.mark.parametrize("field", ["card", "template"])
def test_a_card_or_a_recipe_of_an_unknown_name_neither_travels_nor_is_taken_over(field: str) -> None:
    assert read_permalink(write_permalink(SharedState(**{field: "/home/someone"})).text).state == SharedState()
    opened = read_permalink(sealed({field[0]: "/home/someone"}))
    assert opened.state == SharedState()
    assert "which is not known here" in opened.left_out[0].message


def test_the_recipe_whose_text_the_settings_stand_in_comes_back() -> None:
    state = SharedState(recipe_from({"lora_r": 4}), template="llama-3-8b-lora")
    assert read_permalink(write_permalink(state).text).state == state


def test_the_dictionary_of_version_1_is_as_it_was() -> None:
    """A link that somebody keeps can only be read with the dictionary it was written with."""
    assert zlib.crc32(DICTIONARY_1) == 3_689_442_294
    recipe = recipe_from({
        "lora_r": 24, "lora_alpha": 48, "lora_target_modules": ["q_proj", "v_proj"], "base_model": "Qwen/Qwen3-8B"
    })  # fmt: skip
    kept = "1qhzDlgRQKjKk6DNCiwsTC8KhCSuZoa7wMYHaXwsA"
    assert read_permalink(kept).state == SharedState(recipe, "L4", expandable_segments=False)
