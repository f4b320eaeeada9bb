"""Rows of measured runs, read into the step, the adapter and the card that predictions are made from.

A row or column that is not known is an error, never skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from lora_explorer.base_models import BaseModel, base_model_from_config
from lora_explorer.base_models.skeleton import Skeleton
from lora_explorer.memory import Card, cards
from lora_explorer.memory.plan.parallel import Parallelism
from lora_explorer.memory.plan.step import Attention, Loading, Quantization, Step
from lora_explorer.memory.tracing.prepared_model import Adapter, Everything

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

Row = Mapping[str, Any]

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
    "num_trainable_params": "trainable_params",
    "num_total_params": "all_params",
    "accelerator_memory_max": "peak_reserved",
    "accelerator_memory_reserved_avg": None,
    "file_size": None,
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
        "id", "source", "gpu", "versions", "model_id", "model_config", "adapter", "peft_config", "base_quantization",
        "double_quant", "dtype", "loop", "autocast", "adapter_dtype", "prepare_model_for_kbit_training",
        "micro_batch_size", "sequence_len", "gradient_checkpointing", "use_reentrant", "use_cache",
        "attn_implementation", "sdpa_kernel", "optimizer", "n_gpus", "parallelism", "measured", "peer_prediction",
        "note", "stack_as_published", "packing",
    }
)  # fmt: skip
NEEDED = frozenset(
    {
        "id", "gpu", "model_id", "model_config", "loop", "dtype", "micro_batch_size", "sequence_len",
        "gradient_checkpointing", "attn_implementation", "optimizer", "measured",
    }
)  # fmt: skip
CARD_NAMES = {"NVIDIA A100-80GB": "A100 80GB SXM"}
ATTENTIONS: dict[str, Attention] = {
    "eager": "eager",
    "sdpa": "sdpa",
    "flash_attention_2": "varlen",
    "flex_attention": "blockwise",
}
QUANTIZATIONS: dict[str, Literal["nf4", "fp4", "int8"]] = {"nf4": "nf4", "fp4": "fp4", "int8": "int8"}

# From this transformers on a checkpoint lies inside the layer (modeling_layers.GradientCheckpointingLayer).
CHECKPOINTS_INSIDE = (4, 53)
# From this transformers on the loss does not copy the logits to cut the last one off.
UNSHIFTED_LOSS = (4, 50)
# From this transformers on threads read a checkpoint while the main thread packs it (core_model_loading.py).
READER_THREADS = (5, 0)
NEWEST = (5, 23)

# PEFT's method_comparison/MetaMathQA: run.py and default_training_params.json. Rows of a batch are filled up to the
# longest; no row is longer than 768 tokens. The longest batch of a run is not recorded.
METAMATHQA = "huggingface/peft method_comparison/MetaMathQA"
METAMATHQA_LOOP: dict[str, Any] = {
    "dtype": "bfloat16",
    "loop": "plain",
    "autocast": False,
    "adapter_dtype": "float32",
    "base_quantization": None,
    "double_quant": False,
    "prepare_model_for_kbit_training": False,
    "micro_batch_size": 4,
    "sequence_len": 768,
    "gradient_checkpointing": False,
    "attn_implementation": "sdpa",
    # Rows differ in length, and transformers repeats keys and values wherever a mask is needed.
    "sdpa_kernel": "with a mask, keys and values repeated to all heads",
    "optimizer": "adamw_torch",
}
# PEFT's settings that treat one layer otherwise than the next.
_OF_SINGLE_LAYERS = (
    "layers_to_transform", "rank_pattern", "alpha_pattern", "layer_replication", "modules_to_save",
    "target_parameters",
)  # fmt: skip


class UnknownRow(Exception):
    """The row says something that this script does not know how to predict."""


@dataclass(frozen=True)
class RowAdapter:
    """A LoRA adapter as a row names it. settings: JSON of `peft.LoraConfig`'s arguments; text, to be hashable."""

    settings: str
    float32: bool

    @cached_property
    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads(self.settings)
        return settings

    def inject(self, model: PreTrainedModel) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        adapted: nn.Module = get_peft_model(model, LoraConfig(**self._settings), autocast_adapter_dtype=self.float32)
        return adapted

    def layer_kinds(self, skeleton: Skeleton) -> Sequence[Hashable]:
        alike = not any(self._settings.get(name) for name in _OF_SINGLE_LAYERS)
        return [0 if alike else layer for layer in range(skeleton.num_layers)]


def complete(row: Row) -> Row:
    """The row with what its published script fixes. Raises UnknownRow for columns that are not known."""
    unknown = [*(set(row) - COLUMNS), *(set(row.get("measured", ())) - set(QUANTITIES))]
    if unknown:
        raise UnknownRow(f"{row.get('id')}: unknown columns {', '.join(sorted(unknown))}")
    completed = {**METAMATHQA_LOOP, **row} if row.get("source") == METAMATHQA else dict(row)
    missing = NEEDED - set(completed)
    if missing:
        raise UnknownRow(f"{row.get('id')}: nothing says {', '.join(sorted(missing))}")
    return completed


def is_only_relative(row: Row) -> bool:
    """Whether the row's memory can only be compared with that of its siblings: the longest batch is not known."""
    return bool(row.get("source") == METAMATHQA)


def model_of(row: Row) -> BaseModel:
    return base_model_from_config(json.dumps(row["model_config"]), row["model_id"])


def card_of(row: Row) -> Card:
    """The card of presets/gpus.yml that shares most words with the row's. Raises UnknownRow."""
    name: str = row["gpu"]
    wanted = _words(CARD_NAMES.get(name, name))
    alike = [card for card in cards() if _words(card.name)[0] in wanted]
    if not alike:
        raise UnknownRow(f"{row['id']}: unknown gpu {row['gpu']}")
    return max(alike, key=lambda card: len(set(_words(card.name)) & set(wanted)))


def _words(name: str) -> list[str]:
    words = re.split(r"[\s\-]+", name.casefold())
    return [re.sub(r"^sxm\d?$", "sxm", word) for word in words if word not in ("nvidia", "tesla", "geforce")]


def adapter_of(row: Row) -> Adapter:
    """Raises UnknownRow for an adapter that is not LoRA."""
    settings = _lora_settings(row)
    if settings is None:
        return Everything()
    # Under FSDP's own mixed precision adapters are gathered, and compute, in the type of the step.
    sharded = parallelism_of(row)
    float32 = row.get("adapter_dtype") == "float32" and not (sharded is not None and sharded.float32_shards)
    return RowAdapter(json.dumps(settings), float32)


def _lora_settings(row: Row) -> dict[str, Any] | None:
    if row.get("peft_config") is not None:
        settings = dict(row["peft_config"])
        if settings.pop("peft_type", "LORA") != "LORA":
            raise UnknownRow(f"{row['id']}: {row['peft_config']['peft_type']} is not LoRA")
        return settings
    given = row.get("adapter")
    if given is None:
        return None
    names = {
        "lora_r": "r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout", "peft_use_dora": "use_dora",
        "lora_target_modules": "target_modules", "peft_use_rslora": "use_rslora", "lora_modules_to_save":
        "modules_to_save", "lora_target_linear": "target_modules",
    }  # fmt: skip
    unknown = set(given) - set(names)
    if unknown:
        raise UnknownRow(f"{row['id']}: unknown adapter settings {', '.join(sorted(unknown))}")
    settings = {names[name]: value for name, value in given.items() if name != "lora_target_linear"}
    if given.get("lora_target_linear"):
        settings["target_modules"] = "all-linear"
    return {"task_type": "CAUSAL_LM", **settings}


def step_of(row: Row, card: Card) -> Step:
    """The training loop that a completed row describes. Raises UnknownRow."""
    for column, known in (("loop", ("plain", "trl")), ("attn_implementation", ATTENTIONS)):
        if row[column] not in known:
            raise UnknownRow(f"{row['id']}: {column} {row[column]} is not known")
    trainer, reentrant = row["loop"] == "trl", _is_reentrant(row)
    parallelism = parallelism_of(row)
    autocast = _is_mixed_precision(row)
    adapted = _lora_settings(row) is not None
    return Step(
        micro_batch_size=row["micro_batch_size"],
        sequence_len=row["sequence_len"],
        loading=_loading(row),
        dtype=row["dtype"],
        autocast=autocast,
        quantization=_quantization(row),
        kbit_preparation=_is_prepared(row),
        conversions="trl" if trainer else "none",
        attention=ATTENTIONS[row["attn_implementation"]],
        flash_kernels=card.flash_attention,
        repeats_keys=bool(re.search("repeat|expand", row.get("sdpa_kernel") or "")),
        loss="shifted" if _transformers_version(row) < UNSHIFTED_LOSS else "plain",
        checkpointing=("reentrant" if reentrant else "non-reentrant") if row["gradient_checkpointing"] else None,
        inputs_require_grads=adapted and bool(row["gradient_checkpointing"]),
        keeps_outputs=not trainer,
        outputs_to_float32=autocast,
        attention_mask=False,
        labels_are_inputs=not trainer and not is_only_relative(row),
        optimizer=row["optimizer"],
        clips_gradients=trainer or row.get("source") == METAMATHQA,
        parallelism=parallelism,
    )


def parallelism_of(row: Row) -> Parallelism | None:
    """How several GPUs share the run; None for one. Raises UnknownRow."""
    n_gpus, words = row.get("n_gpus") or 1, row.get("parallelism") or "none"
    if n_gpus == 1:
        return None
    if words.split(",")[0] in ("none", "DDP"):
        return Parallelism(n_gpus)
    if not words.startswith("FSDP FULL_SHARD") or "no offload" not in words:
        raise UnknownRow(f"{row['id']}: parallelism {words} is not known")
    return Parallelism(
        n_gpus,
        "full",
        float32_shards=_is_mixed_precision(row),
        holds_layer_inputs=_is_reentrant(row) and _transformers_version(row) < CHECKPOINTS_INSIDE,
    )


def _is_mixed_precision(row: Row) -> bool:
    # scripts/benchmarks/scenarios.yaml of fms-acceleration asks for it with bitsandbytes only.
    usual = _quantization(row) is not None if row.get("stack_as_published", "").startswith("fms ") else True
    return bool(row.get("autocast", row["loop"] == "trl" and usual))


def _is_reentrant(row: Row) -> bool:
    return bool(row.get("use_reentrant", row["loop"] == "trl"))


def _is_prepared(row: Row) -> bool:
    # The fms plugin quantizes and wraps the model itself, and TRL leaves sharded 4-bit models as they are.
    plugin = row.get("stack_as_published", "").startswith("fms plugin config 'accelerated-peft-bnb'")
    usual = _quantization(row) is not None and not plugin and parallelism_of(row) is None
    return bool(row.get("prepare_model_for_kbit_training", usual))


def _loading(row: Row) -> Loading:
    placed = row["loop"] == "trl" or row.get("base_quantization") or row.get("source") == METAMATHQA
    if not placed:
        return "moved"
    return "raced" if _transformers_version(row) >= READER_THREADS else "placed"


def _transformers_version(row: Row) -> tuple[int, ...]:
    versions = row.get("versions") or {}
    text = versions.get("transformers") or ""
    published = re.findall(r"transformers ([\d.]+)", versions.get("as_published", ""))
    text = text or (published[0] if published else "")
    return tuple(int(part) for part in text.split(".")[:2]) if text else NEWEST


def _quantization(row: Row) -> Quantization | None:
    kind = row.get("base_quantization")
    if kind is None:
        return None
    if kind not in QUANTIZATIONS:
        raise UnknownRow(f"{row['id']}: base_quantization {kind} is not known")
    return Quantization(QUANTIZATIONS[kind], bool(row.get("double_quant")))
