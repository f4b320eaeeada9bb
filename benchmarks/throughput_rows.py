"""Public figures of throughput, read into the steps that ran and timed by the data sheet of their cards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from measured_rows import Row, RowAdapter, adapter_of, card_of, complete, model_of, step_of

from lora_explorer import presets
from lora_explorer.base_models import base_model_from_config
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.memory import find_card
from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.memory.runs.run_families import run_of
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything
from lora_explorer.speed.rates import rates_of
from lora_explorer.speed.roofline import device_time
from lora_explorer.speed.step_work import work_of_whole_step

RUN_COLUMNS = frozenset(
    {
        "gpu", "model", "adapter", "micro_batch_size", "sequence_len", "gradient_accumulation_steps", "quantization",
        "tokens_per_second", "seconds_per_step", "kind",
    }
)  # fmt: skip
GROUP_COLUMNS = frozenset({"source", "software", "compared", "step", "adapter_in_float32", "runs"})


class UnknownFigure(Exception):
    """The file says something that this script does not know how to predict."""


@dataclass(frozen=True)
class Figure:
    """One public figure, and what its step would take by the card's data sheet.

    measured_seconds, sheet_seconds, kernels: of an optimizer step. compared_with: the card whose figure of the same
    kind and software stands beside it; empty where the figure stands alone.
    """

    id: str
    gpu: str
    model: str
    tokens: int
    measured_seconds: float
    sheet_seconds: float
    kernels: int
    kind: str
    compared_with: str

    @property
    def is_reference(self) -> bool:
        """Whether others are compared with it, so that it says what its software does and nothing of its card."""
        return self.gpu == self.compared_with

    @property
    def share(self) -> float:
        """Of the data sheet."""
        return self.sheet_seconds / self.measured_seconds


def figures() -> Iterator[Figure]:
    """Every figure of presets/throughput.yml. Raises UnknownFigure."""
    file = _public()
    for group in file["groups"]:
        unknown = set(group) - GROUP_COLUMNS
        for run in group["runs"]:
            unknown |= set(run) - RUN_COLUMNS
        if unknown:
            raise UnknownFigure(f"unknown columns {', '.join(sorted(unknown))}")
        for run in group["runs"]:
            yield _figure(run, group, file)


def measured_figures(files: Iterable[Path]) -> tuple[list[Figure], list[str]]:
    """Measured runs with the throughput of one GPU, and the ids of those without. Raises UnknownRow."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [complete(json.loads(line)) for line in lines]
    told = [row for row in rows if "tokens_per_s" in row["measured"].get("throughput", {})]
    return [_measured_figure(row) for row in told], [row["id"] for row in rows if row not in told]


def _measured_figure(row: Row) -> Figure:
    card = card_of(row)
    step = step_of(row, card)
    traced = run_of(load_skeleton(model_of(row)), step, adapter_of(row))
    timed = device_time(work_of_whole_step(traced, step), step, rates_of(card, tf32=False))
    return Figure(
        id=row["id"],
        gpu=card.name,
        model=_name_of(row),
        tokens=step.tokens,
        measured_seconds=step.tokens / row["measured"]["throughput"]["tokens_per_s"],
        sheet_seconds=timed.total_seconds,
        kernels=timed.kernels,
        kind="",
        compared_with="",
    )


def _name_of(row: Row) -> str:
    """What presets/throughput.yml calls the model, so that its figures there can be left out; else the row's name."""
    config: Mapping[str, Any] = row["model_config"]
    for name, known in _public()["models"].items():
        if all(config[key] == known[key] for key in config.keys() & known.keys()):
            return str(name)
    return str(row["model_id"])


@cache
def _public() -> Any:
    return yaml.safe_load((presets.folder() / "throughput.yml").read_text(encoding="utf-8"))


def _figure(run: Mapping[str, Any], group: Mapping[str, Any], file: Mapping[str, Any]) -> Figure:
    card = find_card(run["gpu"])
    micro_batches = run.get("gradient_accumulation_steps", 1)
    step = _step(run, group, flash_kernels=card.flash_attention)
    config = file["models"][run["model"]]
    skeleton = load_skeleton(base_model_from_config(json.dumps(config), config["model_type"]))
    traced = run_of(skeleton, step, _adapter(run, group, file))
    work = work_of_whole_step(traced, step, micro_batches=micro_batches)
    timed = device_time(work, step, rates_of(card, tf32=False))
    tokens = step.tokens * micro_batches
    compared = group["compared"]
    method = "full" if run["adapter"] is None else run["adapter"]
    quantization = run.get("quantization") or group["step"].get("quantization")
    return Figure(
        id=f"{run['gpu']}, {run['model']}, {method}{', ' + quantization if quantization else ''}, "
        f"{micro_batches} x {step.micro_batch_size} x {step.sequence_len}",
        gpu=run["gpu"],
        model=run["model"],
        tokens=tokens,
        measured_seconds=run.get("seconds_per_step") or tokens / run["tokens_per_second"],
        sheet_seconds=timed.total_seconds,
        kernels=timed.kernels,
        kind=run.get("kind", ""),
        compared_with="" if compared == "alone" else compared.removeprefix("with "),
    )


def _step(run: Mapping[str, Any], group: Mapping[str, Any], *, flash_kernels: bool) -> Step:
    settings = dict(group["step"])
    quantization = run.get("quantization") or settings.pop("quantization", None)
    return Step(
        micro_batch_size=run["micro_batch_size"],
        sequence_len=run["sequence_len"],
        flash_kernels=flash_kernels,
        quantization=Quantization(quantization) if quantization else None,
        **settings,
    )


def _adapter(run: Mapping[str, Any], group: Mapping[str, Any], file: Mapping[str, Any]) -> Adapter:
    if run["adapter"] is None:
        return Everything()
    settings = {"task_type": "CAUSAL_LM", **file["adapters"][run["adapter"]]}
    return RowAdapter(json.dumps(settings), bool(group.get("adapter_in_float32", True)))
