"""From Axolotl's keys for several GPUs to how they share a step, and what was assumed.

The keys (axolotl/utils/schemas/config.py) are no settings here: they stay in the YAML and are read from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lora_explorer.memory.plan.parallel import Parallelism, Sharding
from lora_explorer.memory.plan.step import Step

_SPLIT = ("tensor_parallel_size", "context_parallel_size")
_THIRD_STAGE = "zero3"


@dataclass(frozen=True)
class ParallelPlan:
    """How many GPUs share a step and how. words: what was taken for granted, one sentence each."""

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
    return ParallelPlan(n_gpus, _sharding(keys), tuple(_words(n_gpus, keys)))


def _sharding(keys: Mapping[Any, Any]) -> Sharding:
    return "full" if _is_fsdp(keys) or _THIRD_STAGE in _deepspeed(keys) else "none"


def _is_fsdp(keys: Mapping[Any, Any]) -> bool:
    return bool(keys.get("fsdp") or keys.get("fsdp_config"))


def _is_second_fsdp(keys: Mapping[Any, Any]) -> bool:
    config = keys.get("fsdp_config")
    nested = config.get("fsdp_version") if isinstance(config, Mapping) else None
    return _is_fsdp(keys) and 2 in (keys.get("fsdp_version"), nested)


def _deepspeed(keys: Mapping[Any, Any]) -> str:
    """The name of DeepSpeed's file, which in Axolotl's own says the stage: deepspeed_configs/zero3_bf16.json."""
    named = keys.get("deepspeed")
    return named.casefold().replace("_", "").replace("-", "") if isinstance(named, str) else ""


def _words(n_gpus: int, keys: Mapping[Any, Any]) -> Iterator[str]:
    if _sharding(keys) == "full":
        yield (
            f"Each of the {n_gpus} GPUs keeps a share of every parameter, gradient and optimizer state and gathers one "
            "layer at a time, as FSDP's full sharding does; nothing of it is offloaded."
        )
    else:
        yield (
            f"Each of the {n_gpus} GPUs holds the whole model, rows of its own, and the buckets in which gradients are "
            "exchanged, as DistributedDataParallel does."
        )
    if _is_second_fsdp(keys):
        yield "FSDP2 shards every parameter by itself; it is counted like FSDP1, which makes one tensor of a layer's."
    yield "What NCCL allocates for itself is not counted."
    if _deepspeed(keys):
        third = "counted as FSDP's full sharding; its own buffers are not counted"
        others = "counted without sharing states and gradients, which is more than it needs"
        yield f"DeepSpeed is {third if _THIRD_STAGE in _deepspeed(keys) else others}."
    for name in _SPLIT:
        size = keys.get(name)
        if isinstance(size, int) and size > 1:
            yield f"{name} is not modelled: every GPU is counted with whole layers and whole rows."
