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
    """

    stands_in: tuple[int, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.stands_in)))

    @property
    def is_whole(self) -> bool:
        return len(self.kept) == len(self.stands_in)


def whole_stack(layers: int) -> Stack:
    """Every layer kept."""
    return Stack(tuple(range(layers)))


def shallow_stack(kinds: Sequence[Hashable]) -> Stack:
    """Keep the first and the last layer, whose neighbours differ, and of those between one of each kind."""
    last = len(kinds) - 1
    inner: dict[Hashable, int] = {}
    for index in range(1, last):
        inner.setdefault(kinds[index], index)
    return Stack(tuple(index if index in (0, last) else inner[kind] for index, kind in enumerate(kinds)))


@lru_cache(maxsize=16)
def layer_kinds(skeleton: Skeleton) -> tuple[int, ...]:
    """For every layer a number; layers with the same number have the same modules, shapes and plain attributes."""
    numbers: dict[Hashable, int] = {}
    with skeleton.lock:
        layers = [skeleton.model.get_submodule(path) for path in skeleton.layer_paths]
        return tuple(numbers.setdefault(_signature(layer), len(numbers)) for layer in layers)


def shallow_copy(skeleton: Skeleton, stack: Stack) -> PreTrainedModel:
    """A model of its own with only the kept layers, which keep their numbers in their paths."""
    container_path = skeleton.layer_paths[0].rpartition(".")[0] if skeleton.layer_paths else ""
    with skeleton.lock:
        container = skeleton.model.get_submodule(container_path)
        kept = nn.ModuleList()
        memo: dict[int, object] = {}
        for name, layer in container.named_children():
            if int(name) in stack.kept:
                kept._modules[name] = copy.deepcopy(layer, memo)
        memo[id(container)] = kept
        model: PreTrainedModel = copy.deepcopy(skeleton.model, memo)
    if not stack.is_whole:
        _shorten_lists(model, stack)
    return model


def configs_of(model: nn.Module) -> list[Any]:
    """The configs that the modules of a model hold, each once."""
    found: dict[int, Any] = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    return list(found.values())


def _shorten_lists(model: PreTrainedModel, stack: Stack) -> None:
    """Lists of the config with one entry a layer are read by position while the model runs."""
    for config in configs_of(model):
        for name, value in vars(config).items():
            if isinstance(value, list) and len(value) == len(stack.stands_in):
                # The config's own setter would check the list against the number of layers.
                vars(config)[name] = [value[index] for index in stack.kept]


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
