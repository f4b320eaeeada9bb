"""A step run for real beside its prediction: the same bytes, its own process, and a sentence when it fails."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lora_explorer.base_models import BaseModel, find_base_model
from lora_explorer.base_models.skeleton import load_skeleton, model_config
from lora_explorer.errors import MeasurementFailed
from lora_explorer.memory import measurement
from lora_explorer.memory.cards import find_card
from lora_explorer.memory.measurement import Measurement, measure_step
from lora_explorer.memory.measurement.figures import Figures
from lora_explorer.memory.measurement.host_memory import available_bytes
from lora_explorer.memory.measurement.live_bytes import predict_host_step
from lora_explorer.memory.measurement.real_step import CudaMeter, Job, host_step, run
from lora_explorer.memory.measurement.runnable import runnable_on_cuda, runnable_on_host
from lora_explorer.settings import Recipe

from .models import GEMMA_3, LLAMA, MIXTRAL, model_of, recipe_of

TINY = {**LLAMA, "num_hidden_layers": 3}
LORA = {"lora_r": 4, "sequence_len": 32, "micro_batch_size": 2}
FULL = {"adapter": None, "lora_r": None, "lora_alpha": None, "lora_target_linear": None}
FIGURES = Figures(100, 300, 400, 200, 400)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def both(recipe: Recipe, base_model: BaseModel) -> tuple[Figures, Figures]:
    """Measured in this process, and predicted."""
    runnable, _ = runnable_on_host(recipe)
    said = run(Job(runnable, base_model, "cpu"))
    return said["figures"], predict_host_step(load_skeleton(base_model), host_step(runnable), runnable)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (TINY, {}),
        (TINY, {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}),
        (TINY, {"attn_implementation": "eager", "lora_dropout": 0.1}),
        (TINY, {"adapter": "qlora", "load_in_4bit": True}),
        (TINY, {**FULL, "optimizer": "sgd"}),
        (TINY, {**FULL}),
        (TINY, {"peft_use_dora": True}),
        (TINY, {"chunked_cross_entropy": True}),
        (TINY, {"lora_modules_to_save": ["lm_head"], "max_grad_norm": 0}),
        ({**TINY, "tie_word_embeddings": True}, {}),
        ({**GEMMA_3, "num_hidden_layers": 6}, {}),
    ],
)
def test_a_real_step_on_the_cpu_needs_what_was_predicted(config: dict[str, Any], settings: dict[str, Any]) -> None:
    measured, predicted = both(recipe_of(**{**LORA, **settings}), model_of(config))
    assert measured == predicted


def test_a_step_is_measured_in_a_process_of_its_own() -> None:
    found = measure_step(recipe_of(**LORA), model_of(TINY))
    assert found.device == "CPU"
    assert set(found.error_percent.values()) == {0.0}
    assert any("no meaning" in note for note in found.notes)


def test_weights_of_a_local_folder_are_the_ones_that_run(tmp_path: Path) -> None:
    config = model_config(model_of(TINY))
    with torch.device("cpu"):
        from transformers import LlamaForCausalLM

        LlamaForCausalLM(config).save_pretrained(tmp_path)
    recipe, _ = runnable_on_host(recipe_of(**LORA, base_model=str(tmp_path)))
    said = run(Job(recipe, find_base_model(str(tmp_path)), "cpu"))
    assert said["notes"] == ()
    assert said["figures"] == run(Job(recipe, model_of(TINY), "cpu"))["figures"]


def test_what_does_not_fit_into_the_hosts_memory_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "available_bytes", lambda: 10**9)
    monkeypatch.setattr(measurement, "_run", lambda *_: pytest.fail("it was begun"))
    with pytest.raises(MeasurementFailed, match=r"would need about \d+\.\d GB, and 1\.0 GB are free\.$"):
        measure_step(recipe_of(**LORA), find_base_model("meta-llama/Llama-3.2-1B"))


def ended(status: int, errors: str = "") -> Any:
    return lambda *_, **__: SimpleNamespace(returncode=status, stderr=errors.encode(), stdout=b"")


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (ended(-9), "memory ran out"),
        (ended(-11), "ended by signal 11"),
        (ended(1, "Traceback\nValueError: no such thing"), "ValueError: no such thing"),
        (ended(3), "ended with status 3"),
    ],
)
def test_a_process_that_dies_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, end: Any, sentence: str) -> None:
    monkeypatch.setattr(subprocess, "run", end)
    with pytest.raises(MeasurementFailed, match=sentence):
        measure_step(recipe_of(**LORA), model_of(TINY))


def test_a_process_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired("python", options["timeout"])

    monkeypatch.setattr(subprocess, "run", endless)
    with pytest.raises(MeasurementFailed, match="after 30 minutes"):
        measure_step(recipe_of(**LORA), model_of(TINY))


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize(("function", "when"), [("_loaded", "while the model was loaded"), ("_forward", "in the forw")])
def test_running_out_of_memory_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, error: Exception, function: str, when: str
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(f"lora_explorer.memory.measurement.real_step.{function}", full)
    said = run(Job(runnable_on_host(recipe_of(**LORA))[0], model_of(TINY), "cpu"))
    assert f"the memory of the host ran out {when}" in said["failed"]


def test_any_other_error_is_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("lora_explorer.memory.measurement.real_step._forward", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        run(Job(runnable_on_host(recipe_of(**LORA))[0], model_of(TINY), "cpu"))


def test_a_gpus_peaks_are_those_of_each_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that reports a peak for each stretch between two resets."""
    peaks, reserved = iter([90, 50, 70, 60, 55, 80, 65]), iter([120, 100, 110, 100, 100, 130, 100])
    device = {
        "synchronize": lambda: None,
        "memory_allocated": lambda: 40,
        "max_memory_allocated": lambda: next(peaks),
        "max_memory_reserved": lambda: next(reserved),
        "reset_peak_memory_stats": lambda: None,
        "mem_get_info": lambda: (1000 - 100 - 25, 1000),
        "memory_reserved": lambda: 100,
    }
    for name, value in device.items():
        monkeypatch.setattr(torch.cuda, name, value)
    meter = CudaMeter()
    meter.loaded(torch.nn.Linear(1, 1))
    for phase in ("forward", "backward", "optimizer") * 2:
        meter.enter(phase)
    # Loading came to 90, the first step to 50, 70 and 60, the second to 55, 80 and 65.
    assert meter.figures() == Figures(40, 55, 80, 65, 90, 130, 130 + 25)


def test_what_a_gpu_ran_is_held_against_the_prediction_for_that_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = Figures(100, 300, 400, 200, 400, 500, 600)
    jobs: list[Any] = []

    def ran(job: Job, environment: Any) -> dict[str, Any]:
        jobs.append((job, environment))
        return {"figures": figures, "card": find_card("T4"), "notes": ()}

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(measurement, "_run", ran)
    found = measure_step(recipe_of(**LORA), model_of(TINY), expandable_segments=False)
    assert found.device == "T4"
    assert jobs[0][0].device == "cuda"
    assert jobs[0][1] == {"PYTORCH_ALLOC_CONF": "expandable_segments:False", "HF_DEACTIVATE_ASYNC_LOAD": "1"}
    assert found.predicted.process_bytes == found.predicted.peak_reserved_bytes + find_card("T4").context_bytes
    assert set(found.error_percent) == set(figures.known)


def test_errors_are_positive_where_too_much_was_predicted() -> None:
    found = Measurement("CPU", FIGURES, Figures(100, 330, 380, 200, 400, 1, 1), 1, 128, ())
    assert found.error_percent == {
        "allocated_after_load_bytes": 0.0,
        "peak_forward_bytes": 10.0,
        "peak_backward_bytes": -5.0,
        "peak_optimizer_bytes": 0.0,
        "peak_allocated_bytes": 0.0,
    }


def test_a_record_has_the_names_of_the_prediction() -> None:
    record = Measurement("CPU", FIGURES, FIGURES, 1, 128, ("so",)).record()
    assert record["device"] == "CPU"
    assert record["peak_allocated_bytes"] == record["predicted"]["peak_allocated_bytes"] == 400
    assert "process_bytes" not in record
    assert record["notes"] == ["so"]


def test_what_a_cpu_cannot_run_as_a_gpu_does_is_refused_with_the_setting_at_fault() -> None:
    for settings, setting in (
        ({"load_in_8bit": True}, "load_in_8bit"),
        ({"optimizer": "paged_adamw_32bit"}, "optimizer"),
        ({"adapter": "qlora", "load_in_4bit": True, "quantize_moe_experts": True}, "quantize_moe_experts"),
    ):
        with pytest.raises(MeasurementFailed) as refused:
            runnable_on_host(recipe_of(**{**LORA, **settings}))
        assert refused.value.findings[0].setting == setting


def test_a_cpu_gets_few_tokens_and_says_so() -> None:
    recipe, notes = runnable_on_host(recipe_of(micro_batch_size=8, sequence_len=8192, optimizer="paged_adamw_8bit"))
    assert (recipe.micro_batch_size, recipe.sequence_len, recipe.optimizer) == (2, 128, "adamw_8bit")
    assert any("2 rows of 128 tokens" in note for note in notes)


def test_every_change_to_what_runs_is_said() -> None:
    recipe, notes = runnable_on_cuda(
        recipe_of(
            sample_packing=True,
            gradient_accumulation_steps=4,
            attn_implementation="flash_attention_2",
            plugins=["axolotl.integrations.liger.LigerPlugin"],
            liger_fused_linear_cross_entropy=True,
            gradient_checkpointing="offload",
        )
    )
    assert len(notes) == 6
    assert (recipe.attention, recipe.plugins, recipe.gradient_checkpointing) == ("sdpa", (), True)
    assert runnable_on_cuda(recipe) == (recipe, ())


def test_memory_of_the_host_is_known() -> None:
    assert 0 < available_bytes() < 2**50


def test_a_mixture_of_experts_runs_too() -> None:
    measured, predicted = both(recipe_of(**LORA), model_of({**MIXTRAL, "num_hidden_layers": 2}))
    assert measured.allocated_after_load_bytes == predicted.allocated_after_load_bytes
    assert measured.peak_allocated_bytes == pytest.approx(predicted.peak_allocated_bytes, rel=0.05)
