"""adapter_config.json: what PEFT would save, and what a saved one trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, PeftConfig, get_peft_model
from program_recipes import CASES, NAMES, PLAIN, REGEX, recipe_on, tiny_skeleton

from lora_explorer.adapters import plan_adapter
from lora_explorer.errors import ExportRefused, InvalidSettings
from lora_explorer.exports.peft.words import DEFAULTS, PEFT
from lora_explorer.exports.recognition import import_configuration
from lora_explorer.exports.tools import export_recipe
from lora_explorer.findings import errors_among

SKELETON = tiny_skeleton()
MORE = {
    "a regex": REGEX,
    "ranks by module": {**PLAIN, **NAMES, "lora_rank_pattern": {"q_proj": 3}, "lora_alpha_pattern": {"v_proj": 5}},
    "some layers": {**PLAIN, **NAMES, "peft_layers_to_transform": [0, 2], "peft_layers_pattern": ["layers"]},
    "replicated layers": {**PLAIN, **NAMES, "peft_layer_replication": [[0, 2], [1, 3]]},
    "trained tokens": {**PLAIN, **NAMES, "peft_trainable_token_indices": [3, 4]},
}


def saved(config: LoraConfig, folder: Path) -> str:
    config.save_pretrained(folder)
    return (folder / "adapter_config.json").read_text(encoding="utf-8")


def trained(config: LoraConfig) -> int:
    count: int = get_peft_model(SKELETON.new_model(), config).get_nb_trainable_parameters()[0]
    return count


@pytest.mark.parametrize("name", [*CASES, *MORE])
def test_peft_loads_what_is_written_and_trains_what_was_counted(name: str, tmp_path: Path) -> None:
    recipe = recipe_on("owner/base", {**CASES, **MORE}[name])
    (tmp_path / "adapter_config.json").write_text(export_recipe(recipe, "peft", SKELETON).text, encoding="utf-8")
    config = PeftConfig.from_pretrained(str(tmp_path))
    assert config.base_model_name_or_path == "owner/base"
    assert trained(config) == plan_adapter(recipe, SKELETON).trainable_params


@pytest.mark.parametrize("name", [*CASES, *MORE])
def test_a_file_of_pefts_own_is_counted_as_peft_counts_it(name: str, tmp_path: Path) -> None:
    from lora_explorer.adapters.config import lora_config

    config = lora_config(recipe_on("owner/base", {**CASES, **MORE}[name]), SKELETON.model)
    read = import_configuration(saved(config, tmp_path), "adapter_config.json").recipe
    assert plan_adapter(read, SKELETON).trainable_params == trained(config)


@pytest.mark.parametrize(
    ("targets", "excluded"),
    [
        (["q_proj", "v_proj", "down_proj"], ["layers.1.self_attn.q_proj", "down_proj"]),
        (["q_proj", "v_proj"], r".*\.2\..*"),
        (r".*(q|v)_proj", ["model.layers.0.self_attn.v_proj"]),
    ],
)
def test_what_is_excluded_is_left_out_by_one_regex(targets: Any, excluded: Any, tmp_path: Path) -> None:
    config = LoraConfig(r=4, lora_alpha=4, target_modules=targets, exclude_modules=excluded, task_type="CAUSAL_LM")
    imported = import_configuration(saved(config, tmp_path))
    assert plan_adapter(imported.recipe, SKELETON).trainable_params == trained(config)
    assert any("exclude_modules" in finding.message for finding in imported.findings)
    assert not errors_among(imported.findings)


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"use_qalora": True}, "use_qalora"),
        ({"exclude_modules": ["q_proj"], "layers_to_transform": [0]}, "exclude_modules"),
        ({"target_modules": "all-linear", "exclude_modules": ["q_proj"]}, "exclude_modules"),
    ],
)
def test_what_changes_the_count_and_has_no_setting_is_an_error(more: dict[str, Any], key: str) -> None:
    values = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["q_proj"], **more}
    errors = errors_among(import_configuration(json.dumps(values)).findings)
    assert [key in error.message for error in errors] == [True]


def test_every_other_field_is_named_where_it_says_something() -> None:
    values = {
        "peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["q_proj"], "inference_mode": True,
        "megatron_config": {"a": 1}, "eva_config": {"rho": 2}, "corda_config": {"b": 1}, "task_type": "SEQ_CLS",
        "revision": "main", "of_a_later_version": 1,
    }  # fmt: skip
    messages = " ".join(finding.message for finding in import_configuration(json.dumps(values)).findings)
    for key in ("inference_mode", "megatron_config", "eva_config", "corda_config", "SEQ_CLS", "revision"):
        assert key in messages
    assert "PEFT's of_a_later_version has no setting here" in messages


def test_every_field_of_pefts_is_known_with_its_default() -> None:
    config = LoraConfig(task_type="CAUSAL_LM").to_dict()
    known = PEFT.keys() | {"peft_type", "base_model_name_or_path"}
    assert config.keys() - known == set()
    for key, default in DEFAULTS.items():
        assert key == "autocast_adapter_dtype" or config[key] == default
    # A file that says what PEFT saves by itself says nothing else.
    values = {**config, "peft_type": "LORA", "target_modules": ["q_proj"]}
    notes = {finding.setting for finding in import_configuration(json.dumps(values)).findings}
    assert notes == {"", "peft_version"}


def test_without_an_adapter_there_is_nothing_to_write() -> None:
    with pytest.raises(ExportRefused, match="adapter is empty"):
        export_recipe(recipe_on("gpt2", {"learning_rate": 1e-4}), "peft")
    with pytest.raises(ExportRefused, match="names that only the base model has"):
        export_recipe(recipe_on("gpt2", {**PLAIN, "lora_target_linear": True}), "peft")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"peft_type": "LORA", ', "not valid JSON"),
        ("not json", "not valid JSON"),
        ("[1, 2]", "one object"),
        ('{"peft_type": "LOHA", "r": 8}', "peft_type is LOHA"),
        ('{"peft_type": "LORA", "target_modules": ["q_proj"]}', "names no r"),
        ('{"peft_type": "LORA", "r": 0, "lora_alpha": 8}', "lora_r must be at least 1, got 0, as r in the file"),
        ('{"peft_type": "LORA", "r": -4, "lora_alpha": 8}', "lora_r must be at least 1"),
        ('{"peft_type": "LORA", "r": "x", "lora_alpha": 8}', "lora_r must be a whole number"),
        ('{"peft_type": "LORA", "r": 8, "x": "' + "x" * 5_000_000 + '"}', "larger than 256 KiB"),
        ('{"a":' * 50_000, "nested more than 40 deep"),
        ('{"peft_type": "LORA", "r": 8, "x": ' + "[" * 60 + "]" * 60 + "}", "nested more than 40 deep"),
        ('{"peft_type": "LORA", "r": 8, "x": [' + "1," * 30_000 + "1]}", "more than 20,000 values"),
    ],
)
def test_a_file_that_cannot_be_used_gets_one_clear_sentence(text: str, reason: str) -> None:
    from lora_explorer.errors import ExplorerError

    with pytest.raises(ExplorerError, match=reason) as refused:
        import_configuration(text, "adapter_config.json")
    message = refused.value.findings[0].message
    assert "\n" not in message
    assert len(message) < 200
    assert message.endswith(".")


def test_a_bad_value_is_told_at_its_setting() -> None:
    with pytest.raises(InvalidSettings) as refused:
        import_configuration('{"peft_type": "LORA", "r": 8, "lora_alpha": 16.5, "target_modules": ["q_proj"]}')
    assert refused.value.findings[0].setting == "lora_alpha"


def test_what_is_not_about_the_adapter_is_named_once() -> None:
    written = export_recipe(recipe_on("gpt2", {**PLAIN, **NAMES, "peft_autocast_adapter_dtype": False}), "peft")
    cast, others = written.unsaid
    assert cast.setting == "peft_autocast_adapter_dtype"
    assert "learning_rate" in others.message
    assert "sequence_len" in others.message
