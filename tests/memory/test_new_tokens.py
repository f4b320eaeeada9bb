"""What each way to train new tokens weighs is the difference of two estimates, or not known."""

from __future__ import annotations

from typing import Any

from lora_explorer.adapters.new_tokens import NewTokens, NewTokensAdvice, advise_on_new_tokens
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory import cards, estimate_memory
from lora_explorer.memory.new_tokens import weigh_ways

from .models import LLAMA, model_of, recipe_of

SMALL = model_of({**LLAMA, "vocab_size": 4000})


def advice() -> NewTokensAdvice:
    return advise_on_new_tokens(recipe_of(), load_skeleton(SMALL), NewTokens(tokens=("<a>", "<b>")))


def test_every_way_weighs_what_the_same_estimate_says_of_its_recipe() -> None:
    found, (card, *_) = advice(), cards()
    before = estimate_memory(found.plain, SMALL, card=card)
    weights = list(weigh_ways(found, SMALL, estimate_memory, card=card))
    assert len(weights) == len(found.ways) > 0
    for way, weight in zip(found.ways, weights, strict=True):
        assert way.recipe
        assert weight
        after = estimate_memory(way.recipe, SMALL, card=card)
        assert weight.process_bytes == after.process_bytes
        assert weight.more_bytes == after.process_bytes - before.process_bytes
        assert (weight.fits, weight.fits_without) == (True, True)


def test_whole_matrices_weigh_more_than_rows() -> None:
    found = advice()
    weights = dict(zip((way.title for way in found.ways), weigh_ways(found, SMALL, estimate_memory), strict=True))
    whole, rows = weights["Train both in full"], weights["Train only their rows of the embedding"]
    assert whole
    assert rows
    assert whole.more_bytes > rows.more_bytes
    assert whole.fits is None


def test_a_way_that_cannot_be_traced_leaves_the_others_known() -> None:
    found = advice()
    unknown = found.ways[0].recipe

    def estimate(recipe: Any, *asked: Any, **options: Any) -> Any:
        if recipe == unknown:
            raise MemoryUnknown("No.")
        return estimate_memory(recipe, *asked, **options)

    weights = list(weigh_ways(found, SMALL, estimate))
    assert weights[0] is None
    assert all(weights[1:])


def test_without_a_figure_to_hold_them_against_no_way_is_known() -> None:
    def estimate(*_: Any, **__: Any) -> Any:
        raise MemoryUnknown("No.")

    assert set(weigh_ways(advice(), SMALL, estimate)) == {None}
