"""A plan says before anything is loaded what will run, and every difference from what was asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from lora_explorer.base_models import base_model_from_config
from lora_explorer.errors import PreviewRefused
from lora_explorer.preview import plan as planning
from lora_explorer.preview.device import Precision, precision_on
from lora_explorer.preview.plan import PreviewPlan, plan_preview
from lora_explorer.preview.request import Limits, PreviewRequest
from lora_explorer.preview.run_folder import HOME_VARIABLE, RunFolder
from lora_explorer.preview.training.trainer import training_arguments, warmup_steps
from lora_explorer.settings import recipe_from
from lora_explorer.settings.training import LR_SCHEDULERS, OPTIMIZERS

_LORA = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_linear": True, "learning_rate": 0.001}


@pytest.fixture(autouse=True)
def _on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    monkeypatch.setattr(planning, "find_device", lambda: "cpu")


def request(values: dict[str, Any] | None = None, **choices: Any) -> PreviewRequest:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 300}
    config = LlamaConfig(num_attention_heads=4, num_key_value_heads=2, architectures=["LlamaForCausalLM"], **sizes)
    base_model = base_model_from_config(json.dumps(config.to_dict()))
    recipe = recipe_from(_LORA | (values or {}))
    return PreviewRequest(**({"recipe": recipe, "base_model": base_model, "weights": "shape"} | choices))


def plan(values: dict[str, Any] | None = None, **choices: Any) -> PreviewPlan:
    return plan_preview(request(values, **choices))


def said(found: PreviewPlan) -> str:
    return " ".join(found.notes)


@pytest.mark.parametrize(
    ("asked", "setting"),
    [
        (request(steps=0), "steps"),
        (request(steps=101, limits=Limits(steps=100)), "steps"),
        (request({"learning_rate": None}), "learning_rate"),
        (request({"learning_rate": 10}), "learning_rate"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_the_setting_at_fault(asked: PreviewRequest, setting: str) -> None:
    with pytest.raises(PreviewRefused) as refused:
        plan_preview(asked)
    (finding,) = refused.value.findings
    assert finding.setting == setting
    assert finding.message.endswith(".")
    assert finding.suggestion


def test_a_wild_learning_rate_runs_where_somebody_insists() -> None:
    found = plan({"learning_rate": 10}, run_anyway=True)
    assert found.recipe.learning_rate == 10
    assert "A learning rate of 10 is high" in said(found)


def test_a_recipe_that_runs_as_it_is_is_not_changed() -> None:
    plain = {"bf16": False, "sequence_len": 256, "attn_implementation": "sdpa", "optimizer": "adamw_torch"}
    asked = request(plain)
    found = plan_preview(asked)
    values = dict.fromkeys((f"lora_{kernel}_kernel" for kernel in ("mlp", "qkv", "o", "embedding")), False)
    assert found.recipe == asked.recipe.changed(fp16=False, **values)
    assert found.notes == found.source.notes


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_one_the_trainer_makes_or_is_replaced_with_a_note(optimizer: str, tmp_path: Path) -> None:
    from transformers import Trainer

    found = plan({"optimizer": optimizer})
    Trainer.get_optimizer_cls_and_kwargs(training_arguments(found, RunFolder(tmp_path), evaluates=False))
    assert (found.recipe.optimizer == optimizer) != (f"{optimizer} does not run here" in said(found))


@pytest.mark.parametrize("schedule", LR_SCHEDULERS)
def test_every_schedule_is_one_the_trainer_makes_or_is_replaced_with_a_note(schedule: str) -> None:
    import torch
    from transformers import get_scheduler

    found = plan({"lr_scheduler": schedule})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    get_scheduler(found.recipe.lr_scheduler, optimizer, num_warmup_steps=0, num_training_steps=10)
    assert (found.recipe.lr_scheduler == schedule) != (schedule in said(found))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sample_packing": True}, "padded instead of packed"),
        ({"lora_mlp_kernel": True}, "PEFT's own layers"),
        ({"chunked_cross_entropy": True}, "transformers' own"),
        ({"gradient_checkpointing": True, "activation_offloading": True}, "nothing is offloaded"),
        ({"attn_implementation": "flash_attention_2"}, "in place of flash_attention_2"),
        ({"fp16": True, "bf16": False}, "does not train in float16"),
        ({"warmup_steps": 100}, "All 30 steps are warm-up"),
    ],
)
def test_a_difference_from_the_recipe_is_said(values: dict[str, Any], words: str) -> None:
    assert words in said(plan(values))


def test_a_cpu_gets_lengths_it_can_bear_and_says_so() -> None:
    found = plan({"sequence_len": 4096, "micro_batch_size": 2, "gradient_accumulation_steps": 8})
    assert (found.sequence_len, found.micro_batch_size, found.gradient_accumulation_steps) == (512, 2, 2)
    assert "not 2 × 8 of 4096" in said(found)


def test_lengths_that_are_asked_for_stay() -> None:
    asked = {"sequence_len": 1024, "micro_batch_size": 3, "gradient_accumulation_steps": 5}
    found = plan(asked, **asked)
    assert {name: getattr(found, name) for name in asked} == asked
    assert "A CPU takes" not in said(found)


def test_bfloat16_is_kept_on_a_cpu_that_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = request({"bf16": True}).recipe
    monkeypatch.setattr("lora_explorer.preview.device.has_native_bf16", lambda: True)
    assert precision_on("cpu", recipe) == Precision("bfloat16")
    monkeypatch.setattr("lora_explorer.preview.device.has_native_bf16", lambda: False)
    assert precision_on("cpu", recipe).dtype == "float32"
    assert precision_on("cpu", recipe).note


def test_the_recipes_seed_goes_before_the_requests() -> None:
    assert plan(seed=7).seed == 7
    assert plan({"seed": 9}, seed=7).seed == 9


@pytest.mark.parametrize(
    ("values", "steps", "warmup"),
    [({"warmup_steps": 5}, 30, 5), ({"warmup_ratio": 0.1}, 30, 3), ({}, 100, 3), ({}, 30, 0), ({}, 40, 2)],
)
def test_warm_up_is_axolotls(values: dict[str, Any], steps: int, warmup: int) -> None:
    assert warmup_steps(request(values).recipe, steps) == warmup


def test_a_plan_is_recorded_in_plain_values() -> None:
    record = plan().record()
    assert json.loads(json.dumps(record))["weights"] == "shape"


def test_planning_twice_gives_the_same() -> None:
    asked = request({"sample_packing": True})
    assert plan_preview(asked) == plan_preview(replace(asked))
