"""Results as plain dictionaries and lists: what `--json` prints, and what a script gets to store.

The names are contracts; sizes are bytes, counts are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_explorer.adapters.result import AdapterPlan
    from lora_explorer.findings import Finding
    from lora_explorer.memory import MemoryEstimate

Record = dict[str, Any]


def finding_records(findings: Iterable[Finding]) -> list[Record]:
    return [asdict(finding) for finding in findings]


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


def estimate_record(estimate: MemoryEstimate, *, gpu: str | None = None, n_gpus: int = 1) -> Record:
    """What a run needs on each card.

    gpu: only this card is held against it; None means every known one. n_gpus: cards that train side by side.
    """
    fits = [asdict(fit) for fit in estimate.fits if gpu is None or fit.gpu == gpu]
    assumptions = [sentence for sentence in estimate.assumptions if sentence]
    if n_gpus > 1:
        assumptions.append(
            f"Each of the {n_gpus} GPUs holds the whole model and its own rows; the buckets in which gradients are "
            "exchanged are not counted."
        )
    return asdict(estimate) | {"parts": dict(estimate.parts), "assumptions": assumptions, "fits": fits}
