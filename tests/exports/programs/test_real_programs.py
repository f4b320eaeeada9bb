"""The real programs read what is written for them, and train what the page says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from program_recipes import CASES, FOUR_BIT, PLAIN, REGEX, recipe_on, tiny_skeleton, write_tiny_model
from real_programs import ask

from lora_explorer.adapters import plan_adapter
from lora_explorer.adapters.config import lora_config
from lora_explorer.base_models import find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.tools import TOOLS, export_recipe
from lora_explorer.settings import Recipe

SKELETON = tiny_skeleton()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def questions(tool: str, cases: Mapping[str, Recipe], model: Path, folder: Path) -> list[dict[str, Any]]:
    """A file for each case, written for the tool."""
    asked = []
    for number, recipe in enumerate(cases.values()):
        file = folder / f"{tool}-{number}.yml"
        file.write_text(export_recipe(recipe, tool, SKELETON).text, encoding="utf-8")
        asked.append({"file": str(file), "model": str(model), "build": not recipe.load_in_4bit})
    return asked


def trainer_arguments(recipe: Recipe) -> dict[str, Any]:
    """What transformers' trainer has to be told for a recipe."""
    filled = filled_in(recipe)
    return {
        "learning_rate": recipe.learning_rate,
        "per_device_train_batch_size": recipe.micro_batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation_steps,
        "num_train_epochs": recipe.num_epochs,
        "max_steps": recipe.max_steps or -1,
        "optim": recipe.optimizer,
        "lr_scheduler_type": recipe.lr_scheduler,
        "warmup": filled.warmup_steps or filled.warmup_ratio,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": filled.max_grad_norm,
        "bf16": True,
        "max_length": recipe.sequence_len,
        "packing": recipe.sample_packing,
        "gradient_checkpointing": bool(recipe.gradient_checkpointing),
    }


def trained(recipe: Recipe) -> dict[str, Any]:
    return {"trainable": plan_adapter(recipe, SKELETON).trainable_params, "scaling": pytest.approx(recipe.scaling)}


def differences(answer: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (answer[key], value) for key, value in wanted.items() if answer[key] != value}


@pytest.mark.parametrize(
    ("tool", "more"), [("llama-factory", {}), ("ms-swift", {"a regex": REGEX})], ids=["llama-factory", "ms-swift"]
)
def test_programs_on_transformers_train_what_the_recipe_says(
    tool: str, more: Mapping[str, Any], model: Path, tmp_path: Path
) -> None:
    named = {**CASES, **more, "in 4 bits": FOUR_BIT}
    cases = {name: recipe_on(model, values) for name, values in named.items()}
    answers = ask(TOOLS[tool].words, questions(tool, cases, model, tmp_path), tmp_path)
    for (name, recipe), answer in zip(cases.items(), answers, strict=True):
        wanted = trainer_arguments(recipe)
        wanted["use_reentrant"] = recipe.gradient_checkpointing_kwargs.get("use_reentrant", True)
        wanted |= {"bits": 4, "double_quantization": True} if recipe.load_in_4bit else trained(recipe)
        assert not differences(answer, wanted), name
        assert not answer.get("unknown"), name


def test_mlx_lm_trains_what_the_recipe_says(model: Path, tmp_path: Path) -> None:
    named = {
        **CASES,
        "the last layers": {**CASES["names"], "peft_layers_to_transform": [1, 2]},
        "a line": {**CASES["names"], "lr_scheduler": "linear", "max_steps": 20, "warmup_ratio": 0.1},
        "a schedule": {
            **CASES["names"],
            "lr_scheduler": "cosine",
            "max_steps": 20,
            "warmup_ratio": None,
            "warmup_steps": 4,
        },
    }
    del named["saved in full"]
    cases = {name: recipe_on(model, values) for name, values in named.items()}
    answers = ask("mlx_lm", questions("mlx-lm", cases, model, tmp_path), tmp_path)
    for (name, recipe), answer in zip(cases.items(), answers, strict=True):
        wanted = {**trained(recipe), "batch_size": recipe.micro_batch_size, "unknown": []}
        assert not differences(answer, wanted), name
    schedule, linear = answers[-1], answers[-2]
    assert linear["rates"][:3] == pytest.approx([0.0, 0.00015, 0.0003])
    assert schedule["iters"] == 20 * PLAIN["gradient_accumulation_steps"]
    assert schedule["rates"] == pytest.approx([0.0003 * step / 4 for step in range(5)])


# From each family that torchtune builds, with and without a head of its own.
FAMILIES = (
    "meta-llama/Llama-2-7b-hf",
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.2-1B",
    "mistralai/Mistral-7B-v0.1",
    "google/gemma-2b",
    "google/gemma-2-9b",
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen2.5-7B",
)


def test_torchtune_trains_what_the_recipe_says(tmp_path: Path) -> None:
    adapters = {
        "all linear": {"lora_target_linear": True},
        "DoRA on attention": {"lora_target_modules": ["q_proj", "o_proj"], "peft_use_dora": True},
        "in 4 bits": {"lora_target_modules": ["v_proj"], "adapter": "qlora", "load_in_4bit": True},
    }
    asked, wanted = [], []
    for base_model in FAMILIES:
        skeleton = load_skeleton(find_base_model(base_model))
        for name, adapter in adapters.items():
            recipe = recipe_on(base_model, {**PLAIN, "lora_dropout": 0, "lora_target_modules": None, **adapter})
            file = tmp_path / f"{len(asked)}.yml"
            file.write_text(export_recipe(recipe, "torchtune", skeleton).text, encoding="utf-8")
            asked.append({"file": str(file)})
            counted = plan_adapter(recipe, skeleton).trainable_params
            wanted.append((base_model, name, {"trainable": counted, "quantized": recipe.load_in_4bit, "batch": 15}))
    for answer, (base_model, name, expected) in zip(ask("torchtune", asked, tmp_path), wanted, strict=True):
        assert not differences(answer, {**expected, "missing": []}), (base_model, name)
        assert answer["components"] == [True] * 6


@pytest.mark.parametrize("name", [*CASES, "a regex", "in 4 bits"])
def test_trl_builds_the_same_adapter_and_arguments(name: str, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="TRL needs Python 3.11")
    recipe = recipe_on("tiny", {**CASES, "a regex": REGEX, "in 4 bits": FOUR_BIT}[name])
    file = tmp_path / "trl.yml"
    file.write_text(export_recipe(recipe, "trl", SKELETON).text, encoding="utf-8")
    parser = trl.TrlParser((trl.ScriptArguments, trl.SFTConfig, trl.ModelConfig, trl.DatasetMixtureConfig))
    script, training, model, _ = parser.parse_args_and_config(["--config", str(file), "--use_cpu", "true"])
    read = {field.name: getattr(training, field.name) for field in dataclasses.fields(training)}
    read |= {"warmup": read["warmup_steps"], "optim": read["optim"].value}
    read["lr_scheduler_type"] = read["lr_scheduler_type"].value
    assert not differences(read, trainer_arguments(recipe))
    ours, theirs = lora_config(recipe, SKELETON.model).to_dict(), trl.get_peft_config(model).to_dict()
    if name == "one name":
        # TRL makes a list of one a regex.
        assert theirs.pop("target_modules") == r"(?:.*\.)?down_proj"
        ours.pop("target_modules")
    ours["target_parameters"] = theirs["target_parameters"] = None
    assert theirs == ours
    assert model.dtype == "bfloat16"
    quantized = trl.get_quantization_config(model)
    assert bool(quantized) is recipe.load_in_4bit
    assert quantized is None or (quantized.bnb_4bit_use_double_quant and quantized.bnb_4bit_quant_type == "nf4")
    assert script.dataset_name


def test_trl_adapts_the_module_that_a_list_of_one_names() -> None:
    from peft import LoraConfig, get_peft_model

    recipe = recipe_on("tiny", CASES["one name"])
    regex = LoraConfig(r=8, lora_alpha=12, target_modules=r"(?:.*\.)?down_proj", task_type="CAUSAL_LM")
    model = get_peft_model(SKELETON.new_model(), regex)
    assert model.get_nb_trainable_parameters()[0] == plan_adapter(recipe, SKELETON).trainable_params
