"""The files around the package agree with each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

tomllib = pytest.importorskip("tomllib", reason="tomllib is in the standard library from Python 3.11 on")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pins = (line.partition(";")[0].partition("==") for line in lines if line and not line.startswith("#"))
    return {_normal(name): version.strip() for name, _, version in pins}


def _normal(name: str) -> str:
    return re.split(r"[<>=!~;\[ ]", name)[0].lower().replace("_", "-")


def test_a_space_gets_every_dependency_at_the_version_that_is_tested() -> None:
    constraints = _pins("constraints.txt")
    needed = {_normal(name) for name in PROJECT["dependencies"]}
    assert _pins("requirements.txt") == {name: constraints[name] for name in needed}


def test_every_direct_dependency_is_pinned_for_tests() -> None:
    named = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert {_normal(name) for name in named} <= set(_pins("constraints.txt"))


def test_the_space_runs_the_gradio_that_is_tested() -> None:
    front_matter = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front_matter["sdk_version"] == _pins("constraints.txt")["gradio"]
    assert (ROOT / front_matter["app_file"]).is_file()


def test_the_readme_stays_readable_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
