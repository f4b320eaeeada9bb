"""A watch over one optimizer step of a running Trainer: what it held, and the most in each phase.

On a CPU every storage of the step is watched as it is born and dies; on CUDA PyTorch's own peaks are read; on Apple's
MPS, which keeps no peaks, what is allocated where a phase ends. No other step is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import TrainerCallback

from lora_explorer.preview.events import Measured
from lora_explorer.preview.step_memory.prediction import MicroBatch
from lora_explorer.preview.step_memory.step_meters import METERS, StepMeter
from lora_explorer.preview.step_memory.step_timeline import StepMemory
from lora_explorer.preview.step_memory.trainer_step import predict_step

if TYPE_CHECKING:
    from lora_explorer.preview.plan import PreviewPlan


class TrackedStep(TrainerCallback):
    """Watches one step of the Trainer that it is a callback of.

    at_step: which optimizer step, counted from 1 since the Trainer began here; the second finds the optimizer's
    states made.
    """

    def __init__(self, plan: PreviewPlan, *, at_step: int = 2) -> None:
        self._plan = plan
        self._at_step = at_step
        self._steps = 0
        self._meter: StepMeter | None = None
        self._scopes = ExitStack()
        self._batches: list[MicroBatch] = []
        self._memory: StepMemory | None = None

    def __enter__(self) -> TrackedStep:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def _is_watching(self) -> bool:
        return self._steps == self._at_step and self._meter is not None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._meter = METERS[self._plan.device](kwargs["model"])

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._steps += 1
        if self._meter is not None and self._is_watching:
            model: nn.Module = kwargs["model"]
            self._scopes.callback(model.register_forward_pre_hook(self._before_forward, with_kwargs=True).remove)
            self._scopes.callback(model.register_forward_hook(self._after_forward).remove)
            self._scopes.callback(self._meter.close)
            self._meter.begin(kwargs["optimizer"])

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._meter is not None and self._is_watching:
            self._meter.enter_optimizer()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._meter is not None and self._is_watching:
            self._memory = self._meter.end()
            self._close()

    def event(self) -> Measured | None:
        """The step beside its prediction; None where it was never reached.

        Traces a step of exactly the shape that was watched, which takes about a second.
        Raises MemoryUnknown and AdapterRefused.
        """
        if self._memory is None:
            return None
        predicted = predict_step(self._plan, self._batches, is_first=self._at_step == 1)
        return Measured(
            measured=dict(self._memory.figures.known),
            predicted=dict(predicted.figures.known),
            measured_parts=dict(self._memory.parts),
            predicted_parts=dict(predicted.parts),
        )

    def _before_forward(self, model: nn.Module, args: Any, inputs: dict[str, Any]) -> None:
        if self._meter is not None:
            self._meter.enter_forward(inputs)
            self._batches.append(_micro_batch(inputs))

    def _after_forward(self, *_: Any) -> None:
        if self._meter is not None:
            self._meter.leave_forward()

    def _close(self) -> None:
        """The model is let go with the meter."""
        self._scopes.close()
        self._meter = None


def _micro_batch(inputs: Mapping[str, Any]) -> MicroBatch:
    rows, tokens = inputs["input_ids"].shape
    mask = inputs.get("attention_mask")
    return MicroBatch(rows, tokens, is_padded=mask is not None and not bool(mask.all()))
