"""Advice: what it promises to save is what applying it then shows, and what should make a run fit does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lora_explorer.errors import MemoryUnknown
from lora_explorer.exploration import advice as advising
from lora_explorer.exploration.advice import Advice, Situation, find_advice, find_combination, rank_advice
from lora_explorer.exploration.card_offers import offers_for
from lora_explorer.exploration.costs import LEVELS, cost_of
from lora_explorer.exploration.pace import Pace, pace_of
from lora_explorer.memory import Card, CardFit, MemoryEstimate, cards, estimate_memory
from lora_explorer.memory.savings import Saving, shown_bytes
from lora_explorer.memory.switches import ALLOCATOR, switches
from lora_explorer.settings import Recipe, errors_among, find_problems
from lora_explorer.speed import Price, Range, estimate_run

from .models import DEEPSEEK, GPT2, LLAMA, MIXTRAL, card_of, model_of, recipe_of

WIDE = {**LLAMA, "vocab_size": 16_000, "num_hidden_layers": 4}
MODELS = {"llama": WIDE, "gpt2": GPT2, "mixtral": MIXTRAL, "deepseek-v3": DEEPSEEK}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {"micro_batch_size": 4, "sequence_len": 1024},
    "wasteful": {
        "attn_implementation": "eager",
        "lora_dropout": 0.1,
        "lora_r": 64,
        "micro_batch_size": 2,
        "optimizer": "adamw_torch",
        "bf16": False,
    },
    "checkpointed DoRA": {"gradient_checkpointing": True, "peft_use_dora": True, "micro_batch_size": 2},
    "QLoRA": {
        "adapter": "qlora",
        "load_in_4bit": True,
        "bnb_config_kwargs": {"bnb_4bit_use_double_quant": False},
        "lora_mlp_kernel": False,
        "sequence_len": 512,
    },
}
TARGETS: dict[str, dict[str, Any]] = {
    "gpt2": {"lora_target_linear": None, "lora_target_modules": ["c_attn", "c_fc", "attn.c_proj"]},
    # PEFT reads the names of its linear modules as those of the fused experts, which cannot have DoRA.
    "deepseek-v3": {"lora_target_linear": None, "lora_target_modules": ["o_proj", "kv_b_proj", "q_b_proj"]},
}


def shown(recipe: Recipe, config: dict[str, Any], card: Card, *, expandable: bool) -> int:
    """What the page shows as peak memory for a card."""
    estimate = estimate_memory(recipe, model_of(config), card=card, every_card=False, expandable_segments=expandable)
    return estimate.process_bytes_on(estimate.fit_on(card.name))


@pytest.mark.parametrize("expandable", [True, False], ids=["expandable", "plain"])
@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("model", MODELS)
def test_every_saving_is_what_applying_the_change_then_shows(model: str, name: str, expandable: bool) -> None:
    recipe, config = recipe_of(**RECIPES[name], **TARGETS.get(model, {})), MODELS[model]
    # Too small, just too small, and more than enough: where a card is nearly full, cached memory is given back.
    need = estimate_memory(recipe, model_of(config), every_card=False, expandable_segments=expandable)
    for bytes_of_card in (need.peak_allocated_bytes // 2, need.peak_reserved_bytes * 99 // 100, 1 << 36):
        card = replace(card_of(0), memory_bytes=card_of(0).context_bytes + bytes_of_card)
        before = shown(recipe, config, card, expandable=expandable)
        found = [each for each in find_advice(Situation(recipe, model_of(config), card, expandable)) if each]
        assert found
        for each in found:
            changed = recipe.changed(**each.changes)
            after = shown(changed, config, card, expandable=expandable or each.expands_segments)
            assert each.saved_bytes == before - after, each
            assert not errors_among(find_problems(changed))


def test_what_makes_the_run_fit_does_and_comes_first() -> None:
    recipe, model = recipe_of(**RECIPES["plain"]), model_of(WIDE)
    need = estimate_memory(recipe, model, every_card=False).peak_allocated_bytes
    card = replace(card_of(0), memory_bytes=card_of(0).context_bytes + need * 6 // 10)
    situation = Situation(recipe, model, card)
    assert not situation.fits
    found = rank_advice(find_advice(situation))
    enough = [each.makes_fit for each in found]
    assert enough == sorted(enough, reverse=True)
    assert any(enough)
    assert not all(enough)
    costs = [each.cost_rank for each in found if each.makes_fit]
    assert costs == sorted(costs)
    for each in found:
        assert Situation(recipe.changed(**each.changes), model, card).fits is each.makes_fit
    saved = [each.saved_bytes for each in found if not each.makes_fit]
    assert saved == sorted(saved, reverse=True)


def tight_situation(share: float, **settings: Any) -> Situation:
    """A run on a card that takes a share of what it needs."""
    recipe, model = recipe_of(**{**RECIPES["plain"], **settings}), model_of(WIDE)
    need = estimate_memory(recipe, model, every_card=False).peak_allocated_bytes
    return Situation(recipe, model, replace(card_of(0), memory_bytes=card_of(0).context_bytes + int(need * share)))


@pytest.mark.parametrize("share", [0.12, 0.09, 0.07])
def test_several_changes_together_make_it_fit_and_none_of_them_is_superfluous(share: float) -> None:
    situation = tight_situation(share)
    combination = find_combination(situation)
    assert combination is not None
    assert 2 <= len(combination.steps) <= advising.MOST_STEPS
    changed = situation.recipe.changed(**combination.changes)
    assert situation._replace(recipe=changed).fits
    before, after = situation.estimated(), situation._replace(recipe=changed).estimated()
    assert combination.saved_bytes == shown_bytes(before, situation.card) - shown_bytes(after, situation.card)
    for left_out in combination.steps:
        others = [step for step in combination.steps if step is not left_out]
        without = Advice(tuple(others), makes_fit=True)
        assert not situation._replace(recipe=situation.recipe.changed(**without.changes)).fits


def test_each_step_of_a_combination_is_traced_after_the_one_before() -> None:
    situation = tight_situation(0.12)
    combination = find_combination(situation)
    assert combination is not None
    for step in combination.steps:
        after = situation.after(step.saving)
        numbers = [shown_bytes(each.estimated(), situation.card) for each in (situation, after)]
        assert step.saving.saved_bytes == numbers[0] - numbers[1]
        assert step.saving.makes_fit is (step is combination.steps[-1])
        situation = after


def test_what_costs_nothing_is_preferred_to_what_changes_the_learning() -> None:
    """A large vocabulary at full length: the loss kernels alone are enough, and cost nothing."""
    model = model_of({**LLAMA, "vocab_size": 64_000, "num_hidden_layers": 2})
    recipe = recipe_of(micro_batch_size=2, sequence_len=1024, gradient_checkpointing=True)
    need = estimate_memory(recipe, model, every_card=False).peak_allocated_bytes
    card = replace(card_of(0), memory_bytes=card_of(0).context_bytes + need // 2)
    found = rank_advice(find_advice(Situation(recipe, model, card)))
    assert found[0].makes_fit
    assert found[0].steps[0].cost.level == "nothing"


def test_where_nothing_helps_there_is_no_combination() -> None:
    assert find_combination(tight_situation(0.0001)) is None


def test_a_run_that_fits_still_gets_savings() -> None:
    recipe = recipe_of(**RECIPES["plain"])
    situation = Situation(recipe, model_of(WIDE), card_of(50_000, "A100 80GB SXM"))
    assert situation.fits
    found = rank_advice(find_advice(situation))
    assert found
    assert not any(each.makes_fit for each in found)


def test_a_recipe_whose_memory_is_unknown_says_so() -> None:
    with pytest.raises(MemoryUnknown):
        list(find_advice(Situation(recipe_of(optimizer="ao_adamw_8bit"), model_of(), card_of(100))))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("model", MODELS)
def test_every_switch_has_a_cost_with_a_source(model: str, name: str) -> None:
    recipe = recipe_of(**RECIPES[name], **TARGETS.get(model, {}))
    for switch in switches(recipe, model_of(MODELS[model]), expandable_segments=False):
        cost = cost_of(switch.setting, switch.value)
        assert cost.level in LEVELS
        assert cost.note.endswith(".")
        assert cost.source


def test_speed_is_compared_with_what_it_was() -> None:
    def paced(recipe: Recipe, *_: Any) -> Pace:
        tokens = 750.0 if recipe.gradient_checkpointing else 1000.0
        return Pace(Range(tokens / 2, tokens * 2), tokens)

    situation = tight_situation(0.5)._replace(pace=paced)
    found = {each.steps[0].saving.setting: each for each in find_advice(situation) if each}
    assert found["gradient_checkpointing"].speed_factor == 0.75
    assert found["micro_batch_size"].speed_factor == 1.0


def test_speed_before_and_after_a_change_is_that_of_its_recipes() -> None:
    situation = tight_situation(0.5)
    changed = {each.steps[0].saving.setting: each for each in find_advice(situation) if each}
    for name, slower in (("gradient_checkpointing", True), ("micro_batch_size", True), ("cut_cross_entropy", False)):
        recipes = situation.recipe, situation.recipe.changed(**changed[name].changes)
        before, after = (pace_of(recipe, situation.base_model, situation.card) for recipe in recipes)
        assert before is not None
        assert after is not None
        factor = changed[name].speed_factor
        assert factor == pytest.approx(after.expected / before.expected)
        assert factor is not None
        assert (factor < 1) is slower


def test_the_speed_of_a_combination_is_that_of_all_its_steps() -> None:
    situation = tight_situation(0.12)
    combination = find_combination(situation)
    assert combination is not None
    recipes = situation.recipe, situation.recipe.changed(**combination.changes)
    before, after = (pace_of(recipe, situation.base_model, situation.card) for recipe in recipes)
    assert before is not None
    assert after is not None
    assert combination.speed_factor == pytest.approx(after.expected / before.expected)


def test_of_what_costs_the_same_and_makes_it_fit_the_fastest_comes_first() -> None:
    def offered(setting: str, saved_bytes: int, factor: float | None) -> Advice:
        step = advising.Step(Saving(setting, 1, {}, 1, saved_bytes, makes_fit=True), cost_of("lora_r", 4), factor)
        return Advice((step,), makes_fit=True)

    slow, fast, alike = offered("a", 9, 0.8), offered("b", 1, 1.2), offered("c", 5, 1.203)
    assert rank_advice([slow, fast, alike]) == (alike, fast, slow)


def test_without_a_speed_nothing_is_said_about_it() -> None:
    step = advising.Step(Saving("lora_r", 4, {"lora_r": 4}, 1, 1), cost_of("lora_r", 4))
    assert Advice((step, step), makes_fit=False).speed_factor is None


def test_an_allocator_that_expands_is_advice_without_a_setting() -> None:
    situation = tight_situation(0.5)._replace(expandable_segments=False)
    step = advising.Step(Saving(ALLOCATOR, "x", {}, 1, 1), cost_of(ALLOCATOR, "x"))
    advice = Advice((step,), makes_fit=False)
    assert advice.expands_segments
    assert not advice.changes
    assert situation.after(step.saving).expandable_segments


# The other way round.
def test_every_card_that_holds_the_run_is_offered_and_no_other() -> None:
    recipe = recipe_of(micro_batch_size=8, sequence_len=4096)
    estimate = estimate_memory(recipe, model_of(WIDE))
    offers = offers_for(recipe, model_of(WIDE), estimate)
    assert {offer.card.name for offer in offers} == {fit.gpu for fit in estimate.fits if fit.fits}
    assert 0 < len(offers) < len(cards())
    assert all(offer.fit.headroom_bytes >= 0 for offer in offers)


def test_without_prices_the_smallest_card_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_explorer.exploration.card_offers.price_of", lambda name: None)
    offers = offers_for(recipe_of(), model_of(), estimate_memory(recipe_of(), model_of()))
    sizes = [offer.card.memory_bytes for offer in offers]
    assert sizes == sorted(sizes)


def test_with_prices_the_cheapest_a_token_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    prices = {"T4": 0.5, "L4": 0.8, "A100 80GB SXM": 2.0}
    rates = {"L4": 1000.0, "A100 80GB SXM": 4000.0}

    def paced(recipe: Recipe, model: Any, card: Card) -> Pace | None:
        rate = rates.get(card.name)
        return Pace(Range(rate, rate), rate) if rate else None

    def priced(name: str) -> Price | None:
        return Price(prices[name], "a cloud", "2026-01") if name in prices else None

    monkeypatch.setattr("lora_explorer.exploration.card_offers.price_of", priced)
    monkeypatch.setattr("lora_explorer.exploration.card_offers.pace_of", paced)
    offers = offers_for(recipe_of(), model_of(), estimate_memory(recipe_of(), model_of()))
    assert [offer.card.name for offer in offers[:3]] == ["A100 80GB SXM", "L4", "T4"]
    # Two dollars for 3,600 seconds of 4,000 tokens.
    assert offers[0].usd_per_million_tokens == pytest.approx(2 / 14.4)
    assert (offers[2].price, offers[2].usd_per_million_tokens) == (priced("T4"), None)
    assert offers[3].price is None


def test_a_million_tokens_cost_what_a_run_of_so_many_does() -> None:
    recipe, model = recipe_of(micro_batch_size=8, sequence_len=1000, max_steps=125), model_of(WIDE)
    (offer,) = (
        each for each in offers_for(recipe, model, estimate_memory(recipe, model)) if each.card.name == "RTX 4090"
    )
    run = estimate_run(recipe, model, card=offer.card, rows=None, price=offer.price)
    assert run.dollars is not None
    assert offer.usd_per_million_tokens is not None
    assert run.dollars.low < offer.usd_per_million_tokens < run.dollars.high


def test_the_saving_of_a_change_that_lets_a_card_give_its_cache_back_is_what_is_shown() -> None:
    """Without a limit it would hold more than the card; the page shows what it holds on the card."""
    recipe, card = recipe_of(sequence_len=512), cards()[0]

    def estimated(changed: Recipe, *_: Any, **options: Any) -> MemoryEstimate:
        estimate = estimate_memory(changed, model_of(), card=card, every_card=False)
        gives_back = changed != recipe
        fit = CardFit(card.name, 1, gives_back, 0 if gives_back else -1, "tight", gives_back, process_bytes=7)
        return replace(estimate, fits=(fit,))

    found = [each for each in find_advice(Situation(recipe, model_of(), card, True, estimated)) if each]
    before = estimate_memory(recipe, model_of(), card=card, every_card=False).process_bytes
    assert {each.saved_bytes for each in found} == {before - 7}
