"""The data of a configuration, and the sets that come with the app."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import PreTrainedTokenizerBase

from lora_explorer.base_models import Access, find_base_model
from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.data import BUILT_IN_SETS, data_choice_from, encode, load_rows, with_keys_beside
from lora_explorer.preview.plan import plan_preview
from lora_explorer.preview.request import DataChoice, PreviewRequest
from lora_explorer.settings import recipe_from


def choice_from(text: str) -> DataChoice | None:
    values: dict[str, Any] = yaml.safe_load(text) or {}
    return data_choice_from(values)


def test_the_first_entry_of_datasets_is_the_choice() -> None:
    one = "datasets:\n- {path: owner/set, type: alpaca}"
    expected = DataChoice(origin="hub", name="owner/set", type="alpaca", val_set_size=0)
    assert choice_from(one) == expected
    two = choice_from(f"{one}\n- {{path: other/set, type: completion}}")
    assert two == replace(expected, notes=("Of the 2 entries of datasets only the first is previewed.",))


def test_what_would_change_rows_and_is_not_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"messages": [{"role": "bot", "content": "a"}]}', encoding="utf-8")
    entry = f"{{path: {file}, type: chat_template, roles: {{assistant: [bot]}}, weight: 0.5, field_tools: tools}}"
    choice = choice_from(f"datasets: [{entry}]\ntest_datasets: [{{path: a/b}}]")
    assert choice
    [note] = load_rows(choice).notes
    assert note.endswith(": weight, roles, test_datasets.")


def test_other_data_are_read_as_the_keys_beside_datasets_say() -> None:
    keys = "train_on_inputs: true\nexcess_length_strategy: truncate\nchat_template: chatml\nval_set_size: 5000\n"
    usual = DataChoice(name="conversations")
    expected = replace(usual, train_on_inputs=True, excess_length="truncate", chat_template="chatml")
    assert with_keys_beside(usual, yaml.safe_load(keys + "datasets: [{path: a/b, split: test}]")) == expected


def test_a_template_that_no_row_needs_keeps_no_stranger_from_a_run() -> None:
    choice = DataChoice(name="instructions", chat_template="{{ messages }}")
    assert load_rows(choice, access=Access(folders=False)).records


def test_every_key_that_says_how_rows_become_tokens_is_read() -> None:
    text = """
datasets:
- path: owner/set
  type: chat_template
  name: small
  split: test
  field_messages: conversations
  message_property_mappings: {role: from, content: value}
  roles_to_train: [gpt]
  train_on_eos: last
  chat_template: chatml
val_set_size: 12
train_on_inputs: true
eot_tokens: [<end>]
excess_length_strategy: truncate
shuffle_merged_datasets: false
"""
    assert choice_from(text) == DataChoice(
        origin="hub",
        name="owner/set",
        type="chat_template",
        split="test",
        columns=(
            ("message_field_role", "from"),
            ("message_field_content", "value"),
            ("field_messages", "conversations"),
        ),
        val_set_size=12,
        config="small",
        train_on_inputs=True,
        roles_to_train=("gpt",),
        train_on_eos="last",
        eot_tokens=("<end>",),
        chat_template="chatml",
        excess_length="truncate",
        shuffle=False,
    )


def test_a_path_to_a_file_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    for path in ("./data.jsonl", "data.jsonl", str(tmp_path / "data.jsonl")):
        choice = choice_from(f"datasets: [{{path: {path}, type: completion, field: body}}]")
        assert choice
        assert (choice.origin, choice.name) == ("file", str(tmp_path / "data.jsonl"))
        assert choice.columns == (("field", "body"),)
    choice = choice_from("datasets: [{path: here, type: completion}]")
    assert choice
    assert choice.origin == "file"


@pytest.mark.parametrize("text", ["", "datasets:", "datasets: []", "val_set_size: 0.1"])
def test_without_an_entry_there_is_no_choice(text: str) -> None:
    assert choice_from(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("datasets: owner/set", "must be a list of entries"),
        ("datasets: [{type: alpaca}]", "each with a path"),
        ("datasets: [owner/set]", "each with a path"),
        ("datasets: [{path: owner/set, type: sharegpt}]", "of type sharegpt are not previewed"),
        ("datasets: [{path: owner/set, type: {format: x}}]", "of a prompt format of their own are not previewed"),
    ],
)
def test_an_entry_that_cannot_be_previewed_is_told(text: str, reason: str) -> None:
    with pytest.raises(PreviewRefused, match=reason) as refused:
        choice_from(text)
    assert refused.value.findings[0].setting == "datasets"


def test_a_public_page_runs_no_template_of_a_visitor() -> None:
    choice = DataChoice(name="conversations", chat_template="{{ messages }}")
    assert load_rows(choice).records
    with pytest.raises(PreviewRefused, match="are not run on a public page"):
        load_rows(choice, access=Access(folders=False))


def test_a_run_for_a_stranger_is_refused_before_it_reads_a_file_of_the_server(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"text": "a"}', encoding="utf-8")
    data = DataChoice(origin="file", name=str(file))
    recipe = recipe_from({"base_model": "HuggingFaceTB/SmolLM2-135M", "learning_rate": 2e-4})
    access = Access(hub=False, folders=False)
    request = PreviewRequest(recipe, find_base_model(recipe.base_model), data=data, access=access)
    with pytest.raises(PreviewRefused, match="cannot be read on a public page") as refused:
        plan_preview(request)
    assert refused.value.findings[0].setting == "datasets"


@pytest.mark.parametrize(("name", "kind"), [("instructions", "alpaca"), ("conversations", "chat_template")])
def test_a_built_in_set_has_two_hundred_different_rows_to_learn_from(
    name: str, kind: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = load_rows(DataChoice(name=name), access=Access(hub=False, folders=False))
    assert rows.choice.type == kind
    assert len({json.dumps(record, sort_keys=True) for record in rows.records}) == len(rows.records) >= 200
    data = encode(rows, tokenizer, 2048)
    assert (data.long_rows, data.untrained_rows, data.notes) == (0, 0, ())
    assert len(data.train) >= 200
    assert data.evaluation


def test_every_built_in_set_can_be_had_and_no_other() -> None:
    assert all(load_rows(DataChoice(name=name)).records for name in BUILT_IN_SETS)
    with pytest.raises(PreviewRefused, match="there are instructions, conversations"):
        load_rows(DataChoice(name="../models/gpt2"))


def test_the_package_carries_the_built_in_sets(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {f"lora_explorer/preset_files/datasets/{name}.jsonl" for name in BUILT_IN_SETS} <= names


def test_importing_and_reading_data_loads_no_torch() -> None:
    code = (
        "import sys; from lora_explorer.preview.data import load_rows; from lora_explorer.preview.request import *;"
        "load_rows(DataChoice()); sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
