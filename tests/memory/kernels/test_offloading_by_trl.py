"""Streamed tensors against those of TRL itself, which is given a device without streams and a host without values."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_explorer.memory.kernels import offloading
from lora_explorer.memory.kernels.saved_tensors import SavedTensors
from lora_explorer.memory.plan.step import Checkpointing, Step
from lora_explorer.memory.runs.traced_run import trace_run
from lora_explorer.memory.watching.watch import StorageWatch

from ..models import LLAMA, Lora, skeleton_of

# Earlier ones leave from the devices that they know only.
pytest.importorskip("trl", minversion="1.16")
trl = pytest.importorskip("trl.models.activation_offloading")

WIDE = {**LLAMA, "hidden_size": 256, "intermediate_size": 640, "num_hidden_layers": 9}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class _Stream:
    """Everything is done at once."""

    def wait_event(self, event: object) -> None: ...

    def wait_stream(self, stream: object) -> None: ...

    def record_event(self) -> object:
        return object()


class OfTrl(SavedTensors):
    """TRL's manager in the place of ours, with Axolotl's clone on the stream of the computation."""

    def __init__(self, parameters: frozenset[int] = frozenset(), watch: StorageWatch | None = None) -> None:
        super().__init__(parameters)
        self._manager = trl.OffloadActivations(use_pin_memory=False)

    def pack(self, tensor: Tensor) -> int:
        whole = tensor.is_contiguous() and tensor.storage_offset() == 0
        if tensor.device.type == "meta" and not isinstance(tensor, torch.nn.Parameter) and not whole:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        number: int = self._manager.pack_hook(tensor)
        return number

    def unpack(self, number: int) -> Tensor:
        tensor: Tensor = self._manager.unpack_hook(number)
        return tensor


@pytest.fixture
def meta_as_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(Stream=_Stream, stream=lambda stream: nullcontext(), current_stream=_Stream)
    original_copy, original_empty = Tensor.copy_, torch.empty_like

    def copy(self: Tensor, source: Tensor, *args: Any, **options: Any) -> Tensor:
        leaves = source.device.type == "meta" and self.device.type == "cpu"
        return self if leaves else original_copy(self, source, *args, **options)

    def empty(tensor: Tensor, *args: Any, **options: Any) -> Tensor:
        if options.get("device") != "cpu":
            return original_empty(tensor, *args, **options)
        return torch.empty(1, dtype=tensor.dtype).as_strided(tensor.shape, [0] * tensor.dim())

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: SimpleNamespace(type="meta"))
    monkeypatch.setattr(torch, "get_device_module", lambda kind: device)
    monkeypatch.setattr(torch.cuda, "current_stream", _Stream)
    monkeypatch.setattr(Tensor, "copy_", copy)
    monkeypatch.setattr(torch, "empty_like", empty)
    monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: None)
    # Storages on meta have no address.
    monkeypatch.setattr(
        trl, "_get_unique_tensor_key", lambda t: (t.untyped_storage()._cdata + t.storage_offset(), t.dtype)
    )


def live_bytes_at_births(step: Step) -> list[int]:
    trace = trace_run(skeleton_of(WIDE), step, Lora(targets=LINEAR), full_depth=True).trace
    live, found = 0, []
    for number in trace.events:
        live += trace.sizes_bytes[number] if number >= 0 else -trace.sizes_bytes[~number]
        if number >= 0:
            found.append(live)
    return found


@pytest.mark.usefixtures("meta_as_accelerator")
@pytest.mark.parametrize("checkpointing", [None, "non-reentrant", "reentrant"])
def test_what_is_on_the_device_at_any_time_is_what_trl_leaves_there(
    checkpointing: Checkpointing | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = replace(Step(2, 256, offloading="streamed", outputs_to_float32=False), checkpointing=checkpointing)
    ours = live_bytes_at_births(step)
    monkeypatch.setattr(offloading, "StreamedTensors", OfTrl)
    assert live_bytes_at_births(step) == ours
