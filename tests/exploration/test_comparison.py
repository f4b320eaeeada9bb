"""What a configuration comes to: the figures of the count and of the estimate, or a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer.adapters import plan_adapter
from lora_explorer.base_models import Access, find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.exploration.comparison import Figures, figures_of
from lora_explorer.exploration.prediction import Question
from lora_explorer.memory import Card, estimate_memory, find_card
from lora_explorer.settings import Recipe, recipe_from
from lora_explorer.speed import estimate_speed

MODEL = find_base_model("HuggingFaceTB/SmolLM2-135M", Access(hub=False, folders=False))
CARD = find_card("RTX 4090")
SMALL = {"adapter": "lora", "lora_r": 8, "lora_alpha": 16, "lora_target_linear": True, "sequence_len": 256}


def recipe(**changes: Any) -> Recipe:
    return recipe_from({"base_model": MODEL.name, **SMALL, **changes})


def figures(asked: Recipe, card: Card | None = CARD, *, expandable_segments: bool = True) -> Figures:
    return figures_of(Question(asked, MODEL, (card,) if card else (), expandable_segments))


@pytest.mark.parametrize("expandable_segments", [True, False])
def test_figures_are_those_of_the_count_the_estimate_and_the_speed(expandable_segments: bool) -> None:
    found = figures(recipe(), expandable_segments=expandable_segments)
    plan = plan_adapter(recipe(), load_skeleton(MODEL))
    estimate = estimate_memory(recipe(), MODEL, card=CARD, expandable_segments=expandable_segments, every_card=False)
    assert (found.trainable_params, found.adapter_file_bytes) == (plan.trainable_params, plan.adapter_file_bytes)
    assert found.trainable_percent == plan.trainable_percent
    assert found.scaling == 2.0
    assert found.process_bytes == estimate.process_bytes
    assert found.fit == estimate.fit_on(CARD.name)
    assert found.pace is not None
    assert found.pace.likely == estimate_speed(recipe(), MODEL, card=CARD).tokens_per_second


@pytest.mark.parametrize("gpu", ["RTX 4090", "RTX 3060 12GB", "H100 80GB SXM", None])
def test_parts_add_up_to_what_the_process_holds_on_the_card(gpu: str | None) -> None:
    found = figures(recipe(micro_batch_size=32, sequence_len=2048), find_card(gpu) if gpu else None)
    assert sum(size for _, size in found.parts) == found.process_bytes
    assert all(size >= 0 for _, size in found.parts)


def test_parts_of_a_run_that_gives_its_cache_back_add_up_too() -> None:
    estimate = estimate_memory(recipe(micro_batch_size=16, sequence_len=2048), MODEL, expandable_segments=False)
    for fit in estimate.fits:
        assert sum(size for _, size in estimate.parts_on(fit)) == estimate.process_bytes_on(fit)


def test_without_a_card_there_is_neither_verdict_nor_speed() -> None:
    found = figures(recipe(), None)
    assert (found.fit, found.pace) == (None, None)
    assert found.process_bytes
    assert found.is_whole


def test_what_is_refused_is_a_sentence_and_nothing_else() -> None:
    found = figures(recipe(lora_target_linear=False, lora_target_modules=("nothing",)))
    assert "nothing" in found.problem
    assert found == Figures(problem=found.problem)
    assert found.is_whole


def test_where_the_step_cannot_be_traced_the_count_stands_with_a_lower_bound() -> None:
    found = figures(recipe(optimizer="lomo"))
    assert found.trainable_params
    assert found.process_bytes is None
    assert "lomo" in found.problem
    assert found.at_least_bytes
    assert found.at_least_bytes < (figures(recipe()).process_bytes or 0)


def test_full_fine_tuning_has_no_scale() -> None:
    assert figures(recipe(adapter=None)).scaling is None
