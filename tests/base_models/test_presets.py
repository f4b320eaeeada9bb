"""Every preset is the model it says it is: its skeleton holds as many numbers as its makers published."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel

from lora_explorer import presets
from lora_explorer.base_models.model_source import find_base_model
from lora_explorer.base_models.skeleton import load_skeleton, model_config

FILES = sorted((presets.folder() / "models").glob("*.json"))
KEYS = {"id", "label", "family", "aliases", "total_params", "total_params_source", "config"}
FAMILIES = {
    "Llama 2",
    "Llama 3",
    "Llama 3.1",
    "Llama 3.2",
    "Llama 3.3",
    "Mistral",
    "Mixtral",
    "Qwen2.5",
    "Qwen3",
    "Qwen3 MoE",
    "Gemma 2",
    "Gemma 3",
    "Phi-3.5",
    "Phi-4",
    "gpt-oss",
    "DeepSeek",
    "GLM-4.5",
    "OLMo 2",
    "SmolLM2",
    "SmolLM3",
    "Falcon",
    "GPT-NeoX",
    "Pythia",
    "GPT-2",
    "StarCoder2",
    "TinyLlama",
    "Command R",
}
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Keys of a config.json that would change what is built from it, or name code to run.
FOREIGN_KEYS = {"auto_map", "quantization_config", "torch_dtype", "transformers_version", "_name_or_path"}

# Spellings of published config.json files that transformers translates, or reads without declaring them.
TRANSLATED_KEYS = {
    "eos_token_id",
    "head_dim",
    "partial_rotary_factor",
    "rope_local_base_freq",
    "rope_scaling",
    "rope_theta",
    "rotary_emb_base",
    "rotary_pct",
    "sliding_window_pattern",
}


def read(path: Path) -> dict[str, Any]:
    preset: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return preset


PRESETS = {path.stem: read(path) for path in FILES}
each_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())


def count_checkpoint_numbers(model: PreTrainedModel) -> int:
    """Parameters plus the buffers a checkpoint keeps (the router biases of DeepSeek-V3 and GLM-4.5), tied ones once."""
    kept = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}
    return sum(tensor.numel() for tensor in kept.values())


def unknown_keys(architecture: type[PreTrainedConfig], facts: dict[str, Any]) -> set[str]:
    known = {*architecture().to_dict(), *architecture.attribute_map, *architecture.attribute_map.values()}
    return set(facts) - known - TRANSLATED_KEYS


def rounded(number: int, digits: int) -> int:
    return round(number, digits - len(str(number)))


@each_preset
def test_a_skeleton_holds_as_many_numbers_as_were_published(preset: dict[str, Any]) -> None:
    counted = count_checkpoint_numbers(load_skeleton(find_base_model(preset["id"])).model)
    digits = preset.get("total_params_digits", len(str(counted)))
    assert rounded(counted, digits) == preset["total_params"]


@each_preset
def test_tied_weights_are_one_tensor_in_the_skeleton(preset: dict[str, Any]) -> None:
    model = load_skeleton(find_base_model(preset["id"])).model
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    is_tied = model.get_input_embeddings().weight is head.weight
    assert is_tied is preset["config"]["tie_word_embeddings"]


@each_preset
def test_every_name_of_a_preset_leads_to_it(preset: dict[str, Any]) -> None:
    by_id = find_base_model(preset["id"])
    assert by_id.origin == "preset"
    assert {find_base_model(alias).config_json for alias in preset["aliases"]} <= {by_id.config_json}


@each_preset
def test_every_config_key_is_known_to_its_architecture(preset: dict[str, Any]) -> None:
    """A misspelt key is kept by transformers without a word, and the count alone might not show it."""
    config = preset["config"]
    architecture = CONFIG_MAPPING[config["model_type"]]
    assert unknown_keys(architecture, config) == set()
    for part in architecture.sub_configs.keys() & config.keys():
        assert unknown_keys(CONFIG_MAPPING[config[part]["model_type"]], config[part]) == set()


@each_preset
def test_a_preset_has_the_keys_of_the_format_and_no_others(preset: dict[str, Any]) -> None:
    assert set(preset) - {"total_params_digits"} == KEYS
    assert preset["total_params_source"].strip()
    assert preset["label"].strip()
    assert not FOREIGN_KEYS & set(preset["config"])


@each_preset
def test_a_config_keeps_the_dtype_and_the_rotary_base_of_its_model(preset: dict[str, Any]) -> None:
    facts = preset["config"]
    config = model_config(find_base_model(preset["id"]))
    assert str(config.dtype).removeprefix("torch.") == str(facts.get("dtype"))
    text_facts = facts.get("text_config", facts)
    rotary = json.dumps(config.get_text_config().to_dict().get("rope_parameters"))
    assert "rope_theta" not in text_facts or str(text_facts["rope_theta"]) in rotary


def test_a_name_means_one_model_only() -> None:
    names = Counter(name.casefold() for preset in PRESETS.values() for name in [preset["id"], *preset["aliases"]])
    assert [name for name, times in names.items() if times > 1] == []


def test_every_name_could_be_a_hub_id() -> None:
    names = [name for preset in PRESETS.values() for name in [preset["id"], *preset["aliases"]]]
    assert [name for name in names if not HUB_ID.fullmatch(name)] == []


def test_at_least_forty_presets_are_there() -> None:
    assert len(PRESETS) >= 40


def test_every_promised_family_is_there() -> None:
    assert {preset["family"] for preset in PRESETS.values()} >= FAMILIES


def test_rounded_totals_stay_the_exception() -> None:
    """A total known to a few digits would pass for a model a little different from the one named."""
    roughly_known = [name for name, preset in PRESETS.items() if "total_params_digits" in preset]
    assert len(roughly_known) <= 5
