"""Hold memory predictions against measured runs.

    python benchmarks/accuracy.py FILE.jsonl... [--json] [--full-depth]

Each line of a file is one measured run: the model's config, the adapter, the training loop, and what was measured.
A row or column that is not known is an error, never skipped.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

from lora_explorer.base_models import BaseModel, base_model_from_config
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
from lora_explorer.memory import Card, cards
from lora_explorer.memory.prepared_model import Adapter, Everything
from lora_explorer.memory.step import Attention, Quantization, Step
from lora_explorer.memory.timeline import replay
from lora_explorer.memory.traced_run import timeline_of, trace_run

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# measured column -> quantity; None for columns that are no prediction of ours.
QUANTITIES: dict[str, str | None] = {
    "allocated_after_load_bytes": "allocated_after_load",
    "peak_forward_bytes": "peak_forward",
    "peak_backward_bytes": "peak_backward",
    "peak_optimizer_bytes": "peak_optimizer",
    "peak_allocated_bytes": "peak_allocated",
    "peak_reserved_bytes": "peak_reserved",
    "process_bytes": "process",
    "trainable_params": "trainable_params",
    "all_params": "all_params",
    "cuda_context_bytes": None,
    "optimizer_state_bytes": None,
    "gradient_bytes": None,
    "allocated_bytes_running_max": None,
    "nvidia_smi_peak_minus_initial_mean_over_gpus": None,
    "throughput": None,
}
PEER_QUANTITIES = {"tensors_bytes": "peak_allocated", "process_bytes": "process"}
COLUMNS = frozenset(
    {
        "id", "source", "gpu", "versions", "model_id", "model_config", "adapter", "base_quantization", "double_quant",
        "dtype", "loop", "autocast", "adapter_dtype", "prepare_model_for_kbit_training", "micro_batch_size",
        "sequence_len", "gradient_checkpointing", "use_reentrant", "use_cache", "attn_implementation", "sdpa_kernel",
        "optimizer", "n_gpus", "parallelism", "measured", "peer_prediction", "note", "stack_as_published", "packing",
    }
)  # fmt: skip
CARD_NAMES = {"Tesla T4": "T4", "NVIDIA A100-80GB": "A100 80GB SXM"}
ATTENTIONS: dict[str, Attention] = {"eager": "eager", "sdpa": "sdpa", "flash_attention_2": "varlen"}


class UnknownRow(Exception):
    """The row says something that this script does not know how to predict."""


@dataclass(frozen=True)
class Comparison:
    """One quantity of one row. error_percent: of the measurement, negative when too low."""

    id: str
    quantity: str
    predicted: int
    measured: int
    error_percent: float
    peer_error_percent: float | None


@dataclass(frozen=True)
class RowAdapter:
    """A LoRA adapter as a row names it."""

    r: int
    lora_alpha: int
    lora_dropout: float
    target_modules: tuple[str, ...]
    float32: bool

    def inject(self, model: PreTrainedModel) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=self.r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=list(self.target_modules),
            task_type="CAUSAL_LM",
        )
        adapted: nn.Module = get_peft_model(model, config, autocast_adapter_dtype=self.float32)
        return adapted

    def layer_kinds(self, skeleton: Skeleton) -> Sequence[Hashable]:
        return [0] * skeleton.num_layers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--full-depth", action="store_true", help="trace every layer of every model")
    options = parser.parse_args()
    try:
        rows = [json.loads(line) for file in options.files for line in file.read_text().splitlines() if line.strip()]
        compared = [c for row in rows for c in compare(row, full_depth=options.full_depth)]
    except UnknownRow as error:
        print(error, file=sys.stderr)
        return 1
    report = {"rows": [asdict(each) for each in compared], "summary": summarize(compared)}
    if options.json:
        print(json.dumps(report))
    else:
        print_tables(compared, summarize(compared))
    return 0


def compare(row: Mapping[str, Any], *, full_depth: bool = False) -> Iterator[Comparison]:
    """Predict a row and hold every known quantity against what was measured. Raises UnknownRow."""
    unknown = [*(set(row) - COLUMNS), *(set(row["measured"]) - set(QUANTITIES))]
    if unknown:
        raise UnknownRow(f"{row.get('id')}: unknown columns {', '.join(sorted(unknown))}")
    predicted = predict(row, full_depth=full_depth)
    peer = {PEER_QUANTITIES[k]: v for k, v in (row.get("peer_prediction") or {}).items() if k in PEER_QUANTITIES}
    for column, measured in row["measured"].items():
        quantity = QUANTITIES[column]
        if quantity is None or measured is None:
            continue
        peer_error = _percent(peer[quantity], measured) if quantity in peer else None
        value = predicted[quantity]
        yield Comparison(row["id"], quantity, value, measured, _percent(value, measured), peer_error)


def predict(row: Mapping[str, Any], *, full_depth: bool = False) -> dict[str, int]:
    """Every quantity of a row, predicted."""
    card = card_of(row)
    step = step_of(row, card)
    skeleton = load_skeleton(model_of(row))
    run = trace_run(skeleton, step, adapter_of(row), full_depth=full_depth)
    result = replay(timeline_of(run, step, card.workspace_bytes), card.capacity_bytes)
    trainable = sum(_numel(tensor.shape) for tensor in run.trained)
    context = row["measured"].get("cuda_context_bytes", card.context_bytes)
    return {
        "allocated_after_load": result.after_load_bytes,
        "peak_forward": result.peaks_bytes.get("forward", 0),
        "peak_backward": result.peaks_bytes.get("backward", 0),
        "peak_optimizer": result.peaks_bytes.get("optimizer", 0),
        "peak_allocated": result.peak_allocated_bytes,
        "peak_reserved": result.peak_reserved_bytes,
        "process": result.peak_reserved_bytes + context,
        "trainable_params": trainable,
        "all_params": skeleton.total_params + (trainable if row["adapter"] else 0),
    }


def model_of(row: Mapping[str, Any]) -> BaseModel:
    return base_model_from_config(json.dumps(row["model_config"]), row["model_id"])


def card_of(row: Mapping[str, Any]) -> Card:
    name = CARD_NAMES.get(row["gpu"])
    found = next((card for card in cards() if card.name == name), None)
    if found is None:
        raise UnknownRow(f"{row['id']}: unknown gpu {row['gpu']}")
    return found


def adapter_of(row: Mapping[str, Any]) -> Adapter:
    given = row["adapter"]
    if given is None:
        return Everything()
    return RowAdapter(
        given["lora_r"],
        given["lora_alpha"],
        given["lora_dropout"],
        tuple(given["lora_target_modules"]),
        row["adapter_dtype"] == "float32",
    )


def step_of(row: Mapping[str, Any], card: Card) -> Step:
    """The training loop that a row describes. Raises UnknownRow."""
    if row["loop"] not in ("plain", "trl") or row.get("n_gpus", 1) != 1:
        raise UnknownRow(f"{row['id']}: loop {row['loop']} on {row.get('n_gpus')} GPUs is not known")
    trainer = row["loop"] == "trl"
    reentrant = row.get("use_reentrant", trainer)
    # The fms plugin quantizes and wraps the model itself, without PEFT's k-bit preparation.
    plugin = row.get("stack_as_published", "").startswith("fms plugin config 'accelerated-peft-bnb'")
    return Step(
        micro_batch_size=row["micro_batch_size"],
        sequence_len=row["sequence_len"],
        loading="placed" if trainer or row["base_quantization"] else "moved",
        dtype=row["dtype"],
        autocast=row.get("autocast", trainer),
        quantization=_quantization(row),
        kbit_preparation=row.get("prepare_model_for_kbit_training", _quantization(row) is not None and not plugin),
        conversions="trl" if trainer else "none",
        attention=ATTENTIONS[row["attn_implementation"]],
        flash_kernels=card.flash_attention,
        loss="shifted" if _transformers_version(row) < (4, 50) else "plain",
        checkpointing=("reentrant" if reentrant else "non-reentrant") if row["gradient_checkpointing"] else None,
        inputs_require_grads=bool(row["adapter"]) and bool(reentrant),
        keeps_outputs=not trainer,
        outputs_to_float32=trainer,
        attention_mask=False,
        optimizer=row["optimizer"],
        clips_gradients=trainer,
    )


def _transformers_version(row: Mapping[str, Any]) -> tuple[int, ...]:
    versions = row["versions"]
    text = versions.get("transformers") or re.findall(r"transformers ([\d.]+)", versions["as_published"])[0]
    return tuple(int(part) for part in text.split(".")[:2])


def _quantization(row: Mapping[str, Any]) -> Quantization | None:
    kinds: dict[str, Literal["nf4", "int8"]] = {"nf4": "nf4", "int8": "int8"}
    if row["base_quantization"] is None:
        return None
    return Quantization(kinds[row["base_quantization"]], row["double_quant"])


def summarize(compared: Sequence[Comparison]) -> dict[str, dict[str, float]]:
    """For each quantity: rows, mean and worst error, and the worst prediction that was too low."""
    quantities = dict.fromkeys(each.quantity for each in compared)
    return {name: _summary([c.error_percent for c in compared if c.quantity == name]) for name in quantities}


def _summary(errors: Sequence[float]) -> dict[str, float]:
    return {
        "rows": len(errors),
        "mean_abs_percent": mean(abs(error) for error in errors),
        "worst_abs_percent": max(abs(error) for error in errors),
        "worst_under_percent": max(0.0, -min(errors)),
    }


def print_tables(compared: Sequence[Comparison], summary: Mapping[str, Mapping[str, float]]) -> None:
    for each in compared:
        peer = "" if each.peer_error_percent is None else f"{each.peer_error_percent:+9.2f} %"
        print(
            f"{each.id:90} {each.quantity:22} {each.predicted:15,} {each.measured:15,} "
            f"{each.error_percent:+8.2f} % {peer}"
        )
    print(f"\n{'quantity':24}{'rows':>6}{'mean':>10}{'worst':>10}{'worst under':>14}")
    for name, figures in summary.items():
        print(
            f"{name:24}{figures['rows']:6.0f}{figures['mean_abs_percent']:9.2f} %{figures['worst_abs_percent']:8.2f} %"
            f"{figures['worst_under_percent']:12.2f} %"
        )


def _percent(predicted: float, measured: float) -> float:
    return 100 * (predicted - measured) / measured


def _numel(shape: tuple[int, ...]) -> int:
    product = 1
    for extent in shape:
        product *= extent
    return product


if __name__ == "__main__":
    raise SystemExit(main())
