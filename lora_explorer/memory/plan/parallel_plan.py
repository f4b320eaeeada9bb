"""From Axolotl's keys for several GPUs to how they share a step, and what was assumed.

The keys (axolotl/utils/schemas/config.py) are no settings here: they stay in the YAML and are read from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lora_explorer.memory.plan.parallel import Parallelism, Sharding
from lora_explorer.memory.plan.step import Step

_SPLIT = ("tensor_parallel_size", "context_parallel_size", "expert_parallel_size")
_OFFLOADS = ("offload_params", "fsdp_offload_params", "cpu_offload", "fsdp_cpu_offload")
_ZERO_FILE = re.compile(r"zero[_-]?([0-3])(?!\d)")
_PARTLY_SHARED = "DeepSpeed is counted without sharing states and gradients, which is more than it needs."
_DEEPSPEED_WORDS: Mapping[int | None, str] = {
    None: "DeepSpeed's stage cannot be read from the file; it is counted without sharing anything.",
    0: "DeepSpeed shares nothing at stage 0.",
    1: _PARTLY_SHARED,
    2: _PARTLY_SHARED,
    3: "DeepSpeed is counted as FSDP's full sharding; its own buffers are not counted.",
}


@dataclass(frozen=True)
class ParallelPlan:
    """How many GPUs share one copy of the model and how. words: what was taken for granted, one sentence each."""

    n_gpus: int = 1
    sharding: Sharding = "none"
    words: tuple[str, ...] = ()

    def spread(self, step: Step) -> Step:
        """The step as each of the GPUs runs it."""
        if self.n_gpus == 1:
            return step
        if self.sharding == "none":
            return replace(step, parallelism=Parallelism(self.n_gpus))
        # A unit is flattened into one tensor: Axolotl leaves k-bit preparation and its changes of type out
        # (axolotl/loaders/model.py), and accelerate keeps shares of what is trained in float32.
        sharded = Parallelism(self.n_gpus, "full", float32_shards=step.autocast)
        return replace(step, kbit_preparation=False, conversions="none", parallelism=sharded)


def plan_parallel(n_gpus: int, keys: Mapping[Any, Any]) -> ParallelPlan:
    """n_gpus: cards that train side by side. keys: what the YAML says, by Axolotl's names."""
    if n_gpus == 1:
        return ParallelPlan()
    shards = _shards(n_gpus, keys)
    if shards == 1:
        return ParallelPlan(n_gpus, "none", tuple(_words(n_gpus, keys)))
    return ParallelPlan(shards, "full", tuple(_words(n_gpus, keys)))


def _shards(n_gpus: int, keys: Mapping[Any, Any]) -> int:
    """GPUs among which one copy of the model is divided; with hybrid sharding there are several copies."""
    if not _fsdp(keys) and _zero_stage(keys) != 3:
        return 1
    copies = keys.get("dp_replicate_size")
    whole = isinstance(copies, int) and copies > 1 and n_gpus % copies == 0
    return n_gpus // copies if whole and isinstance(copies, int) else n_gpus


def _fsdp(keys: Mapping[Any, Any]) -> Mapping[Any, Any]:
    config = keys.get("fsdp_config")
    return config if isinstance(config, Mapping) else {}


def _zero_stage(keys: Mapping[Any, Any]) -> int | None:
    """The stage of DeepSpeed's ZeRO: of an inline block, or in the name of a file, as Axolotl names its own.

    Axolotl's are called deepspeed_configs/zero3_bf16.json and the like. None where neither says it.
    """
    given = keys.get("deepspeed")
    if isinstance(given, Mapping):
        block = given.get("zero_optimization")
        stage = block.get("stage") if isinstance(block, Mapping) else 0
        return stage if stage in (0, 1, 2, 3) else None
    named = _ZERO_FILE.search(given.casefold()) if isinstance(given, str) else None
    return int(named[1]) if named else None


def _words(n_gpus: int, keys: Mapping[Any, Any]) -> Iterator[str]:
    shards = _shards(n_gpus, keys)
    if shards > 1:
        yield (
            f"Each of the {n_gpus} GPUs keeps a share (1 of {shards}) of every parameter, gradient and optimizer state "
            "and gathers one layer at a time, as FSDP's full sharding does; nothing of it is offloaded."
        )
    else:
        yield (
            f"Each of the {n_gpus} GPUs holds the whole model, rows of its own, and the buckets in which gradients are "
            "exchanged, as DistributedDataParallel does."
        )
    yield from _fsdp_words(keys)
    yield "What NCCL allocates for itself is not counted."
    if keys.get("deepspeed"):
        yield _DEEPSPEED_WORDS[_zero_stage(keys)]
    if "offload" in str(keys.get("deepspeed")) or any(_fsdp(keys).get(name) for name in _OFFLOADS):
        yield "The file asks for offloading to the host; it is counted as not offloaded, which is more than it needs."
    for name in _SPLIT:
        size = keys.get(name)
        if isinstance(size, int) and size > 1:
            yield f"{name} is not modelled: every GPU is counted with whole layers and whole rows."


def _fsdp_words(keys: Mapping[Any, Any]) -> Iterator[str]:
    if not _fsdp(keys):
        if keys.get("fsdp") or keys.get("fsdp_config"):
            yield "Axolotl takes FSDP from a block under fsdp_config alone; no sharding is counted."
        return
    yield "Axolotl's FSDP2 shards each parameter by itself; it is counted like FSDP1, which makes one of a layer's."
    if _fsdp(keys).get("reshard_after_forward") is False:
        yield "Gathered weights are counted as let go after each layer, though the file keeps them until backward."
