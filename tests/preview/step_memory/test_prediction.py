"""What a run will need before it starts: an upper bound that a full batch reaches, and whether there is room for it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lora_explorer.memory.cards import find_card
from lora_explorer.preview.plan import PreviewPlan
from lora_explorer.preview.request import Limits
from lora_explorer.preview.step_memory import free_memory as room
from lora_explorer.preview.step_memory import trainer_step
from lora_explorer.preview.step_memory.prediction import PROCESS_BYTES, MicroBatch, Prediction, predict
from lora_explorer.preview.step_memory.trainer_step import predict_largest_step, predict_step, preview_step

from ..watched_runs import TINY, TOKENS, plan_of, run

DEEP = {**TINY, "num_hidden_layers": 12}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Products this small are slower on several threads, far slower on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_full_rows_of_different_lengths_need_what_was_predicted_before_the_start(tmp_path: Path) -> None:
    plan = plan_of()
    found = run(plan, tmp_path, (TOKENS, TOKENS - 1)).tracked.event()
    assert found is not None
    difference = predict(plan).figures["peak_allocated_bytes"] - found.measured["peak_allocated_bytes"]
    assert abs(difference) < 64


@pytest.mark.parametrize("config", [TINY, DEEP])
@pytest.mark.parametrize("rows", [1, 2])
def test_no_batch_of_a_run_needs_more_than_was_predicted(config: dict[str, Any], rows: int) -> None:
    plan = plan_of(config, micro_batch_size=rows, gradient_accumulation_steps=2)
    most = predict_largest_step(plan).figures
    for batches in ([(TOKENS, False), (TOKENS, True)], [(TOKENS, True), (17, False)], [(5, True), (TOKENS - 1, False)]):
        made = predict_step(plan, [MicroBatch(rows, tokens, is_padded) for tokens, is_padded in batches]).figures
        assert all(size <= most.known[name] for name, size in made.known.items())


def test_parts_add_up_to_the_peak_and_figures_rise_with_the_batch() -> None:
    small, large = predict(plan_of()), predict(plan_of(micro_batch_size=4))
    for prediction in (small, large):
        assert sum(prediction.parts.values()) == prediction.figures["peak_allocated_bytes"]
    assert small.figures["allocated_after_load_bytes"] == large.figures["allocated_after_load_bytes"]
    assert small.needed_bytes < large.needed_bytes


def test_accumulated_gradients_are_there_from_the_second_micro_batch_on() -> None:
    once, twice = (predict(plan_of(gradient_accumulation_steps=steps)) for steps in (1, 2))
    assert "gradients" not in once.parts
    assert twice.parts["gradients"] == once.parts["adapter"]
    grown = twice.figures["peak_forward_bytes"] - once.figures["peak_forward_bytes"]
    batch_bytes = 3 * 8 * 2 * TOKENS
    assert grown == twice.parts["gradients"] + batch_bytes


def test_the_step_is_the_trainers_whatever_only_axolotl_would_do() -> None:
    plan = plan_of(max_grad_norm=0.0, sample_packing=True, chunked_cross_entropy=True, lora_mlp_kernel=True)
    step = preview_step(plan)
    assert (step.packed, step.loss, step.fused_lora, step.kernels) == (False, "plain", frozenset(), "host")
    assert step.clips_gradients


def test_a_prediction_travels_between_processes() -> None:
    plan = plan_of()
    prediction = predict(pickle.loads(pickle.dumps(plan)))
    assert pickle.loads(pickle.dumps(prediction)) == prediction


def test_a_prediction_is_read_without_loading_torch() -> None:
    code = "import sys, lora_explorer.preview.step_memory.prediction; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_process_itself_needs_room_and_so_does_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of()
    needed = predict(plan).needed_bytes
    assert needed == predict(plan).figures["peak_allocated_bytes"] + PROCESS_BYTES
    short = predict(plan_of(sequence_len=8, micro_batch_size=1))
    assert short.needed_bytes == 2 * short.figures["allocated_after_load_bytes"] + PROCESS_BYTES
    for available, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(room, "available_on_host", lambda available=available: available)
        assert predict(plan).fits is fits


def test_a_run_may_not_take_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available_on_host", lambda: 1 << 40)
    limited = predict(plan_of(limits=Limits(memory_bytes=PROCESS_BYTES)))
    assert (limited.available_bytes, limited.fits) == (PROCESS_BYTES, False)
    assert predict(plan_of()).fits


def test_need_and_room_are_one_sentence() -> None:
    prediction = Prediction({}, {}, 3 << 30, 2 << 30)
    assert prediction.sentence() == "The run would need about 3.00 GiB, and only 2.00 GiB are free."
    assert "2.00 GiB are free" in replace(prediction, needed_bytes=1 << 30).sentence()


def on_gpu(monkeypatch: pytest.MonkeyPatch) -> PreviewPlan:
    gpu = room.Gpu(find_card("T4"), 10 << 30)
    monkeypatch.setattr(trainer_step, "find_gpu", lambda: gpu)
    monkeypatch.setattr(room, "find_gpu", lambda: gpu)
    plan = plan_of(fp16=True)
    return replace(plan, device="cuda", dtype="float16")


def test_on_a_gpu_the_allocator_and_the_context_count(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = predict(on_gpu(monkeypatch))
    figures = prediction.figures
    assert figures["process_bytes"] == figures["peak_reserved_bytes"] + find_card("T4").context_bytes
    assert prediction.needed_bytes == figures["process_bytes"]
    assert prediction.available_bytes == 10 << 30
    assert prediction.parts["workspaces"] > 0


def test_on_an_apple_gpu_what_metal_recommends_is_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 16 << 30)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 1 << 30)
    prediction = predict(replace(plan_of(), device="mps"))
    assert prediction.available_bytes == 15 << 30
    assert prediction.needed_bytes == prediction.figures["peak_allocated_bytes"]


def test_a_gpu_is_asked_through_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    said = SimpleNamespace(stdout="NVIDIA L40S, 46068, 40000, 8.9\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    gpu = room.find_gpu()
    assert (gpu.card.name, gpu.card.memory_bytes, gpu.free_bytes) == ("NVIDIA L40S", 46068 << 20, 40000 << 20)
    assert gpu.card.bf16


@pytest.mark.parametrize("problem", [FileNotFoundError("nvidia-smi"), subprocess.TimeoutExpired("nvidia-smi", 10)])
def test_a_gpu_without_its_drivers_tool_speaks_for_itself(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise problem

    found = SimpleNamespace(name="Some GPU", total_memory=8 << 30, major=9, minor=4)
    monkeypatch.setattr(subprocess, "run", missing)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (7 << 30, 8 << 30))
    gpu = room.find_gpu()
    assert (gpu.card.name, gpu.free_bytes) == ("Some GPU", 7 << 30)
