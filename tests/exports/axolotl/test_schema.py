"""Editors accept with the JSON Schema what Axolotl reads, and mark what it refuses or drops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from recipe_values import VALUES
from test_layouts import LAYOUTS
from typer.testing import CliRunner

from lora_explorer import presets
from lora_explorer.cli import app
from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.exports.axolotl.keys import known_keys
from lora_explorer.exports.axolotl.schema import json_schema
from lora_explorer.exports.axolotl.types import takes_null
from lora_explorer.exports.yaml_documents.editing import with_value
from lora_explorer.settings import SETTINGS

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
LEAST: dict[str, Any] = {"base_model": "a/b", "learning_rate": 0.1, "datasets": []}
RECIPES = sorted((presets.folder() / "recipes").glob("*.yml"))


def complaints(values: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(values)]


def described(name: str) -> dict[str, Any]:
    node: Any = SCHEMA
    for key in SETTINGS[name].path:
        node = node["properties"][key]
    return dict(node)


def test_it_is_a_schema_of_its_draft() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["$id"].startswith("urn:")


def test_the_command_prints_it(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["schema"])
    assert json.loads(printed.stdout) == json.loads(json.dumps(SCHEMA))
    file = tmp_path / "axolotl.json"
    assert CliRunner().invoke(app, ["schema", "--output", str(file)]).exit_code == 0
    assert file.read_text(encoding="utf-8") == printed.stdout


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_says_what_is_known_about_it(name: str) -> None:
    setting, schema = SETTINGS[name], described(name)
    assert (schema["title"], schema["description"]) == (setting.label, setting.help)
    assert schema["markdownDescription"].startswith(setting.help)
    assert setting.explanation in schema["markdownDescription"]
    assert schema.get("x-source", "") == setting.source
    assert schema.get("default") == (list(setting.default) if isinstance(setting.default, tuple) else setting.default)
    listed = {value for part in schema["anyOf"] for value in part.get("enum", [part.get("const")])}
    listed |= {str(value).lower() if isinstance(value, bool) else str(value) for value in schema.get("examples", ())}
    assert listed | {"true", "false"} >= set(setting.control.choices)


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_is_accepted(file: Path) -> None:
    assert complaints(yaml.safe_load(file.read_text(encoding="utf-8"))) == []


def test_the_only_complaint_about_an_odd_file_is_its_unknown_keys() -> None:
    (complaint,) = complaints(yaml.safe_load(LAYOUTS["usual"]))
    dropped = [each.setting for each in import_axolotl(LAYOUTS["usual"]).findings if each.outcome in ("drops", None)]
    assert all(repr(key) in complaint for key in ("note", "own_key"))
    assert {"note", "own_key"} <= set(dropped)


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=5)
@given(data=st.data())
def test_every_value_of_a_setting_is_accepted(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    refused = value is None and not takes_null(SETTINGS[name].path)
    assert bool(complaints(with_value(LEAST, SETTINGS[name].path, value))) == refused


def test_every_key_that_axolotl_reads_is_accepted() -> None:
    others = [key for key in known_keys().names if key not in SETTINGS and key != "peft"]
    assert complaints({**LEAST, **{key: {"any": ["thing"]} for key in others}}) == []


@pytest.mark.parametrize(
    "line",
    [
        "learning_rate: 2e-4",
        "learning_rate: 1.0e-05",
        "lora_r: '16'",
        "lora_r: 16.0",
        "lora_r:",
        "lora_fan_in_fan_out: 'yes'",
        "bf16: 'Off'",
        "bf16: auto",
        "lora_target_modules: all-linear",
        "lora_target_modules: [q_proj, k_proj]",
        "peft: {loftq_config: {loftq_bits: 4}}",
        "peft: {loftq_config: {}}",
        "peft:",
        "gradient_checkpointing: offload",
        "peft_trainable_token_indices: {embed_tokens: [1, 2]}",
        "optimizer: my.own.Optimizer",
    ],
)
def test_what_axolotl_takes_is_accepted(line: str) -> None:
    assert complaints({**LEAST, **yaml.safe_load(line)}) == []


@pytest.mark.parametrize(
    "line",
    [
        "lora_r: 0",
        "lora_r: -4",
        "lora_r: 0.5",
        "lora_r: many",
        "lora_alpha: 16.5",
        "lora_dropout: 7",
        "lora_dropout: 1",
        "lora_rank: 8",
        "lora_target_module: [q_proj]",
        "lora_modules_to_save: embed_tokens",
        "peft_layers_to_transform: 3",
        "peft_layer_replication: [[0, 4, 8]]",
        "lora_rank_pattern: {q_proj: 0}",
        "bf16: maybe",
        "nf4_backend: own",
        "sequence_len:",
        "learning_rate: fast",
        "seed: -1",
        "peft: {loftq_bits: 4}",
        "peft: 4",
    ],
)
def test_what_axolotl_refuses_or_drops_is_marked(line: str) -> None:
    assert complaints({**LEAST, **yaml.safe_load(line)}) != []


@pytest.mark.parametrize("missing", LEAST)
def test_what_axolotl_needs_is_asked_for(missing: str) -> None:
    assert complaints({key: value for key, value in LEAST.items() if key != missing}) != []
