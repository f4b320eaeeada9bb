"""The files around the package agree with each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
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


def test_an_installed_wheel_brings_its_presets_and_its_page(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    assert (tmp_path / "installed/lora_explorer/ui/assets/page.css").is_file()
    question = "import lora_explorer as lx; print(lx.__file__, len(lx.cards()), lx.find_base_model('gpt2').label)"
    asked = subprocess.run(
        [sys.executable, "-c", question],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(tmp_path) in asked.stdout
