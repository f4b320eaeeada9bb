"""What is loaded is what was saved, what is random has the right shape, and what is broken is one sentence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_explorer.base_models import BaseModel, base_model_from_config, find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.errors import PreviewRefused
from lora_explorer.memory.measurement.real_step import host_step
from lora_explorer.memory.plan.step import Quantization, Step
from lora_explorer.preview.models import bundled_model
from lora_explorer.preview.models.adaptation import adapt
from lora_explorer.preview.models.adapter_start import AdapterStart
from lora_explorer.preview.models.model_loading import load_model, load_tokenizer
from lora_explorer.preview.models.quantization import runnable_quantization
from lora_explorer.preview.models.stand_in_tokenizer import stand_in_tokenizer
from lora_explorer.preview.models.weights import WeightSource
from lora_explorer.settings import Recipe, recipe_from

from ..tiny_hub import save_tiny_llama

FAMILIES = {
    "llama": {},
    "gemma2": {"head_dim": 16},
    "gpt_neox": {},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16},
}


@pytest.fixture(autouse=True)
def _no_small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_EXPLORER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(bundled_model, "bundled_gguf", lambda: None)


@pytest.fixture
def source(tmp_path: Path) -> WeightSource:
    save_tiny_llama(tmp_path / "model")
    return WeightSource("own", find_base_model(str(tmp_path / "model")), folder=tmp_path / "model")


def recipe(**values: object) -> Recipe:
    common = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_modules": ["q_proj", "v_proj"]}
    return recipe_from({**common, "bf16": False, "micro_batch_size": 2, "sequence_len": 16, **values})


def step(**values: object) -> Step:
    return host_step(recipe(**values))


def shape_of(family: str) -> WeightSource:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 300}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    text = json.dumps({"model_type": family, **sizes, **heads, **FAMILIES[family]})
    return WeightSource("shape", base_model_from_config(text))


def loss_of(model: torch.nn.Module) -> float:
    ids = torch.arange(32).reshape(2, 16)
    return float(model(input_ids=ids, labels=ids).loss.detach())


def test_own_weights_are_those_that_were_saved(source: WeightSource) -> None:
    saved = load_file(str(source.folder / "model.safetensors"))
    model = load_model(source, step(), "cpu")
    assert model.config.use_cache is False
    loaded = dict(model.named_parameters())
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_come_in_the_type_that_the_step_has(source: WeightSource, dtype: str) -> None:
    model = load_model(source, replace(step(), dtype=dtype, conversions="none"), "cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_have_the_shapes_of_the_model_and_train(family: str) -> None:
    source = shape_of(family)
    model = load_model(source, step(), "cpu")
    skeleton = load_skeleton(source.base_model)
    shapes = {path: weight.shape for path, weight in skeleton.model.named_parameters()}
    assert {path: weight.shape for path, weight in model.named_parameters()} == shapes
    own_storages = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    assert len(own_storages) == len(shapes)
    assert math.isfinite(loss_of(adapt(model, AdapterStart(recipe(adapter=None)), step(adapter=None))))


def test_random_weights_are_the_same_each_time() -> None:
    first, second = (load_model(shape_of("llama"), step(), "cpu") for _ in range(2))
    assert loss_of(first) == loss_of(second)


def test_weights_that_do_not_fit_their_config_are_refused(source: WeightSource) -> None:
    file = source.folder / "model.safetensors"
    tensors = load_file(str(file))
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, str(file), metadata={"format": "pt"})
    with pytest.raises(PreviewRefused, match=r"layers\.1\.mlp\.up_proj.* is missing"):
        load_model(source, step(), "cpu")


def test_a_damaged_file_is_refused_in_a_sentence(source: WeightSource) -> None:
    file = source.folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(PreviewRefused, match="cannot be read") as refused:
        load_model(source, step(), "cpu")
    assert "\n" not in str(refused.value)


def test_code_that_comes_with_weights_is_not_run(source: WeightSource) -> None:
    config = json.loads((source.folder / "config.json").read_text())
    named = {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (source.folder / "config.json").write_text(json.dumps(config | named))
    (source.folder / "evil.py").write_text(f"open({str(source.folder / 'ran')!r}, 'w')")
    load_model(source, step(), "cpu")
    load_tokenizer(source)
    assert not (source.folder / "ran").exists()


def test_four_bit_weights_learn_on_a_cpu(source: WeightSource) -> None:
    quantized = replace(step(), quantization=Quantization("nf4"), kbit_preparation=True)
    model = load_model(source, quantized, "cpu")
    adapted = adapt(model, AdapterStart(recipe()), quantized)
    packed = [parameter for parameter in model.parameters() if parameter.dtype is torch.uint8]
    assert len(packed) == 2 * 7
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-2)
    ids = torch.arange(32).reshape(2, 16)
    losses = []
    for _ in range(5):
        loss = adapted(input_ids=ids, labels=ids).loss
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)


def test_a_device_without_kernels_trains_unquantized_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import bitsandbytes

    four_bit = recipe(adapter="qlora", load_in_4bit=True)
    assert runnable_quantization(four_bit, "cpu") == (four_bit, ())
    monkeypatch.setattr(bitsandbytes, "supported_torch_devices", {"cuda"})
    plain, [note] = runnable_quantization(four_bit, "cpu")
    assert (plain.adapter, plain.load_in_4bit) == ("lora", False)
    assert "no 4-bit kernels for this CPU" in note
    assert runnable_quantization(recipe(), "cpu") == (recipe(), ())


@pytest.mark.parametrize("vocab_size", [32, 300, 32000])
def test_a_stand_in_tokenizer_stays_inside_the_vocabulary(vocab_size: int) -> None:
    tokenizer = stand_in_tokenizer(vocab_size)
    ids = tokenizer("Grüße, 你好!\n" + "abc " * 5)["input_ids"]
    assert ids
    assert max([*ids, tokenizer.pad_token_id, tokenizer.eos_token_id]) < vocab_size
    assert vocab_size < 300 or tokenizer.decode(ids) == "Grüße, 你好!\n" + "abc " * 5
    said = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert "Hi" in said


def test_every_tokenizer_can_pad(source: WeightSource) -> None:
    config = json.loads((source.folder / "tokenizer_config.json").read_text())
    (source.folder / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": None}))
    assert load_tokenizer(source).pad_token_id is not None
    assert load_tokenizer(shape_of("llama")).pad_token_id is not None


def test_own_weights_without_a_tokenizer_are_refused(tmp_path: Path) -> None:
    save_tiny_llama(tmp_path / "bare", tokenizer=False)
    bare = BaseModel(str(tmp_path / "bare"), "folder", find_base_model(str(tmp_path / "bare")).config_json, "bare")
    with pytest.raises(PreviewRefused, match="has no tokenizer"):
        load_tokenizer(WeightSource("own", bare, folder=tmp_path / "bare"))
