"""Kept runs found by the settings that they had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_explorer.preview.run_folder import HOME_VARIABLE, RunFolder, create_run
from lora_explorer.preview.supervision.ownership import hashed
from lora_explorer.preview.supervision.same_recipe import curves_of
from lora_explorer.settings import Recipe, recipe_from
from tests.preview.runs import request, step


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    return tmp_path


def recipe(**changes: Any) -> Recipe:
    return recipe_from({"base_model": "owner/small", "lora_r": 8, "learning_rate": 1e-4, **changes})


def kept(ran: Recipe, *losses: float | None, begun: str = "", owner: str = "") -> RunFolder:
    """A run with these losses. begun: what its folder's name begins with, by which it is older or newer."""
    folder = create_run(replace(request(), recipe=ran), owner=owner)
    if begun:
        folder = RunFolder(folder.path.rename(folder.path.with_name(f"{begun}-000000-{folder.id[-8:]}")))
    for number, loss in enumerate(losses, start=1):
        folder.append(step(number, loss))
    return folder


def test_a_run_of_the_very_settings_is_found_and_another_is_not() -> None:
    folder = kept(recipe(), 3.0, 2.0)
    kept(recipe(lora_r=16), 9.0)
    found = curves_of([recipe(lora_r=4), recipe()])
    assert list(found) == [1]
    assert (found[1].run, found[1].losses) == (folder.id, {1: 3.0, 2: 2.0})


def test_a_default_that_is_written_down_is_the_same_setting() -> None:
    kept(recipe(lora_dropout=0.0), 3.0)
    assert list(curves_of([recipe()])) == [0]


def test_of_several_the_newest_that_has_a_loss_counts() -> None:
    kept(recipe(), 3.0, begun="20260101")
    newer = kept(recipe(), 2.0, begun="20260102")
    kept(recipe(), None, begun="20260103")
    kept(recipe(), begun="20260104")
    assert curves_of([recipe()])[0].run == newer.id


def test_one_run_serves_all_that_have_its_settings() -> None:
    kept(recipe(), 3.0)
    assert list(curves_of([recipe(), None, recipe()])) == [0, 2]


def test_whose_runs_are_looked_at_is_up_to_who_asks() -> None:
    kept(recipe(), 3.0, owner=hashed("a" * 32))
    mine = hashed("a" * 32)
    assert list(curves_of([recipe()], lambda folder: folder.read("owner") == mine)) == [0]
    assert curves_of([recipe()], lambda folder: folder.read("owner") == hashed("b" * 32)) == {}


@pytest.mark.parametrize(
    "record", ["", "null", "[]", "{}", '{"recipe": {"lora_r": "many"}}', '{"recipe": 3}', '{"recipe": "abc"}']
)
def test_a_folder_that_cannot_be_read_is_passed_over(home: Path, record: str) -> None:
    broken = home / "runs" / "20990101-000000-aabbccdd"
    broken.mkdir(parents=True)
    (broken / "request.json").write_text(record, encoding="utf-8")
    kept(recipe(), 3.0)
    assert list(curves_of([recipe()])) == [0]


def test_without_any_run_nothing_is_found() -> None:
    assert curves_of([recipe()]) == {}
    assert curves_of([]) == {}
