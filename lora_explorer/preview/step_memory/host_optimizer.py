"""Optimizers of torch whose step on a CPU goes through the parameters one by one, where a GPU takes all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from lora_explorer.memory.plan.optimizers import OptimizerTrace, StepEvents, TrainedTensor, trace_optimizer
from lora_explorer.memory.watching.trace import Category
from lora_explorer.memory.watching.watch import StorageWatch

# torch runs over all parameters at once only where that saves kernel launches (torch/optim/optimizer.py,
# _default_to_fused_or_foreach); the meta device is none of these either.
_LOOPS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw_torch": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


@lru_cache(maxsize=16)
def trace_host_optimizer(name: str, tensors: tuple[TrainedTensor, ...], weight_decay: float) -> OptimizerTrace:
    """Births and deaths of an optimizer step on a CPU. Raises MemoryUnknown for one that cannot be traced."""
    elsewhere = trace_optimizer("adamw_torch_fused" if name in _LOOPS else name, tensors, clips_gradients=True)
    if name not in _LOOPS:
        return elsewhere
    groups = [
        {"params": [_parameter(tensor) for tensor in tensors if tensor.decayed is decayed], "weight_decay": share}
        for decayed, share in ((True, weight_decay), (False, 0.0))
    ]
    loop = _Loop(_LOOPS[name], [group for group in groups if group["params"]])
    return OptimizerTrace(elsewhere.clipping, loop.step(), loop.step())


def _parameter(tensor: TrainedTensor) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"))
    parameter.grad = torch.empty_like(parameter)
    return parameter


class _Loop:
    """An optimizer made in its first step, as some make their states when they are made."""

    def __init__(self, make: Callable[..., Any], groups: list[dict[str, Any]]) -> None:
        self._make, self._groups = make, groups
        self._optimizer: Any = None

    def step(self) -> StepEvents:
        """Births and deaths of one step."""
        watch = StorageWatch("meta", {bool: True, int: 1, float: 1.0})
        watch.ignore(self._there())
        with torch.no_grad(), watch:
            self._optimizer = self._optimizer or self._make(self._groups, lr=1e-4)
            self._optimizer.step()
        trace = watch.trace()
        states = {watch.number_of(state) for state in self._states()}
        categories: list[Category] = [
            "optimizer states" if number in states else "temporaries" for number in range(len(trace.sizes_bytes))
        ]
        return StepEvents(tuple(trace.sizes_bytes), tuple(categories), tuple(trace.events))

    def _there(self) -> Iterator[Tensor]:
        """Parameters, gradients and states that a step finds."""
        for group in self._groups:
            for parameter in group["params"]:
                yield from (parameter, parameter.grad)
        yield from self._states()

    def _states(self) -> Iterator[Tensor]:
        """Step counts are on the host, where they are no more than a number each."""
        values = (value for state in (self._optimizer or _NONE).state.values() for value in state.values())
        return (value for value in values if isinstance(value, Tensor) and value.device.type == "meta")


_NONE = SimpleNamespace(state={})
