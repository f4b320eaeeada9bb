"""`lora-explorer new-tokens`: whether new tokens need anything, as a table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lora_explorer.cli import app

TEXT = """\
base_model: HuggingFaceTB/SmolLM2-135M
adapter: lora
lora_r: 8
lora_alpha: 16
lora_target_modules: [q_proj]
sequence_len: 128
learning_rate: 0.0002
datasets: [{path: a, type: alpaca}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "run.yml"
    file.write_text(TEXT, encoding="utf-8")
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["new-tokens", *map(str, arguments)])


def test_json_has_each_way_with_its_costs(config: Path) -> None:
    result = run(config, "--tokens", "<a>,<b>", "--gpu", "RTX 4090", "--json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert (record["need"], record["new_tokens"]["tokens"]) == ("needed", ["<a>", "<b>"])
    for way in record["ways"]:
        assert way["trainable_params"] > 0
        assert way["process_bytes"] > way["more_process_bytes"]
        assert way["fits"] is True
    assert record["ways"][0]["changes"]["tokens"] == ["<a>", "<b>"]


def test_people_get_a_table_and_what_to_write(config: Path) -> None:
    result = run(config, "--tokens", "2")
    assert result.exit_code == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert "Train both in full" in said
    assert "write lora_modules_to_save: [embed_tokens, lm_head]" in said


def test_what_to_write_is_not_cut_off(config: Path) -> None:
    said = " ".join(run(config, "--tokens", "<first-of-three>,<second-of-three>,<third-of-three>").stdout.split())
    assert "<third-of-three>" in said
    assert "…" not in said


def test_a_file_without_new_tokens_says_so(config: Path) -> None:
    assert "adds no token" in run(config).stdout


@pytest.mark.parametrize("tokens", ["-1", "3.5", "10001"])
def test_a_number_that_is_none_is_told_on_stderr(config: Path, tokens: str) -> None:
    result = run(config, f"--tokens={tokens}")
    assert result.exit_code == 1
    assert result.stderr.startswith("error (tokens): ")


def test_a_card_that_is_not_known_is_told(config: Path) -> None:
    result = run(config, "--gpu", "abacus", "--json")
    assert result.exit_code == 1
    assert "abacus" in json.loads(result.stdout)["findings"][0]["message"]


def test_checking_a_file_tells_of_tokens_whose_embedding_and_head_are_not_trained(config: Path) -> None:
    config.write_text(f"{TEXT}tokens: ['<a>']\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["check", str(config), "--json"])
    assert result.exit_code == 1
    (finding,) = [each for each in json.loads(result.stdout)["findings"] if each["severity"] == "error"]
    assert (finding["setting"], finding["outcome"]) == ("lora_modules_to_save", "fails at load")
