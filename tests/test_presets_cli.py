"""`lora-explorer presets`: the recipes that come along, listed, printed and weighed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lora_explorer.cli import app
from lora_explorer.recipe_files import recipe_files

SMALL = "gpt2-conv1d"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["presets", *arguments])


def answer(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_alone_it_lists_every_recipe_with_what_it_is_for():
    shown = " ".join(run().stdout.split())
    for file in recipe_files():
        assert file.name in shown
        assert file.title in shown
    listed = answer()
    assert [each["name"] for each in listed] == [file.name for file in recipe_files()]
    assert set(listed[0]) == {"name", "title", "purpose", "base_model"}


def test_with_a_name_it_prints_that_file_and_nothing_else():
    for file in recipe_files():
        assert run(file.name).stdout == file.text
    assert answer(SMALL)["yaml"] == next(file.text for file in recipe_files() if file.name == SMALL)


def test_figures_are_those_of_count():
    found = answer(SMALL, "--figures")
    assert (found["trainable_params"], found["adapter_file_bytes"]) == (1_179_648, 4_718_592)
    assert found["gpu"]
    assert found["verdict"] == "fits"
    shown = run(SMALL, "--figures").stdout
    assert "1,179,648" in shown
    assert found["gpu"].split()[0] in shown


@pytest.mark.parametrize("name", ["nothing", "llama", "", "/etc/passwd"])
def test_a_name_that_is_none_or_several_is_a_wrong_call(name: str):
    result = run(name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "choose one of: " in result.stderr
    assert len(result.stderr.splitlines()) == 1
