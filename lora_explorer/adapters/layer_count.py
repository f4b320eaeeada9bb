"""How many parameters one layer of PEFT's has: build it once on meta and look."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from peft import LoraConfig
from peft.tuners.lora.model import LoraModel

from lora_explorer.adapters.structure import ADAPTER_NAME, Target


@dataclass(frozen=True)
class LayerCount:
    """What PEFT adds at one target. scaling: the factor on B·A.

    shapes: of what is added, by the first part of PEFT's name, such as lora_A. frozen: which of it is not trained.
    """

    r: int
    alpha: int
    scaling: float
    trainable_params: int
    added_params: int
    shapes: Mapping[str, tuple[int, ...]]
    frozen: frozenset[str]


def count_layer(target: Target, config: LoraConfig) -> LayerCount:
    """Build the layer for a target with the ranks of a config. PEFT's own errors come through as they are."""
    r, alpha = target.rank.of(config.r), target.alpha.of(config.lora_alpha)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = LoraModel._create_new_module(
            config,
            ADAPTER_NAME,
            target.module,
            device_map=None,
            r=r,
            lora_alpha=alpha,
            target_name=target.path,
            parameter_name=target.parameter_name,
            loaded_in_8bit=False,
            loaded_in_4bit=False,
            tied_adapter={},
        )
    of_base = {id(parameter) for parameter in target.module.parameters()}
    named = [(name, parameter) for name, parameter in layer.named_parameters() if id(parameter) not in of_base]
    added = [parameter for _, parameter in named]
    return LayerCount(
        r=r,
        alpha=alpha,
        scaling=layer.scaling[ADAPTER_NAME],
        trainable_params=sum(parameter.numel() for parameter in added if parameter.requires_grad),
        added_params=sum(parameter.numel() for parameter in added),
        shapes={name.partition(".")[0]: tuple(parameter.shape) for name, parameter in named},
        frozen=frozenset(name.partition(".")[0] for name, parameter in named if not parameter.requires_grad),
    )


def count_key(target: Target) -> Hashable:
    """Equal for targets whose layers have equal counts."""
    return target.shape_key, target.rank, target.alpha


def count_layers(targets: Sequence[Target], config: LoraConfig) -> Mapping[Hashable, LayerCount]:
    """One real PEFT layer for each distinct kind of target, by `count_key`."""
    distinct = {count_key(target): target for target in targets}
    return {key: count_layer(target, config) for key, target in distinct.items()}
