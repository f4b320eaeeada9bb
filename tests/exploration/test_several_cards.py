"""The same run on several cards: what each of them needs."""

from __future__ import annotations

import pytest

from exploration.models import LLAMA, model_of, recipe_of
from lora_explorer.exploration.prediction import Question, predict
from lora_explorer.exploration.several_cards import WAYS, Together, TogetherFit, fit_together
from lora_explorer.memory import estimate_memory, find_card
from lora_explorer.memory.plan.parallel_plan import plan_parallel

CARD = find_card("A100 80GB SXM")
RECIPE = recipe_of(lora_target_linear=True, sequence_len=512)
QUESTION = Question(RECIPE, model_of(LLAMA), (CARD,))
FSDP = {"fsdp_version": 2, "fsdp_config": {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}}


def needed(found: TogetherFit) -> int:
    assert found.fit is not None
    assert found.fit.process_bytes is not None
    return found.fit.process_bytes


def test_copies_need_the_same_on_however_many_cards_and_more_than_one_alone() -> None:
    two, eight = (needed(fit_together(QUESTION, Together(count, "none"))) for count in (2, 8))
    alone = predict(QUESTION).process_bytes
    assert alone is not None
    assert two == eight >= alone


def test_of_a_shared_model_each_needs_less_the_more_they_are() -> None:
    weights = QUESTION._replace(recipe=RECIPE.changed(lora_modules_to_save=("embed_tokens", "lm_head")))
    needs = [needed(fit_together(weights, Together(count, "full"))) for count in (2, 4, 8)]
    assert needs == sorted(needs, reverse=True)
    assert needs[0] > needs[-1]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_it_is_what_a_file_with_these_keys_comes_to(way: Together) -> None:
    plan = plan_parallel(way.n_gpus, FSDP if way.sharding == "full" else {})
    estimate = estimate_memory(RECIPE, QUESTION.base_model, card=CARD, parallel=plan, every_card=False)
    assert fit_together(QUESTION, way).fit == estimate.fit_on(CARD.name)


def test_where_memory_is_not_known_the_reason_is_told() -> None:
    found = fit_together(QUESTION._replace(recipe=RECIPE.changed(optimizer="lomo")), WAYS[0])
    assert found.fit is None
    assert "lomo" in found.reason
