"""Sweeps, searches, advice and effects as plain dictionaries: what `--json` prints. Sizes are bytes, counts exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from lora_explorer.report.records import Record, fit_record

if TYPE_CHECKING:
    from lora_explorer.exploration.advice import Advice, Step
    from lora_explorer.exploration.card_ends import CardEnd
    from lora_explorer.exploration.card_offers import CardOffer
    from lora_explorer.exploration.effects import Effect, Effects
    from lora_explorer.exploration.prediction import Prediction
    from lora_explorer.exploration.search import Largest
    from lora_explorer.exploration.sweep import Sweep, SweepPoint


def prediction_record(found: Prediction) -> Record:
    """tokens_per_second: from the slowest to the fastest, None where not known. problem: None where all is known."""
    return {
        "trainable_params": found.trainable_params,
        "adapter_file_bytes": found.adapter_file_bytes,
        "scaling": found.scaling,
        "process_bytes": found.process_bytes,
        "fits": [fit_record(fit) for fit in found.fits],
        "tokens_per_second": list(found.pace.likely) if found.pace else None,
        "problem": found.problem or None,
        "setting": found.setting or None,
    }


def point_record(sweep: Sweep, point: SweepPoint) -> Record:
    """One point. at: what it is on each axis, as it was typed; changes: the settings that make it current."""
    at = {axis.name: choice.name for axis, choice in zip(sweep.axes, sweep.choices_at(point.at), strict=True)}
    return {"event": "point", "at": at, "changes": dict(point.changes), **prediction_record(point.prediction)}


def sweep_end_record(sweep: Sweep, points: Iterable[SweepPoint], ends: Iterable[CardEnd]) -> Record:
    """What comes after the last point. ends: for each card the largest value along an axis that it holds."""
    refused = sum(point.prediction.problem != "" for point in points)
    return {
        "event": "finished",
        "points": sweep.size,
        "without_figures": refused,
        "ends": [_end_record(sweep, end) for end in ends],
    }


def _end_record(sweep: Sweep, end: CardEnd) -> Record:
    along = next(axis for axis in sweep.axes if axis.name == end.axis)
    others = [axis for axis in sweep.axes if axis is not along]
    values = [None if index is None else along.choices[index].name for index in end.largest]
    places = [choice.name for choice in others[0].choices] if others else [None]
    lines = [
        {"largest": value} if place is None else {others[0].name: place, "largest": value}
        for place, value in zip(places, values, strict=True)
    ]
    return {"gpu": end.gpu, "axis": end.axis, "lines": lines, "gaps": end.gaps}


def largest_record(found: Largest) -> Record:
    """value: None where not even the smallest fits; value + step does not fit, or is not allowed."""
    return {**asdict(found), "fit": fit_record(found.fit) if found.fit else None, "beyond": found.beyond or None}


def advice_record(advice: Advice) -> Record:
    """One change, or several that belong together, with all settings to set."""
    return {
        "changes": dict(advice.changes),
        "expands_segments": advice.expands_segments,
        "saved_bytes": advice.saved_bytes,
        "makes_fit": advice.makes_fit,
        "speed_factor": advice.speed_factor,
        "steps": [_step_record(step) for step in advice.steps],
    }


def _step_record(step: Step) -> Record:
    saving = step.saving
    return {
        "setting": saving.setting,
        "value": saving.value,
        "changes": dict(saving.changes),
        "saved_bytes": saving.saved_bytes,
        "costs": step.cost.level,
        "note": step.cost.note,
        "source": step.cost.source,
        "speed_factor": step.speed_factor,
    }


def offer_record(offer: CardOffer) -> Record:
    """A card that holds the run, with what is left on it; US dollars are None where not known."""
    return {
        "gpu": offer.card.name,
        "verdict": offer.fit.verdict,
        "headroom_bytes": offer.fit.headroom_bytes,
        "capacity_bytes": offer.card.memory_bytes,
        "usd_per_hour": offer.price.usd_per_hour if offer.price else None,
        "usd_per_million_tokens": offer.usd_per_million_tokens,
    }


def effects_record(effects: Effects) -> Record:
    """What a setting does from here: the present value, and its neighbours."""
    return {
        "setting": effects.setting,
        "now": _effect_record(effects.here),
        "others": [_effect_record(effect) for effect in effects.others],
    }


def _effect_record(effect: Effect) -> Record:
    return {"label": effect.label, "changes": dict(effect.changes), **prediction_record(effect.prediction)}
