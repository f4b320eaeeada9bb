"""Reading memory over one step of a training loop that is not ours: on a CPU, on CUDA, on Apple's MPS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from lora_explorer.memory.measurement.figures import Figures
from lora_explorer.memory.measurement.real_step import CudaMeter
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.result import in_parts
from lora_explorer.memory.tracing.events import part_of
from lora_explorer.memory.tracing.prepared_model import base_of, held_tensors, recomputation_watched, residents
from lora_explorer.memory.watching.trace import Phase
from lora_explorer.memory.watching.watch import StorageWatch
from lora_explorer.preview.step_memory.step_timeline import StepMemory, StepTimeline

# The Trainer takes the loss out of its graph, which then goes: that is the end of its backward pass.
_LAST_OF_BACKWARD = torch.ops.aten.detach.default


class StepMeter(Protocol):
    """Reads memory over one step. It is made when the model is ready and nothing has been trained."""

    def begin(self, optimizer: Any) -> None:
        """The step begins: nothing of it is there yet."""

    def enter_forward(self, inputs: Mapping[str, Any]) -> None:
        """The model is about to be called with these."""

    def leave_forward(self) -> None:
        """The model has answered."""

    def enter_optimizer(self) -> None:
        """The optimizer is about to step."""

    def end(self) -> StepMemory:
        """The optimizer has stepped, and the gradients are still there."""

    def close(self) -> None:
        """Take away what was put anywhere; called however the step ended."""


class TrainerWatch(StorageWatch):  # type: ignore[no-untyped-call]
    """The watch of the trace in a loop that is not ours: it sees by itself where a backward pass begins and ends."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__("cpu", inner_temporaries={})
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # A task of the autograd engine is under way in a backward pass and nowhere else.
        in_backward = torch._C._current_graph_task_id() != -1
        if in_backward and self.phase == "forward":
            self.settle()
            self._enter("backward")
        elif not in_backward and self.phase == "backward" and func is not _LAST_OF_BACKWARD:
            self.settle_gradients(parameter.grad for parameter in self._trained if parameter.grad is not None)
            self._enter("optimizer")
        return super().__torch_dispatch__(func, types, args, kwargs)

    def enter_forward(self, inputs: Iterable[Any]) -> None:
        """A micro-batch is there."""
        self.in_head = False
        self._enter("forward")
        for value in inputs:
            if isinstance(value, Tensor):
                self.born(value)

    def settle_states(self, states: Iterable[Tensor]) -> None:
        """Name the optimizer's states; those that were there before have no number."""
        for number in map(self.number_of, states):
            if number >= 0:
                self._categories[number] = "optimizer states"

    def recomputed(self) -> AbstractContextManager[None]:
        """Scope of a checkpointed layer, which runs once forward and once again in the backward pass."""
        return self.recomputation() if self.phase == "backward" else nullcontext()

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.mark("embedding" if phase == "forward" else "head")


class HostMeter:
    """Every storage of a step on a CPU."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._scopes = ExitStack()

    def begin(self, optimizer: Any) -> None:
        watch = self._watch = TrainerWatch(self._model)
        self._optimizer = optimizer
        self._states_bytes = [storage.nbytes() for storage in _storages(optimizer)]
        watch.ignore(held_tensors(self._model))
        watch.ignore(_states(optimizer))
        watch.mark("embedding")
        head = base_of(self._model).get_output_embeddings()
        if head is not None:
            self._scopes.callback(head.register_forward_pre_hook(self._enter_head).remove)
        self._scopes.enter_context(recomputation_watched(self._model, watch.recomputed))
        self._scopes.enter_context(watch)

    def enter_forward(self, inputs: Mapping[str, Any]) -> None:
        self._watch.enter_forward(inputs.values())

    def leave_forward(self) -> None:
        """The watch sees it by itself."""

    def enter_optimizer(self) -> None:
        """The watch sees it by itself."""

    def end(self) -> StepMemory:
        self._scopes.close()
        self._watch.settle_states(_states(self._optimizer))
        timeline = StepTimeline()
        timeline.hold(residents(self._model, "", Step(1, 1)))
        timeline.find(self._states_bytes, "optimizer states")
        timeline.extend(part_of(self._watch.trace()))
        return timeline.memory()

    def close(self) -> None:
        self._scopes.close()

    def _enter_head(self, module: nn.Module, args: Any) -> None:
        self._watch.in_head = True
        for tensor in tree_iter(args):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                register: Callable[..., Any] = tensor.register_hook
                register(self._leave_head)
                return

    def _leave_head(self, _: Tensor) -> None:
        self._watch.in_head = False


class CudaStepMeter:
    """PyTorch's own peaks, and of the parts those that can be counted."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._meter = CudaMeter()
        self._meter.loaded(model)

    def begin(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def enter_forward(self, inputs: Mapping[str, Any]) -> None:
        self._meter.enter("forward")

    def leave_forward(self) -> None:
        self._meter.enter("backward")

    def enter_optimizer(self) -> None:
        self._meter.enter("optimizer")

    def end(self) -> StepMemory:
        return StepMemory(self._meter.figures(), _countable(self._model, self._optimizer))

    def close(self) -> None:
        """Nothing was put anywhere."""


class MpsMeter:
    """What Metal has allocated where a phase ends, as it keeps no peaks: temporaries in between are not seen."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._loaded_bytes = torch.mps.current_allocated_memory()
        self._seen: dict[Phase, int] = {}
        self._phase: Phase = "forward"

    def begin(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def enter_forward(self, inputs: Mapping[str, Any]) -> None:
        self._enter("forward")

    def leave_forward(self) -> None:
        self._enter("backward")

    def enter_optimizer(self) -> None:
        self._enter("optimizer")

    def end(self) -> StepMemory:
        self._enter("forward")
        seen = self._seen
        figures = Figures(
            self._loaded_bytes, seen["forward"], seen["backward"], seen["optimizer"], max(self._seen.values())
        )
        return StepMemory(figures, _countable(self._model, self._optimizer))

    def close(self) -> None:
        """Nothing was put anywhere."""

    def _enter(self, phase: Phase) -> None:
        torch.mps.synchronize()
        now = torch.mps.current_allocated_memory()
        for seen in (self._phase, phase):
            self._seen[seen] = max(self._seen.get(seen, 0), now)
        self._phase = phase


def _countable(model: nn.Module, optimizer: Any) -> tuple[tuple[str, int], ...]:
    held = [(resident.category, resident.size_bytes) for resident in residents(model, "", Step(1, 1))]
    return in_parts([*held, *(("optimizer states", storage.nbytes()) for storage in _storages(optimizer))])


def _states(optimizer: Any) -> Iterator[Tensor]:
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


def _storages(optimizer: Any) -> Iterable[torch.UntypedStorage]:
    """Each once: 8-bit states share their tables."""
    return {state.untyped_storage()._cdata: state.untyped_storage() for state in _states(optimizer)}.values()


METERS: dict[str, Callable[[nn.Module], StepMeter]] = {"cpu": HostMeter, "cuda": CudaStepMeter, "mps": MpsMeter}
