"""The time of one optimizer step on a card: the traced work, at the rates that such cards have been seen to reach."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from lora_explorer.base_models import BaseModel
from lora_explorer.errors import SpeedUnknown
from lora_explorer.memory import Card
from lora_explorer.memory.estimate import trace_one_step
from lora_explorer.memory.kernels.experts import EXPERT_PRODUCT
from lora_explorer.memory.plan.step import Step
from lora_explorer.settings import Recipe
from lora_explorer.speed.expectation import Expectation, expectation_of
from lora_explorer.speed.measured_efficiency import MeasuredEfficiency
from lora_explorer.speed.measured_error import HOST_SECONDS_PER_KERNEL
from lora_explorer.speed.rates import rates_of
from lora_explorer.speed.result import LimitedBy, SpeedEstimate
from lora_explorer.speed.roofline import DeviceTime, device_time
from lora_explorer.speed.step_work import StepWork, work_of_whole_step

_OLDEST_WITH_FIGURES = (8, 0)
_OUTSIDE = "its time may lie outside the range."


def estimate_speed(
    recipe: Recipe,
    base_model: BaseModel,
    *,
    card: Card,
    document_tokens: int | None = None,
    measured: MeasuredEfficiency | None = None,
) -> SpeedEstimate:
    """Time one optimizer step of `gradient_accumulation_steps` micro-batches, every row filled to the end.

    The work is counted in the very trace that the memory estimate is made from, so that after it this takes
    milliseconds. document_tokens: of each document where rows are packed, one row long if not given: attention looks no
    further. measured: what previews found on this card, in place of public figures.
    Raises MemoryUnknown, AdapterRefused, UnknownBaseModel, and SpeedUnknown for a card whose rates are not known.
    """
    rates = rates_of(card, tf32=bool(recipe.tf32))
    # Of this, speed knows more than memory; the trace is the same.
    asked = _Asked(recipe, base_model, card, document_tokens)
    work, step = _work(asked)
    timed = device_time(work, step, rates)
    expectation = expectation_of(card, measured)
    return _estimated(recipe, card, step, timed, expectation)


class _Asked(NamedTuple):
    recipe: Recipe
    base_model: BaseModel
    card: Card
    document_tokens: int | None


@lru_cache(maxsize=64)
def _work(asked: _Asked) -> tuple[StepWork, Step]:
    recipe = asked.recipe
    run, step = trace_one_step(recipe, asked.base_model, card=asked.card)
    if not run.work.operations:
        raise SpeedUnknown(
            f"{recipe.micro_batch_size:,} × {recipe.sequence_len:,} tokens at once are more than can be timed here.",
            setting="sequence_len",
        )
    documents = (asked.document_tokens or recipe.sequence_len) if recipe.sample_packing else None
    micro_batches = recipe.gradient_accumulation_steps
    return work_of_whole_step(run, step, micro_batches=micro_batches, document_tokens=documents), step


def _estimated(recipe: Recipe, card: Card, step: Step, timed: DeviceTime, expectation: Expectation) -> SpeedEstimate:
    on_device = timed.total_seconds / expectation.efficiency
    on_host = timed.kernels * HOST_SECONDS_PER_KERNEL
    expected = max(on_device, on_host)
    tokens = recipe.effective_batch_size * recipe.sequence_len
    seconds = expectation.time.times(expected)
    scale = expected / timed.total_seconds
    limited_by: LimitedBy = "host" if on_host > on_device else timed.limited_by
    return SpeedEstimate(
        gpu=card.name,
        flops_per_step=timed.work.total_flops,
        bytes_moved_per_step=timed.work.total_bytes,
        tokens_per_step=tokens,
        kernels_per_step=timed.kernels,
        step_seconds=seconds,
        tokens_per_second=seconds.of(tokens),
        expected_step_seconds=expected,
        limited_by=limited_by,
        stages={name: value * scale for name, value in timed.by_stage().items()},
        kinds={name: value * scale for name, value in timed.by_kind().items()},
        efficiency=expectation.efficiency,
        origin=expectation.origin,
        based_on=expectation.words,
        assumptions=(*_assumptions(recipe, card, step, timed), *_not_covered(card, timed, expectation)),
    )


def _assumptions(recipe: Recipe, card: Card, step: Step, timed: DeviceTime) -> Iterator[str]:
    yield (
        "Every kernel takes as long as the slower of its products and its bytes, at the same share of the data sheet; "
        f"the host is taken to need {1e6 * HOST_SECONDS_PER_KERNEL:.0f} µs to launch one."
    )
    yield "Positions that are padding count as tokens."
    if step.packed:
        yield _packed_words(timed)
    if step.dtype == "bfloat16" and not card.bf16:
        yield f"{card.name} emulates bfloat16: its products are taken to run at the rate of float32, or more slowly."
    if step.loss == "cut":
        yield "Cut cross-entropy leaves out words that are improbable; here it leaves out none."
    if step.offloading is not None:
        yield _link_words(card, timed)
    if step.quantization is not None and step.quantization.kind == "int8":
        yield "8-bit products are taken to run at twice the rate of half-precision ones."
    if step.optimizer.startswith("paged_"):
        yield "A paged optimizer is taken to stay on the card; what moves to the host and back takes longer."


def _packed_words(timed: DeviceTime) -> str:
    kernels = [operation.attends for operation in timed.work.operations if operation.attends is not None]
    if kernels and all(attends.keeps_apart for attends in kernels):
        return "Attention over packed rows looks no further than a document."
    return "Attention over packed rows computes pairs of tokens of different documents too."


def _not_covered(card: Card, timed: DeviceTime, expectation: Expectation) -> Iterator[str]:
    """What no public figure is of, so that real time may lie outside the range."""
    if any(operation.name == EXPERT_PRODUCT for operation in timed.work.operations):
        yield f"No public figure is of a mixture of experts: {_OUTSIDE}"
    if expectation.origin == "others" and card.compute_capability is None:
        yield f"No public figure is of an AMD card: {_OUTSIDE}"
    if expectation.origin == "others" and not card.reaches(_OLDEST_WITH_FIGURES):
        yield f"No public figure is of a card as old as {card.name}: {_OUTSIDE}"


def _link_words(card: Card, timed: DeviceTime) -> str:
    if card.host_link_gb_per_s is None:
        return f"How fast {card.name} reaches the host's memory is not known: copies to it and back are left out."
    if timed.copy_seconds == 0:
        return "Copies to the host's memory and back are hidden behind the kernels."
    return f"Copies to the host's memory and back cross its link at {card.host_link_gb_per_s:g} GB/s each way."
