"""The largest value that fits: it does, the next one does not, and that took few predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_explorer.exploration.prediction import Prediction, Question
from lora_explorer.exploration.search import MOST_ESTIMATES, SEARCHED, Largest, find_all_largest, find_largest
from lora_explorer.memory import Card, CardFit, estimate_memory
from lora_explorer.settings import SETTINGS

from .models import GPT2, LLAMA, card_of, model_of, recipe_of

SETTINGS_OF_RUNS: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "checkpointed": {"gradient_checkpointing": True, "micro_batch_size": 3, "sequence_len": 1000},
    "QLoRA": {"adapter": "qlora", "load_in_4bit": True},
    "eager": {"attn_implementation": "eager", "micro_batch_size": 2},
}


def fits(found: Largest, value: int, card: Card, **settings: Any) -> bool:
    recipe = recipe_of(**{**settings, found.setting: value})
    (fit,) = estimate_memory(recipe, model_of(), card=card, every_card=False).fits
    return fit.fits


@pytest.mark.parametrize("name", SETTINGS_OF_RUNS)
@pytest.mark.parametrize("megabytes", [300, 700])
def test_the_largest_value_fits_and_the_next_one_does_not(name: str, megabytes: int) -> None:
    settings, card = SETTINGS_OF_RUNS[name], card_of(megabytes)
    for found in find_all_largest(recipe_of(**settings), model_of(), card):
        assert found.value is not None, found
        assert fits(found, found.value, card, **settings)
        assert not fits(found, found.value + found.step, card, **settings)
        assert found.fit is not None
        assert found.fit.fits
        if found.sure_value is not None:
            assert found.sure_value <= found.value
        assert found.estimates <= 40


def test_where_nothing_fits_there_is_no_value() -> None:
    for found in find_all_largest(recipe_of(), model_of(), card_of(5)):
        assert (found.value, found.sure_value) == (None, None)
        assert found.fit is not None
        assert not found.fit.fits
        assert found.estimates <= 4


def test_a_table_of_positions_ends_the_search_with_its_sentence() -> None:
    recipe = recipe_of(lora_target_linear=None, lora_target_modules=["c_attn"])
    lengths = [found for found in find_all_largest(recipe, model_of(GPT2), card_of(9000)) if "len" in found.setting]
    assert [found.value for found in lengths] == [1024]
    assert "1,024 positions" in lengths[0].beyond


def test_without_an_adapter_there_is_no_rank_to_search() -> None:
    recipe = recipe_of(adapter=None, lora_r=None, lora_alpha=None, lora_target_linear=None)
    found = [each.setting for each in find_all_largest(recipe, model_of(), card_of(400))]
    assert found == ["micro_batch_size", "sequence_len"]


CARD = card_of(1000)


def answering(needs: Any) -> Any:
    """Someone who predicts by a function of the searched value instead of a trace."""

    def ask(question: Question) -> Prediction:
        room = CARD.capacity_bytes - needs(question.recipe.micro_batch_size)
        verdict = "fits" if room > 30 << 20 else "tight" if room >= 0 else "does not fit"
        return Prediction(1, 1, 1.0, 1, (CardFit(CARD.name, CARD.memory_bytes, room >= 0, room, verdict),))

    return ask


@given(st.integers(1, 4096), st.integers(1, 4096), st.sampled_from([1.0, 1.5, 2.0]))
def test_the_search_is_exact_wherever_the_card_ends_and_wherever_it_starts(start: int, last: int, power: float) -> None:
    ask = answering(lambda value: CARD.capacity_bytes * (value / (last + 0.5)) ** power)
    question = Question(recipe_of(micro_batch_size=start), model_of(), (CARD,))
    found = find_largest("micro_batch_size", question, ask)
    assert found.value == last
    assert found.estimates <= MOST_ESTIMATES


def test_a_value_that_fits_behind_one_that_does_not_is_found() -> None:
    ask = answering(lambda value: 0 if value != 7 and value < 20 else 2 * CARD.capacity_bytes)
    for start in (1, 6, 12):
        question = Question(recipe_of(micro_batch_size=start), model_of(), (CARD,))
        assert find_largest("micro_batch_size", question, ask).value == 19


def test_a_run_that_always_fits_ends_at_what_the_setting_allows() -> None:
    question = Question(recipe_of(), model_of(), (CARD,))
    found = find_largest("micro_batch_size", question, answering(lambda value: 0))
    assert found.value == SETTINGS["micro_batch_size"].maximum
    assert found.beyond == ""


def test_lengths_are_searched_in_tiles() -> None:
    assert set(SEARCHED) == {"micro_batch_size", "sequence_len", "lora_r"}
    (found,) = (
        each
        for each in find_all_largest(recipe_of(sequence_len=1000), model_of(LLAMA), card_of(300))
        if each.setting == "sequence_len"
    )
    assert found.now == 1000
    assert found.step == 128
    assert found.value is not None
    assert found.value % 128 == 0


def test_a_card_that_does_not_run_the_kernels_holds_nothing() -> None:
    card = replace(card_of(9000, "T4"), name="T4")
    recipe = recipe_of(attn_implementation="flash_attention_2")
    for found in find_all_largest(recipe, model_of(), card):
        assert found.value is None
        assert found.fit is not None
        assert found.fit.verdict == "does not run"
