"""One step of a running Trainer, watched: the bytes that were predicted, and a training that does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode
from transformers import TrainerCallback

from lora_explorer.memory.measurement.figures import Figures
from lora_explorer.preview.events import Measured
from lora_explorer.preview.step_memory.step_meters import CudaStepMeter, MpsMeter
from lora_explorer.preview.step_memory.tracked_step import TrackedStep

from ..tiny_training import request_for, tiny_llama, trained
from ..watched_runs import GEMMA_3, MIXTRAL, QWEN_MOE, TINY, TOKENS, plan_of, run

QLORA = {"adapter": "qlora", "load_in_4bit": True}
FULL = {"adapter": None, "lora_r": None, "lora_alpha": None, "lora_target_linear": None}
# Counts of tokens and steps, single numbers that a step holds and its trace does not.
SINGLE_NUMBERS_BYTES = 64
# torch's AdamW counts the steps of each tensor on the host, four bytes for each of them.
STEP_COUNT_BYTES = 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Products this small are slower on several threads, far slower on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def measured(tracked: TrackedStep) -> Measured:
    event = tracked.event()
    assert event is not None
    assert sum(event.measured_parts.values()) == event.measured["peak_allocated_bytes"]
    assert sum(event.predicted_parts.values()) == event.predicted["peak_allocated_bytes"]
    return event


def differences_bytes(event: Measured) -> dict[str, int]:
    assert event.measured.keys() == event.predicted.keys()
    assert event.measured_parts.keys() == event.predicted_parts.keys()
    figures = {name: size - event.predicted[name] for name, size in event.measured.items()}
    return figures | {part: size - event.predicted_parts[part] for part, size in event.measured_parts.items()}


@pytest.mark.parametrize(
    ("config", "settings", "lengths"),
    [
        (TINY, {}, (TOKENS,)),
        (TINY, {"attn_implementation": "eager", "lora_dropout": 0.1}, (TOKENS, 30)),
        (TINY, {"gradient_checkpointing": True, "optimizer": "adafactor"}, (TOKENS, 30)),
        (TINY, {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}, (TOKENS,)),
        (TINY, {"peft_use_dora": True, "optimizer": "sgd", "weight_decay": 0.1}, (TOKENS, 30)),
        (TINY, {"lora_modules_to_save": ["lm_head"], "max_grad_norm": 0.0}, (20, 20)),
        (TINY, {**QLORA, "gradient_checkpointing": True}, (TOKENS, 30)),
        (TINY, {"optimizer": "adamw_bnb_8bit", "lora_r": 64}, (TOKENS,)),
        (TINY, {**FULL, "bf16": True}, (TOKENS, 30)),
        (TINY, {"bf16": True, "gradient_checkpointing": True, "lora_dropout": 0.1}, (TOKENS, 30)),
        ({**TINY, "tie_word_embeddings": True}, {"micro_batch_size": 1}, (17,)),
        (MIXTRAL, {"bf16": True}, (TOKENS,)),
        (QWEN_MOE, {}, (TOKENS, 30)),
        (GEMMA_3, {}, (TOKENS, 30)),
    ],
)
def test_a_step_of_the_trainer_holds_the_bytes_that_were_predicted(
    config: dict[str, Any], settings: dict[str, Any], lengths: tuple[int, ...], tmp_path: Path
) -> None:
    event = measured(run(plan_of(config, **settings), tmp_path, lengths).tracked)
    assert max(map(abs, differences_bytes(event).values())) <= SINGLE_NUMBERS_BYTES


# The embedding is the first that the optimizer comes to, and the head the last.
@pytest.mark.parametrize("saved", [[], ["embed_tokens", "lm_head"]])
def test_torchs_plain_adamw_is_predicted_but_for_its_step_counts(saved: list[str], tmp_path: Path) -> None:
    ran = run(plan_of(optimizer="adamw_torch", weight_decay=0.1, lora_modules_to_save=saved), tmp_path)
    allowed = SINGLE_NUMBERS_BYTES + STEP_COUNT_BYTES * len(ran.weights)
    assert max(map(abs, differences_bytes(measured(ran.tracked)).values())) <= allowed


@pytest.mark.parametrize(
    # Four rows are a step. The first pair is the longer one, as long as the second, or the shorter one.
    "lengths",
    [(TOKENS, TOKENS, 20, 20), (30, 30, 30, 30), (20, 20, TOKENS, 30)],
)
def test_micro_batches_of_other_lengths_are_predicted_with_the_gradients_that_are_there(
    lengths: tuple[int, ...], tmp_path: Path
) -> None:
    event = measured(run(plan_of(gradient_accumulation_steps=2), tmp_path, lengths).tracked)
    assert max(map(abs, differences_bytes(event).values())) <= SINGLE_NUMBERS_BYTES


def test_the_first_step_makes_the_optimizers_states(tmp_path: Path) -> None:
    first = measured(run(plan_of(), tmp_path, watched_step=1).tracked)
    second = measured(run(plan_of(), tmp_path, watched_step=2).tracked)
    assert max(map(abs, differences_bytes(first).values())) <= SINGLE_NUMBERS_BYTES
    assert "optimizer state" not in first.measured_parts
    grown = second.measured["peak_backward_bytes"] - first.measured["peak_backward_bytes"]
    assert grown == second.measured_parts["optimizer state"]


@pytest.mark.parametrize("settings", [{}, {"bf16": True, "gradient_checkpointing": True, "lora_dropout": 0.1}])
def test_training_is_the_same_to_the_last_bit_whether_a_step_is_watched_or_not(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    plan = plan_of(gradient_accumulation_steps=2, **settings)
    watched, unwatched = (run(plan, tmp_path, (TOKENS, 30, 20), watched_step=step) for step in (2, None))
    for name in ("loss", "grad_norm"):
        assert [log.get(name) for log in watched.logs] == [log.get(name) for log in unwatched.logs]
    assert all(torch.equal(weight, unwatched.weights[name]) for name, weight in watched.weights.items())


class Trouble(TrainerCallback):
    """Something goes wrong in the second step, after its backward pass."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 1:
            raise FloatingPointError("trouble")


class Look(TrainerCallback):
    """Sees at the end of each step what is still around the model."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen.append(put_around(kwargs["model"]))


def put_around(model: nn.Module) -> tuple[int, tuple[int, ...], object]:
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    functions = (vars(module).get("_gradient_checkpointing_func") for module in model.modules())
    return hooks, tuple(id(function) for function in functions if function), _get_current_dispatch_mode()


def test_only_the_watched_step_has_anything_put_around_it(tmp_path: Path) -> None:
    look = Look()
    run(plan_of(gradient_checkpointing=True), tmp_path, callbacks=[look])
    assert len(look.seen) == 3
    assert len(set(look.seen)) == 1
    assert look.seen[0][-1] is None


def test_a_step_that_fails_leaves_no_watch_behind(tmp_path: Path) -> None:
    look = Look()
    with pytest.raises(FloatingPointError):
        run(plan_of(gradient_checkpointing=True), tmp_path, callbacks=[look, Trouble()])
    assert _get_current_dispatch_mode() is None


def test_a_step_that_never_came_says_nothing(tmp_path: Path) -> None:
    assert run(plan_of(), tmp_path, watched_step=4).tracked.event() is None


def test_a_preview_tells_its_measured_step_beside_the_predicted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_EXPLORER_HOME", str(tmp_path / "home"))
    _, told = trained(request_for(tiny_llama(tmp_path / "model"), {"gradient_accumulation_steps": 2}, steps=2))
    (event,) = (event for event in told if isinstance(event, Measured))
    assert max(map(abs, differences_bytes(event).values())) <= SINGLE_NUMBERS_BYTES


def test_a_gpus_step_has_its_peaks_by_phase_and_the_parts_that_can_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks, reserved = iter([900, 500, 700, 600]), iter([1000, 1100, 1200, 1100])
    device = {
        "synchronize": lambda: None,
        "memory_allocated": lambda: 400,
        "max_memory_allocated": lambda: next(peaks),
        "max_memory_reserved": lambda: next(reserved),
        "reset_peak_memory_stats": lambda: None,
        "mem_get_info": lambda: (5000 - 1100 - 250, 5000),
        "memory_reserved": lambda: 1100,
    }
    for name, value in device.items():
        monkeypatch.setattr(torch.cuda, name, value)
    memory = read(CudaStepMeter(nn.Linear(4, 4, bias=False)))
    # Loading came to 900, the phases to 500, 700 and 600.
    assert memory.figures == Figures(400, 500, 700, 600, 900, 1200, 1200 + 250)
    assert dict(memory.parts) == {"base weights": 64, "optimizer state": 80}


def test_an_apple_gpus_step_is_read_where_a_phase_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    allocated = iter([100, 200, 800, 300, 350])
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: next(allocated))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: None)
    memory = read(MpsMeter(nn.Linear(4, 4, bias=False)))
    assert memory.figures == Figures(100, 800, 800, 350, 800)


def read(meter: Any) -> Any:
    meter.begin(SimpleNamespace(state={"weight": {"m": torch.zeros(10), "v": torch.zeros(10)}}))
    meter.enter_forward({})
    meter.leave_forward()
    meter.enter_optimizer()
    return meter.end()
