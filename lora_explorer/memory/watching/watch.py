"""Watching every storage of a training step being born and dying."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_iter

from lora_explorer.memory.watching.accumulation import sums_in_place, unshared_holders
from lora_explorer.memory.watching.kernel_temporaries import INNER_TEMPORARIES
from lora_explorer.memory.watching.operator_work import Formula, moves, work_of
from lora_explorer.memory.watching.trace import Category, Departure, Phase, Place, Segment, Trace
from lora_explorer.memory.watching.work import MOST_COUNTED, Moved, Operation, Stage, Work

_aten = torch.ops.aten

# Gradients of indexing, which autograd writes into zeros it has just made; while it is watched it writes them beside
# the zeros instead (torch/csrc/autograd/FunctionsManual.cpp, areAnyTensorSubclassLike).
_WRITTEN_IN_PLACE: dict[Any, Any] = {
    _aten.index_put.default: _aten.index_put_.default,
    _aten.scatter.src: _aten.scatter_.src,
    _aten.scatter_add.default: _aten.scatter_add_.default,
}


# A step of the deepest models makes some ten thousand storages; a model whose code loops over tokens makes millions.
MOST_STORAGES = 250_000


class EndlessStep(RuntimeError):
    """The step makes more storages than could be watched in a sensible time."""


class Known(Protocol):
    """What is known of the values in a storage."""

    def value_at(self, offset: int) -> int:
        """The value at an offset into the storage."""


class StorageWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records births and deaths of storages on one device, and what is computed and moved there, while it is active.

    answer: what a question about values (`Tensor.item()`) is answered with, since meta tensors have none;
    a mapping from bool, int and float to the answer that holds for the run being predicted.
    forms: what to run in place of operators that the device cannot run; each gets the watch and the arguments.
    inner_temporaries: bytes that kernels need inside themselves, by operator. formulas: what operators compute and
    move where their arguments do not show it.
    layers_left_out: so far, between the layers that were marked in the forward pass.
    """

    def __init__(
        self,
        device: str,
        answers: Mapping[type, bool | int | float] | None = None,
        forms: Mapping[Any, Callable[..., Any]] | None = None,
        inner_temporaries: Mapping[Any, Callable[..., int]] = INNER_TEMPORARIES,
        formulas: Mapping[Any, Formula] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase: Phase = "forward"
        self.in_head = False
        self.recomputing = False
        self.layers_left_out = 0
        self._layer = -1
        self._device = device
        self._answers = answers or {}
        self._forms = forms or {}
        self._inner_temporaries = inner_temporaries
        self._formulas = dict(formulas or {})
        self._operations: list[Operation] = []
        self._flops: list[int] = []
        self._tokens: list[int] = []
        self._moved_bytes: list[int] = []
        self._unshared = unshared_holders()
        self._sizes: list[int] = []
        self._categories: list[Category | None] = []
        self._events: list[int] = []
        self._marks: list[tuple[int, Segment]] = []
        self._departures: list[Departure] = []
        self._alive: dict[int, tuple[int, weakref.ref[torch.UntypedStorage]]] = {}
        self._known: dict[int, Known] = {}
        self._dead: set[int] = set()
        self._unsettled: list[int] = []
        self._finish: list[int] | None = None

    def ignore(self, tensors: Iterator[torch.Tensor]) -> None:
        """Leave storages that are there before the step out of the record."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key = storage._cdata
            self._alive[key] = (-1, weakref.ref(storage, partial(self._died, key)))

    def mark(self, place: Place, layer: int | None = None) -> None:
        """Begin a segment of the step."""
        if layer is not None and self.phase == "forward":
            self.layers_left_out += max(layer - self._layer - 1, 0)
            self._layer = layer
        self._marks.append((len(self._events), Segment(self.phase, place, layer)))

    def born(self, tensor: torch.Tensor) -> None:
        """Record a storage not seen before; views and known storages cost nothing."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        size = storage.nbytes()
        if size == 0:
            return
        number = self._add(size, "logits and loss" if self.in_head else None)
        self._alive[key] = (number, weakref.ref(storage, partial(self._died, key)))

    def number_of(self, tensor: torch.Tensor) -> int:
        """The number under which a tensor's storage was born; -1 for one that was there before."""
        return self._alive.get(tensor.untyped_storage()._cdata, (-1, None))[0]

    def know(self, tensor: torch.Tensor, known: Known) -> None:
        """Remember something about the values of a watched storage, for as long as it lives."""
        self._known[tensor.untyped_storage()._cdata] = known

    def known(self, tensor: torch.Tensor) -> Known | None:
        """What was remembered about the storage of a tensor."""
        return self._known.get(tensor.untyped_storage()._cdata)

    def leaves(self, number: int, window: int) -> None:
        """Record that a tensor leaves for the host, so that those that left `window` numbers before are let go."""
        self._departures.append(Departure("leaves", len(self._events), len(self._marks), number, window))

    def all_let_go(self) -> None:
        """Record that nothing is held on its way to the host from here on."""
        self._departures.append(Departure("all let go", len(self._events), len(self._marks)))

    @contextmanager
    def letting_go(self, number: int) -> Iterator[None]:
        """Scope in which what left under a number is let go."""
        before = len(self._events)
        yield
        for position in range(before, len(self._events)):
            self._departures.append(Departure("died", position, len(self._marks), number))

    def transient(self, size_bytes: int) -> None:
        """Record a temporary that lives only inside a kernel."""
        if size_bytes:
            self._events.append(~self._add(size_bytes, "logits and loss" if self.in_head else "temporaries"))

    def computes(self, kernel: Moved) -> None:
        """Record a kernel; one that moves nothing is none."""
        if not kernel.moved_bytes:
            return
        segment, tensors = len(self._marks) - 1, len(kernel.moved_bytes)
        self._operations.append(
            Operation(kernel.name, kernel.number_type, self._stage(), segment, tensors, kernel.attends)
        )
        self._flops.append(kernel.flops)
        self._tokens.append(kernel.tokens)
        self._moved_bytes.extend(kernel.moved_bytes)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is _aten._local_scalar_dense.default and args[0].device.type == "meta":
            return self._answer(args[0])
        if self.phase == "backward" and not kwargs and sums_in_place(func, args, self._unshared):
            self.computes(moves("add_", args[0], args[1], args[0]))
            return args[0].add_(args[1])
        if func in _WRITTEN_IN_PLACE and self._is_newest_gradient(args[0]):
            func = _WRITTEN_IN_PLACE[func]
        form = self._forms.get(func)
        result = form(self, *args, **(kwargs or {})) if form else func(*args, **(kwargs or {}))
        for kernel in work_of(func, args, kwargs or {}, result, self._device, self._formulas):
            self.computes(kernel)
        if isinstance(result, torch.Tensor):
            if result.device.type == self._device:
                self.born(result)
        else:
            self._all_born(result)
        inner = self._inner_temporaries.get(func)
        if inner is not None:
            self.transient(inner(*args))
        return result

    def settle(self) -> None:
        """Tell saved activations from temporaries: what a forward computation leaves alive was saved."""
        for number in self._unsettled:
            if self._categories[number] is None:
                self._categories[number] = "temporaries" if number in self._dead else "saved activations"
        self._unsettled.clear()

    @contextmanager
    def recomputation(self) -> Iterator[None]:
        """Scope of a checkpointed layer computing again during the backward pass."""
        self._settle_as_temporaries()
        self.recomputing = True
        try:
            yield
        finally:
            self.recomputing = False
            self.settle()

    def settle_gradients(self, gradients: Iterator[torch.Tensor]) -> None:
        """After backward: name the gradients; everything else born there was temporary."""
        for gradient in gradients:
            number, _ = self._alive.get(gradient.untyped_storage()._cdata, (-1, None))
            if number >= 0:
                self._categories[number] = "gradients"
        self._settle_as_temporaries()

    def finish(self) -> None:
        """From here on deaths are those after the optimizer step."""
        self._finish = []

    def trace(self) -> Trace:
        """The record so far."""
        categories: list[Category] = [category or "temporaries" for category in self._categories]
        return Trace(
            tuple(self._sizes),
            tuple(categories),
            tuple(self._events),
            tuple(self._marks),
            tuple(self._finish or ()),
            tuple(self._departures),
            self.work(),
        )

    def work(self) -> Work:
        """What was computed and moved so far; nothing is said where one kernel computes more than can be counted."""
        if max(self._flops, default=0) > MOST_COUNTED:
            return Work()
        numbers = (np.array(each, np.int64) for each in (self._flops, self._tokens, self._moved_bytes))
        return Work(tuple(self._operations), *numbers)

    def _stage(self) -> Stage:
        if self.phase == "backward":
            return "recomputation" if self.recomputing else "backward"
        return "optimizer" if self.phase == "optimizer" else "forward"

    def _add(self, size: int, category: Category | None) -> int:
        number = len(self._sizes)
        if number == MOST_STORAGES:
            raise EndlessStep("its code goes through the tokens one by one")
        self._sizes.append(size)
        self._categories.append(category)
        self._events.append(number)
        if category is None:
            self._unsettled.append(number)
        return number

    def _is_newest_gradient(self, tensor: torch.Tensor) -> bool:
        number, _ = self._alive.get(tensor.untyped_storage()._cdata, (-1, None))
        return self.phase == "backward" and not torch.is_grad_enabled() and number == len(self._sizes) - 1 >= 0

    def _died(self, key: int, _: object) -> None:
        number, _ref = self._alive.pop(key)
        self._known.pop(key, None)
        if number < 0:
            return
        self._dead.add(number)
        if self._finish is None:
            self._events.append(~number)
        else:
            self._finish.append(number)

    def _settle_as_temporaries(self) -> None:
        for number in self._unsettled:
            if self._categories[number] is None:
                self._categories[number] = "temporaries"
        self._unsettled.clear()

    def _all_born(self, result: Any) -> None:
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == self._device:
                self.born(tensor)

    def _answer(self, tensor: torch.Tensor) -> bool | int | float:
        known = self.known(tensor)
        if known is not None:
            return known.value_at(int(tensor.storage_offset()))
        if tensor.dtype is torch.bool:
            return self._answers.get(bool, True)
        return self._answers.get(float if tensor.is_floating_point() else int, 1)


def declare(kernel: Moved) -> None:
    """Tell the active watch of a kernel that no operator here shows; without a watch nobody is told."""
    for mode in _get_current_dispatch_mode_stack():
        if isinstance(mode, StorageWatch):
            mode.computes(kernel)
