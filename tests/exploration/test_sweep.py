"""Sweeps: every point once, each equal to a prediction of its own, in an order that traces little."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from lora_explorer.adapters import plan_adapter
from lora_explorer.errors import SweepRefused
from lora_explorer.exploration.card_ends import where_cards_end
from lora_explorer.exploration.prediction import Prediction, Question, predict
from lora_explorer.exploration.sweep import Sweep, SweepPoint, plan_in_order, plan_sweep, run_sweep
from lora_explorer.memory import Card, estimate_memory
from lora_explorer.memory.runs import run_families
from lora_explorer.speed import estimate_speed

from .models import LLAMA, card_of, model_of, recipe_of, skeleton_of

MODEL = model_of({**LLAMA, "vocab_size": 4100})


def sweep_over(*overs: str, cards: tuple[Card, ...] = (), **settings: Any) -> Sweep:
    return plan_sweep(recipe_of(**settings), MODEL, overs, cards=cards)


def test_every_point_is_the_prediction_of_its_own_recipe() -> None:
    card = card_of(60)
    sweep = sweep_over("lora_r=4,64", "targets=attention,mlp", cards=(card,))
    points = list(run_sweep(sweep))
    assert sorted(point.at for point in points) == list(sweep.places) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for point in points:
        recipe = sweep.recipe.changed(**point.changes)
        plan = plan_adapter(recipe, skeleton_of({**LLAMA, "vocab_size": 4100}))
        assert point.prediction.trainable_params == plan.trainable_params
        assert point.prediction.adapter_file_bytes == plan.adapter_file_bytes
        estimate = estimate_memory(recipe, MODEL, card=card, every_card=False)
        assert point.prediction.process_bytes == estimate.process_bytes_on(estimate.fits[0])
        assert point.prediction.fits == estimate.fits
        speed = estimate_speed(recipe, MODEL, card=card)
        assert point.prediction.pace is not None
        assert point.prediction.pace.likely == speed.tokens_per_second
        low, expected, high = speed.tokens_per_second.low, point.prediction.pace.expected, speed.tokens_per_second.high
        assert low < expected < high


def test_a_point_that_is_refused_carries_its_sentence_and_the_others_go_on() -> None:
    points = {point.at: point.prediction for point in run_sweep(sweep_over("load_in_4bit", "lora_r=8,16"))}
    assert points[0, 0].process_bytes is not None
    for at in ((1, 0), (1, 1)):
        assert points[at].trainable_params is None
        assert "adapter qlora" in points[at].problem
        assert points[at].setting == "load_in_4bit"


def test_a_point_whose_memory_is_unknown_still_counts() -> None:
    (point,) = run_sweep(sweep_over("optimizer=ao_adamw_8bit"))
    assert point.prediction.trainable_params
    assert point.prediction.process_bytes is None
    assert point.prediction.setting == "optimizer"


def test_without_a_card_or_its_rates_no_speed_is_told_and_all_else_is() -> None:
    unknown = replace(card_of(10_000), fp32_tflops=None)
    for cards in ((), (unknown,)):
        (point,) = run_sweep(sweep_over("lora_r=8", cards=cards))
        assert point.prediction.pace is None
        assert point.prediction.process_bytes
        assert not point.prediction.problem


def test_a_sweep_over_batch_and_length_traces_two_families_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    run_families._families.clear()
    traced: list[object] = []
    trace = run_families.trace_run

    def counted(*args: Any, **options: Any) -> Any:
        traced.append(args)
        return trace(*args, **options)

    monkeypatch.setattr(run_families, "trace_run", counted)
    sweep = sweep_over("micro_batch_size=1..12", "sequence_len=128..2048 +128")
    points = list(run_sweep(sweep))
    assert len(points) == 12 * 16
    assert all(point.prediction.process_bytes for point in points)
    # A batch of one is a family of its own. Three traces a law, and one or two for what lies outside of them.
    assert len(traced) <= 10
    assert sweep.traces == 6


def test_several_are_asked_side_by_side_and_every_point_comes_once() -> None:
    both = Barrier(2, timeout=60)

    def in_step(question: Question) -> Prediction:
        # Only where two are asked at the same time does either get through.
        both.wait()
        return predict(question)

    sweep = sweep_over("optimizer=adamw_torch,sgd", "attn_implementation=eager,sdpa")
    points = list(run_sweep(sweep, (in_step, in_step)))
    assert sorted(point.at for point in points) == list(sweep.places)


def test_whoever_stops_reading_stops_the_sweep() -> None:
    asked: list[Question] = []

    def noting(question: Question) -> Prediction:
        asked.append(question)
        return predict(question)

    points = run_sweep(sweep_over("lora_r=1..200"), (noting, noting))
    assert isinstance(points, Iterator)
    next(points)
    points.close()
    assert len(asked) < 200


def test_an_error_that_is_a_bug_is_not_lost_in_a_thread() -> None:
    def broken(question: Question) -> Prediction:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run_sweep(sweep_over("lora_r=1..3"), (broken, broken)))


@pytest.mark.parametrize(
    ("overs", "word"),
    [
        (["lora_r=1..100", "sequence_len=128..12800 +128"], "100 × 100 are 10,000 points"),
        (["lora_r=8", "lora_alpha=8", "seed=1"], "one or two axes"),
        ([], "one or two axes"),
        (["bits", "load_in_4bit"], "load_in_4bit"),
        (["lora_r=8", "lora_r=16"], "lora_r"),
    ],
)
def test_what_is_no_sweep_gets_one_sentence(overs: list[str], word: str) -> None:
    with pytest.raises(SweepRefused, match=word) as refused:
        sweep_over(*overs)
    assert len(refused.value.findings) == 1


def test_too_many_points_are_the_fault_of_the_longer_axis() -> None:
    with pytest.raises(SweepRefused, match="21 points; at most 20") as refused:
        plan_in_order(recipe_of(), MODEL, ["lora_r=1..3", "micro_batch_size=1..7"], most_points=20)
    assert refused.value.findings[0].setting == "micro_batch_size"
    assert plan_in_order(recipe_of(), MODEL, ["lora_r=1..3", "micro_batch_size=1..6"], most_points=20).size == 18


def test_base_models_are_compared_a_few_at_a_time() -> None:
    with pytest.raises(SweepRefused, match="at most 24") as refused:
        sweep_over(f"base_model={','.join(f'owner/m{number}' for number in range(25))}")
    assert refused.value.findings[0].setting == "base_model"


def test_a_sweep_that_was_planned_elsewhere_brings_its_order_along() -> None:
    planned = plan_in_order(recipe_of(), MODEL, ["lora_r=4..64 x2", "targets=attention,mlp"], cards=(card_of(60),))
    brought = pickle.loads(pickle.dumps(planned))
    assert "rows" in vars(brought)
    assert brought.rows == planned.rows


def test_a_card_ends_where_the_next_value_no_longer_fits() -> None:
    sweep = sweep_over("sequence_len=256..4096 +256", cards=(card_of(120), card_of(10_000, "A100 80GB SXM")))
    points = list(run_sweep(sweep))
    small, large = where_cards_end(sweep, points)
    fits = {point.at[0]: point.prediction.fits[0].fits for point in points}
    (last,) = small.largest
    assert last is not None
    assert (fits[last], fits[last + 1]) == (True, False)
    assert large.largest == (15,)
    assert not small.gaps


def test_there_is_one_end_for_each_value_of_the_other_axis() -> None:
    sweep = sweep_over("targets=attention,all-linear", "micro_batch_size=1..6", cards=(card_of(64),))
    points = list(run_sweep(sweep))
    (end,) = where_cards_end(sweep, points)
    assert end.axis == "micro_batch_size"
    for column, last in enumerate(end.largest):
        fitting = [point.at[1] for point in points if point.at[0] == column and point.prediction.fits[0].fits]
        assert last == max(fitting, default=None)


def test_axes_without_an_order_have_no_ends_and_points_to_come_are_not_taken_for_unfit() -> None:
    assert where_cards_end(sweep_over("targets=attention", cards=(card_of(64),)), []) == ()
    sweep = sweep_over("lora_r=1..9", cards=(card_of(10_000),))
    some = [point for point in run_sweep(sweep) if point.at[0] != 4]
    (end,) = where_cards_end(sweep, some)
    assert (end.largest, end.gaps) == ((8,), False)


def test_a_value_that_does_not_fit_below_one_that_does_is_a_gap() -> None:
    sweep = sweep_over("bits", cards=(card_of(10_000),))
    points = [_without_fit(point) if point.at == (1,) else point for point in run_sweep(sweep)]
    (end,) = where_cards_end(sweep, points)
    assert (end.largest, end.gaps) == ((2,), True)


def _without_fit(point: SweepPoint) -> SweepPoint:
    fit = replace(point.prediction.fits[0], fits=False, verdict="does not fit")
    return replace(point, prediction=replace(point.prediction, fits=(fit,)))


def test_a_recipe_without_an_adapter_can_be_explored_too() -> None:
    none: dict[str, Any] = dict.fromkeys(("adapter", "lora_r", "lora_alpha", "lora_target_linear"))
    points = list(run_sweep(sweep_over("micro_batch_size=1,2", **none)))
    assert all(point.prediction.process_bytes for point in points)
    assert all(point.prediction.scaling is None for point in points)
