"""A run is transformers' own training, told step by step, and what it leaves can be used and continued."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer

from lora_explorer.preview.data import encode, load_rows
from lora_explorer.preview.events import Evaluation, Event, Measured, Sample, Started, Step
from lora_explorer.preview.models import hub_files
from lora_explorer.preview.run_folder import HOME_VARIABLE, create_run
from lora_explorer.preview.supervision.failures import LossNotFinite
from lora_explorer.preview.training.callbacks import StopAsked, stoppable
from lora_explorer.preview.training.run import train
from tests.preview.tiny_training import continued, losses, request_for, steps, tiny_llama, trained

# For each kind of run: settings, what a plain script gives LoraConfig, and what it gives SFTConfig.
ALIKE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "lora": ({"lora_dropout": 0.1}, {"lora_dropout": 0.1}, {}),
    "dora": ({"peft_use_dora": True}, {"use_dora": True}, {}),
    "rslora": ({"peft_use_rslora": True}, {"use_rslora": True}, {}),
    "modules to save": ({"lora_modules_to_save": ["lm_head"]}, {"modules_to_save": ["lm_head"]}, {}),
    "accumulation": ({"gradient_accumulation_steps": 2}, {}, {"gradient_accumulation_steps": 2}),
    "schedule": (
        {"lr_scheduler": "cosine", "warmup_steps": 2, "weight_decay": 0.1, "max_grad_norm": 0.01},
        {},
        {"lr_scheduler_type": "cosine", "warmup_steps": 2, "weight_decay": 0.1, "max_grad_norm": 0.01},
    ),
    "checkpointing": ({"gradient_checkpointing": True}, {}, {"gradient_checkpointing": True}),
    "other optimizer": ({"optimizer": "adafactor"}, {}, {"optim": "adafactor"}),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    yield tmp_path
    torch.set_num_threads(threads)


def script_losses(
    request: Any, peft_options: dict[str, Any], options: dict[str, Any], optimizer: Callable[[Any], Any] | None = None
) -> list[float]:
    """The losses of the same run as somebody would write it with TRL."""
    folder = request.base_model.name
    tokenizer = AutoTokenizer.from_pretrained(folder)
    data = encode(load_rows(request.data), tokenizer, request.recipe.sequence_len)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", **peft_options)
    arguments = {
        "lr_scheduler_type": "constant",
        "gradient_checkpointing": False,
        "optim": "adamw_torch_fused",
    } | options
    set_seed(42)
    adapted = get_peft_model(base, config) if optimizer else base
    trainer = SFTTrainer(
        model=adapted,
        args=SFTConfig(
            output_dir=f"{folder}/script",
            max_steps=request.steps,
            per_device_train_batch_size=2,
            learning_rate=0.01,
            logging_steps=1,
            seed=42,
            bf16=False,
            use_cpu=True,
            max_length=None,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **arguments,
        ),
        train_dataset=Dataset.from_list(list(data.train)),
        processing_class=tokenizer,
        peft_config=None if optimizer else config,
        optimizers=(optimizer(adapted) if optimizer else None, None),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("kind", ALIKE)
def test_losses_are_those_of_a_plain_script(kind: str, model: Path) -> None:
    values, peft_options, options = ALIKE[kind]
    request = request_for(model, values)
    _, events = trained(request)
    assert losses(events) == pytest.approx(script_losses(request, peft_options, options), abs=1e-5, rel=0)
    assert len(losses(events)) == request.steps


def test_losses_with_a_faster_b_are_those_of_a_plain_script(model: Path) -> None:
    request = request_for(model, {"loraplus_lr_ratio": 16})
    _, events = trained(request)

    def optimizer(adapted: Any) -> Any:
        return create_loraplus_optimizer(adapted, torch.optim.AdamW, lr=0.01, loraplus_lr_ratio=16)

    assert losses(events) == pytest.approx(script_losses(request, {}, {}, optimizer), abs=1e-5, rel=0)
    assert losses(events) != pytest.approx(losses(trained(request_for(model))[1]), abs=1e-5, rel=0)


def test_a_run_tells_its_start_every_step_and_its_memory(model: Path) -> None:
    folder, events = trained(request_for(model, eval_every=2, samples=2))
    assert isinstance(events[0], Started)
    assert events[0].run == folder.id
    assert [step.step for step in steps(events)] == [1, 2, 3, 4]
    assert all(step.tokens > 0 and step.memory_bytes > 0 and (step.grad_norm or 0) > 0 for step in steps(events))
    assert [event.step for event in events if isinstance(event, Evaluation)] == [2, 4]
    assert [type(event) for event in events if isinstance(event, (Measured, Sample))] == [Measured, Sample, Sample]
    assert folder.read("environment")["packages"]["peft"]


def test_the_learning_rate_told_is_the_one_the_step_was_made_with(model: Path) -> None:
    _, events = trained(request_for(model, {"lr_scheduler": "linear", "warmup_steps": 2}))
    assert [step.learning_rate for step in steps(events)] == pytest.approx([0, 0.005, 0.01, 0.005])


def test_a_recipe_that_can_learn_does(model: Path) -> None:
    _, events = trained(request_for(model, {"lora_target_linear": True, "lora_r": 16}, steps=12))
    found = losses(events)
    assert found[-1] < found[0] - 0.5


def test_an_extension_goes_on_as_if_the_run_had_not_ended(model: Path) -> None:
    whole = losses(trained(request_for(model, {"lora_dropout": 0.1}, steps=6))[1])
    folder, events = trained(request_for(model, {"lora_dropout": 0.1}, steps=3))
    folder.write("request", replace(folder.request(), steps=6).record())
    further = continued(folder)
    assert [step.step for step in steps(further)] == [4, 5, 6]
    assert losses(events) + losses(further) == pytest.approx(whole, abs=1e-5, rel=0)
    assert len(list(folder.checkpoints.glob("checkpoint-*"))) == 1


def test_a_stop_keeps_what_was_trained_and_goes_on_from_there(model: Path) -> None:
    folder = create_run(request_for(model, steps=50))
    stopping = threading.Event()
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, Step) and event.step == 2:
            stopping.set()

    train(folder, emit, stopping)
    done = len(steps(events))
    assert done in (2, 3)
    assert (folder.adapter / "adapter_model.safetensors").is_file()
    folder.write("request", replace(folder.request(), steps=done + 1).record())
    assert [step.step for step in steps(continued(folder))] == [done + 1]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_stop_is_heeded_in_the_middle_of_a_backward_pass(model: Path, checkpointing: bool) -> None:
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
        base.enable_input_require_grads()
    adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")).train()
    stopping = threading.Event()
    tokens = torch.arange(12)[None]
    with stoppable(adapted, stopping):
        loss = adapted(tokens, labels=tokens).loss
        stopping.set()
        with pytest.raises(StopAsked):
            loss.backward()
    assert not all(parameter.grad is not None for parameter in adapted.parameters() if parameter.requires_grad)


def test_the_adapter_left_behind_gives_the_trained_model(model: Path) -> None:
    folder, events = trained(request_for(model, eval_every=4))
    told = [event.eval_loss for event in events if isinstance(event, Evaluation)][-1]
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, folder.adapter).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    request = folder.request()
    rows = encode(load_rows(request.data), tokenizer, request.recipe.sequence_len).evaluation
    counted = [(adapted(**_batch(row)).loss.item(), len(row["input_ids"]) - 1) for row in rows]
    assert sum(loss * tokens for loss, tokens in counted) / sum(tokens for _, tokens in counted) == pytest.approx(
        told, abs=1e-4
    )


def _batch(row: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([values]) for name, values in row.items()}


def test_the_model_card_carries_the_settings_and_peft_loads_what_is_beside_it(model: Path) -> None:
    folder, _ = trained(request_for(model, steps=1, text="lora_r: 4 # as written"))
    card = (folder.adapter / "README.md").read_text(encoding="utf-8")
    assert "lora_r: 4 # as written" in card
    assert "1 step " in card
    AutoPeftModelForCausalLM.from_pretrained(folder.adapter)


def test_an_adapter_names_its_base_model_and_no_folder_of_this_machine(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_files, "cached_snapshot", lambda name: model)
    request = request_for(model, steps=1)
    on_hub = replace(request.base_model, name="owner/tiny", label="owner/tiny", origin="hub")
    folder, _ = trained(replace(request, base_model=on_hub))
    card = ModelCard.load(folder.adapter / "README.md")
    config = json.loads((folder.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert card.data["base_model"] == config["base_model_name_or_path"] == "owner/tiny"
    assert "base_model:adapter:owner/tiny" in card.data["tags"]
    assert str(model.parent) not in str(card.data)


def test_random_weights_show_no_loss(model: Path) -> None:
    _, events = trained(request_for(model, weights="shape", eval_every=1, samples=1))
    assert set(losses(events)) == {None}
    assert all(step.tokens_per_second > 0 for step in steps(events))
    assert not [event for event in events if isinstance(event, (Evaluation, Sample))]


def test_a_loss_that_is_no_number_ends_the_run_at_once(model: Path) -> None:
    request = request_for(model, {"optimizer": "sgd", "learning_rate": 10.0, "max_grad_norm": 0}, steps=200)
    events: list[Event] = []
    with pytest.raises(LossNotFinite) as failure:
        train(
            create_run(replace(request, run_anyway=True, recipe=request.recipe.changed(**_EXPLODING))),
            events.append,
            threading.Event(),
        )
    assert failure.value.findings[0].setting == "learning_rate"
    assert all(math.isfinite(loss or 0) for loss in losses(events))


_EXPLODING = {"adapter": None}


def test_the_trainers_own_log_for_tensorboard_lies_in_the_folder(model: Path) -> None:
    folder, _ = trained(request_for(model, steps=1, logging="tensorboard"))
    assert list((folder.path / "tensorboard").glob("events.*"))
