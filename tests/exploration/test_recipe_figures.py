"""What a recipe comes to where no card is chosen: on the smallest common card that runs it."""

from __future__ import annotations

import pytest

from lora_explorer.base_models import find_base_model
from lora_explorer.exploration.prediction import Question
from lora_explorer.exploration.recipe_figures import COMMON_CARDS, recipe_figures
from lora_explorer.memory import estimate_memory, find_card
from lora_explorer.settings import Recipe

SMALL = "HuggingFaceTB/SmolLM2-135M"
RECIPE = Recipe(base_model=SMALL, adapter="lora", lora_r=8, lora_alpha=16, lora_target_linear=True, sequence_len=512)


def figures_of(recipe: Recipe):
    return recipe_figures(Question(recipe, find_base_model(recipe.base_model)))


def test_common_cards_are_cards_and_stand_by_size():
    found = [find_card(name) for name in COMMON_CARDS]
    assert [card.name for card in found] == list(COMMON_CARDS)
    sizes = [round(card.memory_bytes / 2**30) for card in found]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("batch", [1, 64])
def test_peak_memory_is_what_the_headline_says_for_the_smallest_card(batch: int):
    recipe = RECIPE.changed(micro_batch_size=batch)
    figures = figures_of(recipe)
    assert figures.fit
    card = find_card(figures.fit.gpu)
    estimate = estimate_memory(recipe, find_base_model(SMALL), card=card)
    fit = estimate.fit_on(card.name)
    assert fit == figures.fit
    assert estimate.process_bytes_on(fit) == figures.process_bytes


def test_no_smaller_common_card_surely_holds_the_run():
    recipe = RECIPE.changed(micro_batch_size=64)
    figures = figures_of(recipe)
    assert figures.fit
    assert figures.fit.verdict == "fits"
    fits = {fit.gpu: fit for fit in estimate_memory(recipe, find_base_model(SMALL)).fits}
    smaller = [name for name in COMMON_CARDS if fits[name].capacity_bytes < figures.fit.capacity_bytes]
    assert smaller
    assert all(fits[name].verdict != "fits" for name in smaller)


def test_a_run_that_no_card_holds_has_its_memory_all_the_same():
    figures = figures_of(RECIPE.changed(micro_batch_size=4096, gradient_checkpointing=False))
    assert figures.fit is None
    assert figures.process_bytes
    assert figures.process_bytes > 180 << 30
    assert not figures.problem


def test_what_cannot_be_adapted_or_traced_says_why_and_keeps_what_is_known():
    nothing = figures_of(RECIPE.changed(lora_target_linear=None, lora_target_modules=["no_such_layer"]))
    assert "no_such_layer" in nothing.problem
    assert nothing.trainable_params is None
    untraced = figures_of(RECIPE.changed(optimizer="lomo"))
    assert "lomo" in untraced.problem
    assert untraced.trainable_params == figures_of(RECIPE).trainable_params
    assert untraced.process_bytes is None
