"""What a catalogue promises: nothing of the page is missing, nothing is left over, and values keep their place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from language_texts import (
    is_known,
    is_written,
    texts_in_code,
    texts_in_scripts,
    texts_of_files,
    texts_of_page,
    texts_of_rules,
    texts_of_settings,
)

from lora_explorer import presets
from lora_explorer.languages import FaultyCatalogue, catalogue, key_of, places, translated
from lora_explorer.settings import SETTINGS
from lora_explorer.ui.language import choices_of
from lora_explorer.ui.page import build_page

EVERY_LANGUAGE = pytest.mark.parametrize("language", sorted(translated()))
# Names, examples of values, and what is the same in every language.
AS_IT_IS = frozenset(
    {
        *(setting.control.placeholder for setting in SETTINGS.values()),
        "LoRA Explorer",
        "Axolotl",
        "RTX 4090",
        "not set: 1e-06",
        "axolotl train",
        "lora-explorer check",
        "lora-explorer presets",
        "input, textarea",
    }
)
# What code compares or tells whoever programs, and nobody reads on the page.
UNREAD = frozenset(
    {
        "--gpu {} {}; choose one of: {}.",
        "A FrozenMapping does not change.",
        "DoRA has both matrices",
        "The line of runs could not be looked after: %s",
        "all let go",
        "can't allocate memory",
        "hidden states",
        "is a gated dataset",
        "layers attribute",
        "liger fused",
        "load_rows fills it in",
        "must be",
        "no projections",
        "not found in the base model",
        "one by one",
        "one loop",
        "optimizer states",
        "sample_packing with attn_implementation: sdpa",
        "saved copies",
        "size mismatch",
        "the device itself",
        "torch.backends, TensorFloat-32",
        "weight tying",
        "{} codes",
        "{} scales",
        "{} table",
    }
)


def _without_translation(texts: set[str], language: str) -> list[str]:
    known = catalogue(language)
    return sorted(text for text in texts - AS_IT_IS - UNREAD if not is_known(text, known))


@EVERY_LANGUAGE
def test_every_setting_has_its_label_and_help(language: str) -> None:
    assert _without_translation(set(texts_of_settings()), language) == []


@EVERY_LANGUAGE
def test_every_rule_between_settings_has_its_sentence(language: str) -> None:
    assert _without_translation(set(texts_of_rules()), language) == []


@EVERY_LANGUAGE
def test_every_preset_and_every_key_of_axolotl_is_explained(language: str) -> None:
    assert _without_translation(set(texts_of_files()), language) == []


@EVERY_LANGUAGE
@pytest.mark.parametrize("public", [False, True], ids=["at home", "public"])
def test_every_text_of_the_components_is_there(language: str, *, public: bool) -> None:
    assert _without_translation(set(texts_of_page(build_page(public=public))), language) == []


@EVERY_LANGUAGE
def test_every_text_that_code_and_scripts_write_is_there(language: str) -> None:
    assert _without_translation({*texts_in_code(), *texts_in_scripts()}, language) == []


@EVERY_LANGUAGE
def test_no_translation_is_of_a_text_that_is_gone(language: str) -> None:
    assert [text for text in catalogue(language) if not is_written(text)] == []


@EVERY_LANGUAGE
def test_every_value_of_a_sentence_is_in_its_translation(language: str) -> None:
    said = catalogue(language)
    assert {text for text in said if sorted(places(said[text])) != list(range(text.count("{}")))} == set()


@EVERY_LANGUAGE
def test_names_of_settings_and_values_stay_as_they_are(language: str) -> None:
    """Axolotl's keys are what a visitor writes into a file; a translation has each of them that its text has."""
    keys = {setting.key for setting in SETTINGS.values() if "_" in setting.key}
    said = catalogue(language)
    lost = {text: key for text in said for key in keys if key in text and key not in said[text]}
    assert lost == {}


def test_all_languages_have_the_same_texts() -> None:
    counted = Counter(text for language in translated() for text in catalogue(language))
    assert {text for text, count in counted.items() if count != len(list(translated()))} == set()


def test_gradio_gets_the_words_of_choices_alone() -> None:
    """What is a value, or the name of a model, is written the same in every language."""
    given = choices_of(build_page()).translations
    assert set(given) == set(translated())
    assert "This page only" in given["ja"]
    assert not {"true", "lora", "Rank"} & given["ja"].keys()


def test_a_key_of_a_rule_is_its_sentence_without_names() -> None:
    assert key_of("warmup_steps is {warmup_steps}, not {{}}.") == "warmup_steps is {}, not {}."


def test_a_catalogue_that_says_something_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "languages" / "fr"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.yml").write_text('"Rank": "Rang"\n', encoding="utf-8")
    monkeypatch.setattr(presets, "folder", lambda: tmp_path)
    with pytest.raises(FaultyCatalogue, match=r"b\.yml says again: Rank"):
        catalogue("fr")


def test_a_catalogue_that_is_no_mapping_of_texts_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "languages" / "de"
    folder.mkdir(parents=True)
    (folder / "a.yml").write_text('"Rank": 3\n', encoding="utf-8")
    monkeypatch.setattr(presets, "folder", lambda: tmp_path)
    with pytest.raises(FaultyCatalogue, match="texts and their translations alone"):
        catalogue("de")
