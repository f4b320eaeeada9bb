"""What a running Trainer tells: one event a step, each written before the next step begins."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback
from transformers.modeling_layers import GradientCheckpointingLayer

from lora_explorer.preview.device import memory_bytes, reset_memory
from lora_explorer.preview.events import Evaluation, Event, Step
from lora_explorer.preview.models.weights import Device
from lora_explorer.preview.supervision.failures import LossNotFinite

CHECKPOINT_SECONDS = 30.0
"""How much of a run is lost at the most where its process is killed."""


class StopAsked(Exception):
    """Somebody asked to stop while a step was under way; weights are as the last whole step left them."""


@contextmanager
def stoppable(model: nn.Module, stopping: threading.Event) -> Iterator[None]:
    """While it is open, a decoder layer that is reached after a stop raises StopAsked, forward or backward: a step may
    take minutes.
    """

    def look(*_: Any) -> None:
        if stopping.is_set():
            raise StopAsked

    def look_both_ways(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        look()
        for hidden in inputs[:1]:
            if isinstance(hidden, Tensor) and hidden.requires_grad:
                register: Callable[..., Any] = hidden.register_hook
                register(look)

    layers = (module for module in model.modules() if isinstance(module, GradientCheckpointingLayer))
    hooks = [layer.register_forward_pre_hook(look_both_ways) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Positions:
    """How many positions have gone through a model since they were last asked for, padding too."""

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def counted(self, model: nn.Module) -> Iterator[None]:
        """While it is open, training passes of the model are counted."""

        def count(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            if module.training and "input_ids" in kwargs:
                self._count += kwargs["input_ids"].numel()

        hook = model.register_forward_pre_hook(count, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def taken(self) -> int:
        """The count, which begins anew."""
        count, self._count = self._count, 0
        return count


class StepEvents(TrainerCallback):
    """Emits Step and Evaluation, and ends the training when it is asked to.

    positions: of the model that is trained. shows_loss: whether a loss means anything. seconds are those of the step
    alone, without evaluation and saving.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        stopping: threading.Event,
        device: Device,
        positions: Positions,
        *,
        shows_loss: bool,
    ) -> None:
        self._emit, self._stopping, self._device = emit, stopping, device
        self._positions, self._shows_loss = positions, shows_loss
        self._began = self._saved_at = time.monotonic()
        self._tokens = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._tokens = state.num_input_tokens_seen
        self._saved_at = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        reset_memory(self._device)
        self._began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._stopping.is_set():
            control.should_training_stop = True
        is_last = control.should_training_stop or state.global_step >= state.max_steps
        if is_last or time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            control.should_save = True
            self._saved_at = time.monotonic()
        # A stop is not to wait for an evaluation.
        wanted = args.eval_strategy != "no" and (is_last or control.should_evaluate)
        control.should_evaluate = wanted and not self._stopping.is_set()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        seconds = time.monotonic() - self._began
        if not math.isfinite(logs["loss"]):
            raise LossNotFinite(state.global_step)
        tokens = state.num_input_tokens_seen - self._tokens
        self._tokens = state.num_input_tokens_seen
        self._emit(
            Step(
                step=state.global_step,
                loss=logs["loss"] if self._shows_loss else None,
                learning_rate=logs["learning_rate"],
                tokens_per_second=tokens / seconds,
                grad_norm=logs.get("grad_norm"),
                memory_bytes=memory_bytes(self._device),
                tokens=tokens,
                epoch=state.epoch or 0.0,
                positions=self._positions.taken(),
            )
        )

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        eval_loss = kwargs["metrics"]["eval_loss"]
        if not math.isfinite(eval_loss):
            raise LossNotFinite(state.global_step)
        self._emit(Evaluation(step=state.global_step, eval_loss=eval_loss))
