"""The adapter that is trained is the one that is counted; one that is continued stays what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from lora_explorer.adapters import inject_adapter, plan_adapter
from lora_explorer.base_models import Access, find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import PreviewRefused
from lora_explorer.memory.measurement.real_step import host_step
from lora_explorer.preview.models.adaptation import adapt
from lora_explorer.preview.models.adapter_start import find_adapter_start
from lora_explorer.preview.models.model_loading import load_model
from lora_explorer.preview.models.weights import WeightSource
from lora_explorer.settings import Recipe, recipe_from

from ..tiny_hub import TinyHub, point_to, save_tiny_llama, serving

COUNTED: list[dict[str, Any]] = [
    {"lora_target_modules": ["q_proj", "v_proj"]},
    {"lora_target_linear": True, "peft_use_dora": True},
    {"lora_target_modules": r".*layers\.1\..*_proj", "peft_use_rslora": True},
    {"lora_target_modules": ["q_proj"], "lora_modules_to_save": ["embed_tokens", "lm_head"]},
    {"lora_target_modules": ["q_proj", "down_proj"], "lora_rank_pattern": {"down_proj": 2}},
    {"lora_target_modules": ["q_proj"], "peft_trainable_token_indices": [1, 2, 3]},
    {"lora_target_linear": True, "peft_layers_to_transform": [0]},
    {"adapter": None},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    save_tiny_llama(path, tokenizer=False)
    return path


def recipe(**values: Any) -> Recipe:
    common = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "bf16": False, "micro_batch_size": 1}
    targets = {} if any("target" in name for name in values) else {"lora_target_modules": ["q_proj", "v_proj"]}
    return recipe_from({**common, **targets, "sequence_len": 16, **values})


def adapted(folder: Path, wanted: Recipe) -> Any:
    start = find_adapter_start(wanted)
    step = host_step(start.recipe)
    source = WeightSource("own", find_base_model(str(folder)), folder=folder)
    return adapt(load_model(source, step, "cpu"), start, step)


def trainable(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def train_a_little(model: Any) -> None:
    ids = torch.arange(32).reshape(2, 16)
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.5)
    for _ in range(2):
        torch.autograd.backward(model(input_ids=ids, labels=ids).loss)
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of rank 6 on q_proj and o_proj, trained for two steps and saved."""
    model = adapted(folder, recipe(lora_r=6, lora_alpha=12, lora_target_modules=["q_proj", "o_proj"]))
    train_a_little(model)
    path = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(path)
    return path


@pytest.mark.parametrize("values", COUNTED, ids=str)
def test_what_is_trained_is_what_is_counted(values: dict[str, Any], folder: Path) -> None:
    wanted = recipe(**values)
    plan = plan_adapter(wanted, load_skeleton(find_base_model(str(folder))))
    model = adapted(folder, wanted)
    assert trainable(model) == plan.trainable_params
    assert model.training


def test_only_the_adapter_gets_gradients_and_only_it_moves(folder: Path) -> None:
    model = adapted(folder, recipe(gradient_checkpointing=True))
    before = {path: parameter.detach().clone() for path, parameter in model.named_parameters()}
    train_a_little(model)
    moved = {path for path, parameter in model.named_parameters() if not torch.equal(before[path], parameter)}
    assert moved == {path for path, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in path for path in moved)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ({}, torch.float32),
        ({"peft_autocast_adapter_dtype": False}, torch.bfloat16),
        ({"peft_autocast_adapter_dtype": False, "lora_fp32_gradients": True}, torch.float32),
    ],
)
def test_the_adapter_has_the_type_that_the_settings_say(values: dict[str, Any], dtype: Any, folder: Path) -> None:
    model = adapted(folder, recipe(bf16=True, **values))
    assert {each.dtype for each in model.parameters() if each.requires_grad} == {dtype}


def test_a_continued_adapter_is_governed_by_its_own_config(folder: Path, trained: Path) -> None:
    wanted = recipe(lora_r=64, lora_alpha=1, lora_target_linear=True, lora_model_dir=str(trained))
    start = find_adapter_start(wanted)
    [note] = start.notes
    assert "adapter_config.json decides: rank 6, alpha 12" in note
    model = adapted(folder, wanted)
    assert trainable(model) == plan_adapter(start.recipe, load_skeleton(find_base_model(str(folder)))).trainable_params
    saved = load_file(str(trained / "adapter_model.safetensors"))
    held = {name.replace(".default", ""): value for name, value in model.named_parameters() if value.requires_grad}
    assert held.keys() == saved.keys()
    assert all(torch.equal(held[name], tensor) for name, tensor in saved.items())


@pytest.mark.parametrize("values", COUNTED[:-1], ids=str)
def test_any_adapter_that_was_saved_is_continued_as_it_was(
    values: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    first = adapted(folder, recipe(**values))
    first.save_pretrained(tmp_path)
    again = recipe(lora_r=2, lora_model_dir=str(tmp_path))
    skeleton = load_skeleton(find_base_model(str(folder)))
    assert plan_adapter(find_adapter_start(again).recipe, skeleton).trainable_params == trainable(first)
    assert trainable(adapted(folder, again)) == trainable(first)


def test_an_adapter_on_the_hub_is_continued_from_its_two_files(
    folder: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = TinyHub({"owner/adapter": trained})
    with serving(hub) as endpoint:
        point_to(endpoint, tmp_path / "cache", monkeypatch)
        model = adapted(folder, recipe(lora_model_dir="owner/adapter"))
    assert isinstance(model, PeftModel)
    assert model.peft_config["default"].r == 6
    fetched = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
    assert fetched == {"adapter_config.json", "adapter_model.safetensors"}


def test_an_adapter_of_another_base_model_is_refused(trained: Path, tmp_path: Path) -> None:
    config = LlamaForCausalLM.config_class(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=300
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(PreviewRefused, match="another base model"):
        adapted(tmp_path, recipe(lora_model_dir=str(trained)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"peft_type": "IA3"}, "not a LoRA adapter"),
        ({"bias": "all"}, "uses bias"),
        ({"exclude_modules": ["q_proj"]}, "uses exclude_modules"),
        ({"r": "many"}, "cannot be used"),
        (None, "no adapter_config.json"),
    ],
)
def test_an_adapter_that_cannot_be_continued_is_one_sentence(
    change: dict[str, Any] | None, reason: str, trained: Path, tmp_path: Path
) -> None:
    if change is not None:
        config = json.loads((trained / "adapter_config.json").read_text())
        (tmp_path / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(PreviewRefused, match=reason) as refused:
        find_adapter_start(recipe(lora_model_dir=str(tmp_path)))
    assert refused.value.findings[0].setting == "lora_model_dir"


def test_a_public_page_continues_no_adapter_of_the_host(trained: Path) -> None:
    for named in (str(trained), "owner/adapter"):
        with pytest.raises(PreviewRefused, match="public page"):
            find_adapter_start(recipe(lora_model_dir=named), access=Access(folders=False))


@pytest.mark.parametrize("scheme", ["pissa", "orthogonal", "mica", "corda", "nonsense"])
def test_a_start_that_is_refused_is_one_that_peft_refuses(scheme: str, folder: Path) -> None:
    four_bit = recipe(adapter="qlora", load_in_4bit=True, peft_init_lora_weights=scheme)
    with pytest.raises(PreviewRefused):
        find_adapter_start(four_bit)
    step = host_step(four_bit)
    source = WeightSource("own", find_base_model(str(folder)), folder=folder)
    with pytest.raises((TypeError, RuntimeError, ValueError)):
        inject_adapter(four_bit, load_model(source, step, "cpu"))


@pytest.mark.parametrize(
    "scheme", [True, "gaussian", "eva", "olora", "pissa", "pissa_niter_4", "orthogonal", "lora_ga", "mica"]
)
def test_a_start_that_is_taken_leaves_the_model_as_it_was(scheme: bool | str, folder: Path) -> None:
    ids = torch.arange(32).reshape(2, 16)
    base = LlamaForCausalLM.from_pretrained(folder)
    model = adapted(folder, recipe(peft_init_lora_weights=scheme)).eval()
    with torch.no_grad():
        assert torch.allclose(model(input_ids=ids).logits, base(input_ids=ids).logits, atol=1e-4)


def test_loftq_is_left_out_without_a_cuda_device_and_kept_with_one() -> None:
    wanted = recipe(loftq_bits=4)
    start = find_adapter_start(wanted, "cpu")
    assert start.recipe.loftq_bits is None
    assert "CUDA device only" in start.notes[0]
    assert find_adapter_start(wanted, "cuda").recipe == wanted
    with pytest.raises(PreviewRefused, match="4 and 8 bits"):
        find_adapter_start(recipe(loftq_bits=2), "cuda")
