"""Results as plain dictionaries and lists: what `--json` prints, and what a script gets to store.

The names are contracts; sizes are bytes, counts are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lora_explorer.memory.result import in_parts
from lora_explorer.report import moments

if TYPE_CHECKING:
    from lora_explorer.adapters.new_tokens import NewTokensAdvice, Way
    from lora_explorer.adapters.result import AdapterPlan
    from lora_explorer.exports.axolotl.filled_in import FilledIn
    from lora_explorer.findings import Finding
    from lora_explorer.memory import CardFit, MemoryEstimate
    from lora_explorer.memory.lower_bound import LowerBound
    from lora_explorer.memory.new_tokens import Weight
    from lora_explorer.memory.savings import Saving
    from lora_explorer.speed.on_cards import CardTime

Record = dict[str, Any]


def finding_records(findings: Iterable[Finding]) -> list[Record]:
    return [asdict(finding) for finding in findings]


def check_record(findings: Iterable[Finding], filled_in: Iterable[FilledIn]) -> Record:
    """What is wrong with a file, and what Axolotl puts into it by itself."""
    return {"findings": finding_records(findings), "filled_in": [asdict(each) for each in filled_in]}


def count_record(plan: AdapterPlan) -> Record:
    """What is trained: the sums, every trained module, and what each target entry matched."""
    return {
        "trainable_params": plan.trainable_params,
        "all_params": plan.all_params,
        "trainable_percent": plan.trainable_percent,
        "adapter_file_bytes": plan.adapter_file_bytes,
        "modules": [asdict(module) | {"shape": list(module.shape)} for module in plan.modules],
        "coverage": [
            asdict(entry) | {"layers": list(entry.layers), "nearest": list(entry.nearest)} for entry in plan.coverage
        ],
    }


def estimate_record(estimate: MemoryEstimate, *, gpu: str | None = None) -> Record:
    """What a run needs on each card. gpu: only this card is held against it; None means every known one."""
    return asdict(estimate) | {
        "parts": dict(estimate.parts),
        "beyond_peak": dict(estimate.beyond_peak),
        "peak": asdict(estimate.peak) | {"words": moments.peak_in_words(estimate)},
        "assumptions": [sentence for sentence in estimate.assumptions if sentence],
        "fits": [fit_record(fit) for fit in estimate.fits if gpu is None or fit.gpu == gpu],
        "curve": [asdict(point) | {"parts": dict(point.parts)} for point in estimate.curve],
    }


def time_record(times: Iterable[CardTime]) -> Record:
    """How long a run takes on each card, and what it costs; ranges are [low, high]."""
    return {"cards": [_card_time_record(time) for time in times]}


def _card_time_record(time: CardTime) -> Record:
    speed = asdict(time.speed) | {
        "step_seconds": list(time.speed.step_seconds),
        "tokens_per_second": list(time.speed.tokens_per_second),
        "stages": dict(time.speed.stages),
        "kinds": dict(time.speed.kinds),
    }
    record = {"gpu": time.fit.gpu, "fits": time.fit.fits, **speed}
    if time.run is None:
        return record
    run = time.run
    return record | {
        "steps": run.steps,
        "steps_per_epoch": run.steps_per_epoch,
        "effective_batch_size": run.effective_batch_size,
        "trained_tokens": run.trained_tokens,
        "seconds": list(run.seconds),
        "dollars": list(run.dollars) if run.dollars else None,
        "price": asdict(run.price) if run.price else None,
        "assumptions": list(run.assumptions),
    }


def saving_records(savings: Iterable[Saving]) -> list[Record]:
    """What single changes would save, in the order given."""
    return [asdict(saving) | {"changes": dict(saving.changes)} for saving in savings]


def lower_bound_record(bound: LowerBound) -> Record:
    """What is known of a run that cannot be traced; no key of it is one of an estimate."""
    return {
        "lower_bound_bytes": bound.at_least_bytes,
        "lower_bound_parts": dict(in_parts(bound.parts)),
        "why": bound.reason,
        "left_out": list(bound.left_out),
    }


def new_tokens_record(advice: NewTokensAdvice, weights: Iterable[Weight | None]) -> Record:
    """Whether embedding and head are needed, and each way with what it adds; None where something is not known."""
    return {
        "need": advice.need,
        "sentence": advice.sentence,
        "pair": list(advice.pair),
        "missing": list(advice.missing),
        "new_tokens": asdict(advice.new_tokens) | {"special": [list(each) for each in advice.new_tokens.special]},
        "ways": [_way_record(way, weight) for way, weight in zip(advice.ways, weights, strict=True)],
    }


def _way_record(way: Way, weight: Weight | None) -> Record:
    return {
        "title": way.title,
        "in_the_file": way.is_chosen,
        "trainable_params": way.trainable_params,
        "adapter_file_bytes": way.adapter_file_bytes,
        "process_bytes": weight.process_bytes if weight else None,
        "more_process_bytes": weight.more_bytes if weight else None,
        "fits": weight.fits if weight else None,
        "caution": way.caution,
        "refused": way.refused,
        "changes": dict(way.fix),
    }


def fit_record(fit: CardFit) -> Record:
    """The verdict for one card; failed_in in words."""
    where = moments.stretch_in_words(fit.failed_in) if fit.failed_in else None
    return asdict(fit) | {"failed_in": where}
