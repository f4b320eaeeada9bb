"""Which layers of a model are alike, and a copy of the model that keeps one of each kind."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lora_explorer.base_models.skeleton import Skeleton

# Numbers that every layer has for itself and that change nothing about what it allocates.
_OWN_NUMBERS = frozenset({"layer_idx", "layer_id", "layer_index", "layer_number", "idx", "index", "_init_index"})
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Stack:
    """The repeated layers of a model and the few that stand for all of them.

    stands_in: for every layer of the full model the kept layer that it is like; kept layers stand for themselves.
    sources: where PEFT replicates layers, for every layer the one of the base model whose weights it shares; else
    empty.
    """

    stands_in: tuple[int, ...]
    sources: tuple[int, ...] = ()

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.stands_in)))

    @property
    def is_whole(self) -> bool:
        return len(self.kept) == len(self.stands_in)

    def source_of(self, layer: int) -> int:
        """The layer of the base model that a layer is."""
        return self.sources[layer] if self.sources else layer


def whole_stack(layers: int, sources: tuple[int, ...] = ()) -> Stack:
    """Every layer kept."""
    return Stack(tuple(range(layers)), sources)


def shallow_stack(kinds: Sequence[Hashable], sources: tuple[int, ...] = (), *, last: int = 1) -> Stack:
    """Keep the first and the last layers, whose neighbours differ, and of those between one of each kind."""
    inner: dict[Hashable, int] = {}
    between = range(1, len(kinds) - last)
    for index in between:
        inner.setdefault(kinds[index], index)
    return Stack(tuple(inner[kind] if index in between else index for index, kind in enumerate(kinds)), sources)


@lru_cache(maxsize=16)
def layer_kinds(skeleton: Skeleton) -> tuple[int, ...]:
    """For every layer a number; layers with the same number have the same modules, shapes and plain attributes."""
    numbers: dict[Hashable, int] = {}
    with skeleton.lock:
        layers = [skeleton.model.get_submodule(path) for path in skeleton.layer_paths]
        return tuple(numbers.setdefault(_signature(layer), len(numbers)) for layer in layers)


def container_path(skeleton: Skeleton) -> str:
    """The path of the list of decoder layers."""
    return skeleton.layer_paths[0].rpartition(".")[0] if skeleton.layer_paths else ""


def shallow_copy(skeleton: Skeleton, stack: Stack) -> PreTrainedModel:
    """A model of its own with only the kept layers, which keep their numbers in their paths.

    Replicated layers have weights of their own here: which ones they share is known from the stack.
    """
    with skeleton.lock:
        container = skeleton.model.get_submodule(container_path(skeleton))
        kept = nn.ModuleList()
        memo: dict[int, Any] = {}
        for number in stack.kept:
            layer = container.get_submodule(str(stack.source_of(number)))
            copied = memo.get(id(layer))
            kept._modules[str(number)] = copy.deepcopy(layer, memo) if copied is None else _replica(copied)
        for number in stack.kept if stack.sources else ():
            _renumber(kept._modules[str(number)], number)
        memo[id(container)] = kept
        model: PreTrainedModel = copy.deepcopy(skeleton.model, memo)
    if stack.sources:
        _count_layers(model, len(stack.sources))
    if not stack.is_whole:
        _shorten_lists(model, stack, skeleton.num_layers)
    return model


def _replica(layer: nn.Module) -> nn.Module:
    """Another layer with the same configs."""
    return copy.deepcopy(layer, {id(config): config for config in configs_of(layer)})


def _renumber(layer: nn.Module | None, number: int) -> None:
    """A replicated layer knows its new number (peft/tuners/tuners_utils.py: replicate_layers)."""
    for module in layer.modules() if layer is not None else ():
        if hasattr(module, "layer_idx"):
            vars(module)["layer_idx"] = number


def _count_layers(model: PreTrainedModel, layers: int) -> None:
    """The config counts replicated layers; its own setter would check its lists against their number."""
    name = model.config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    vars(model.config)[name] = layers


def configs_of(model: nn.Module) -> list[Any]:
    """The configs that the modules of a model hold, each once."""
    found: dict[int, Any] = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    return list(found.values())


def _shorten_lists(model: PreTrainedModel, stack: Stack, layers: int) -> None:
    """Lists of the config with one entry a layer are read by position while the model runs.

    layers: of the base model. Replicated layers beyond have no entry, and a model that reads one fails as it would.
    """
    for config in configs_of(model):
        for name, value in vars(config).items():
            if isinstance(value, list) and len(value) == layers:
                # The config's own setter would check the list against the number of layers.
                vars(config)[name] = [value[index] for index in stack.kept if index < layers]


def _signature(layer: nn.Module) -> Hashable:
    return tuple((path, type(module).__qualname__, _attributes(module)) for path, module in layer.named_modules())


def _attributes(module: nn.Module) -> Hashable:
    tensors = tuple(
        (name, tuple(tensor.shape), str(tensor.dtype))
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]
        if tensor is not None
    )
    plain = tuple(
        (name, value)
        for name, value in sorted(vars(module).items())
        if isinstance(value, _PLAIN) and name not in _OWN_NUMBERS
    )
    return tensors, plain
