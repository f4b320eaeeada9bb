"""A training step run for real, and its memory beside the prediction.

On a CUDA device PyTorch's own peaks are read; on a CPU the step is run on real tensors under the same watch as the
trace. It runs in a process of its own, so that running out of memory, or a crash, ends that process and nothing else.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lora_explorer.base_models import BaseModel
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import MeasurementFailed
from lora_explorer.memory.cards import Card
from lora_explorer.memory.estimate import estimate_memory
from lora_explorer.memory.measurement.figures import Figures
from lora_explorer.memory.measurement.host_memory import available_bytes
from lora_explorer.memory.measurement.live_bytes import predict_host_step
from lora_explorer.memory.measurement.real_step import Job, host_step
from lora_explorer.memory.measurement.runnable import runnable_on_cuda, runnable_on_host
from lora_explorer.settings import Recipe

# The process itself: Python with torch, transformers and PEFT loaded, and what its allocator does not give back.
PROCESS_BYTES = 1 << 30
LONGEST_SECONDS = 1800


@dataclass(frozen=True)
class Measurement:
    """What was measured on a device, and what the same step was predicted to need there.

    device: its name. notes: how the step that was run differs from the configuration, one sentence each.
    """

    device: str
    measured: Figures
    predicted: Figures
    micro_batch_size: int
    sequence_len: int
    notes: tuple[str, ...]

    @property
    def error_percent(self) -> Mapping[str, float]:
        """Prediction against measurement, for each figure that has both; positive where too much was predicted."""
        predicted = self.predicted.known
        return {
            name: round(100 * (predicted[name] - found) / found, 4)
            for name, found in self.measured.known.items()
            if name in predicted and found
        }

    def record(self) -> dict[str, Any]:
        """The measured figures under the prediction's names, and what belongs to them."""
        return {
            "device": self.device,
            **self.measured.known,
            "predicted": self.predicted.known,
            "error_percent": dict(self.error_percent),
            "micro_batch_size": self.micro_batch_size,
            "sequence_len": self.sequence_len,
            "notes": list(self.notes),
        }


def measure_step(recipe: Recipe, base_model: BaseModel, *, expandable_segments: bool = True) -> Measurement:
    """Run two optimizer steps for real: on the first CUDA device, or on the CPU at a size that it can bear.

    Raises MeasurementFailed where the step cannot be run, does not fit or dies; MemoryUnknown and AdapterRefused as
    the estimate does.
    """
    if torch.cuda.is_available():
        return _measure_on_cuda(recipe, base_model, expandable_segments=expandable_segments)
    return _measure_on_host(recipe, base_model)


def _measure_on_host(recipe: Recipe, base_model: BaseModel) -> Measurement:
    recipe, notes = runnable_on_host(recipe)
    predicted = predict_host_step(load_skeleton(base_model), host_step(recipe), recipe)
    _check_room(predicted)
    said = _run(Job(recipe, base_model, "cpu"), {})
    return _measurement("CPU", recipe, said, predicted, notes)


def _measure_on_cuda(recipe: Recipe, base_model: BaseModel, *, expandable_segments: bool) -> Measurement:
    # This process never touches the GPU: a context of its own would take room and be measured too.
    recipe, notes = runnable_on_cuda(recipe)
    # As Axolotl sets them: the second for quantized weights, where alone it matters.
    environment = {
        "PYTORCH_ALLOC_CONF": f"expandable_segments:{expandable_segments}",
        "HF_DEACTIVATE_ASYNC_LOAD": "1",
    }
    said = _run(Job(recipe, base_model, "cuda"), environment)
    card: Card = said["card"]
    estimate = estimate_memory(recipe, base_model, card=card, expandable_segments=expandable_segments)
    predicted = Figures(**{name: getattr(estimate, name) for name in Figures.__dataclass_fields__})
    return _measurement(card.name, recipe, said, predicted, notes)


def _measurement(
    device: str, recipe: Recipe, said: Mapping[str, Any], predicted: Figures, notes: tuple[str, ...]
) -> Measurement:
    told = (*notes, *said["notes"])
    return Measurement(device, said["figures"], predicted, recipe.micro_batch_size, recipe.sequence_len, told)


def _check_room(predicted: Figures) -> None:
    # While loading, the weights are there a second time: as they are read, and as the model holds them.
    needed = predicted.peak_allocated_bytes + predicted.allocated_after_load_bytes + PROCESS_BYTES
    available = available_bytes()
    if needed > available:
        raise MeasurementFailed(
            f"The step was not run: in float32 on this CPU it would need about {needed / 1e9:.1f} GB, "
            f"and {available / 1e9:.1f} GB are free."
        )


def _run(job: Job, environment: Mapping[str, str]) -> Mapping[str, Any]:
    """What the child process says. Raises MeasurementFailed with its reason, or with how it ended."""
    try:
        child = subprocess.run(
            [sys.executable, "-m", __name__],
            input=pickle.dumps(job),
            capture_output=True,
            env={**os.environ, **environment},
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        minutes = LONGEST_SECONDS // 60
        raise MeasurementFailed(f"The step was stopped: it was not done after {minutes} minutes.") from error
    if child.returncode != 0:
        raise MeasurementFailed(_how_it_ended(child.returncode, child.stderr.decode(errors="replace")))
    said: Mapping[str, Any] = pickle.loads(child.stdout)
    if "failed" in said:
        raise MeasurementFailed(said["failed"])
    return said


def _how_it_ended(status: int, errors: str) -> str:
    if status == -9:
        return "The step was killed while it ran, as systems do with a process for which memory ran out."
    if status < 0:
        return f"The step crashed: its process was ended by signal {-status}."
    lines = errors.strip().splitlines()
    return f"The step failed: {lines[-1] if lines else f'its process ended with status {status}'}."
