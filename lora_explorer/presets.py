"""The presets: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# The same language; libyaml reads gpus.yml in 4 ms, the loader in Python in 32, and the first page waits for that.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def folder() -> Path:
    """The folder with models/, recipes/ and gpus.yml."""
    package = Path(__file__).parent
    installed = package / "preset_files"
    return installed if installed.is_dir() else package.parent / "presets"


def facts(name: str) -> Any:
    """What a YAML file of presets holds. name: its path among them, without its ending."""
    return yaml.load((folder() / f"{name}.yml").read_text(encoding="utf-8"), _LOADER)


def recipe_names() -> tuple[str, ...]:
    """Of the recipes that come along, by the alphabet."""
    return tuple(sorted(path.stem for path in (folder() / "recipes").glob("*.yml")))


def recipe_text(name: str) -> str:
    """The YAML of one of them."""
    return (folder() / "recipes" / f"{name}.yml").read_text(encoding="utf-8")
