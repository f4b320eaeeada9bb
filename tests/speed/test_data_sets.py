"""Sizes of data sets on file: proposed for the whole set that a YAML names, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from lora_explorer import presets
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.speed.data_sets import size_of

ALPACA = {"path": "tatsu-lab/alpaca", "type": "alpaca"}


def test_the_data_of_every_recipe_here_is_on_file_with_its_source() -> None:
    for recipe in (presets.folder() / "recipes").glob("*.yml"):
        size = size_of(read_document(recipe.read_text(encoding="utf-8")).values)
        assert size is not None, recipe.name
        assert size.rows > 0
        assert size.source


@pytest.mark.parametrize(
    "datasets",
    [
        None,
        [],
        "tatsu-lab/alpaca",
        ["tatsu-lab/alpaca"],
        [{"path": "nobody/knows"}],
        [{"path": 7}],
        [{"path": ["tatsu-lab/alpaca"]}],
        [ALPACA, ALPACA],
        [{**ALPACA, "split": "train[:5%]"}],
        [{**ALPACA, "shards": 10}],
        [{**ALPACA, "data_files": "part.json"}],
    ],
    ids=str,
)
def test_nothing_is_said_of_what_is_not_one_whole_set_on_file(datasets: Any) -> None:
    assert size_of({"datasets": datasets}) is None


def test_a_set_that_is_named_with_its_split_is_the_same_set() -> None:
    assert size_of({"datasets": [{**ALPACA, "split": "train"}]}) == size_of({"datasets": [ALPACA]})
