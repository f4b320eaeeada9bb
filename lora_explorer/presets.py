"""Where the presets lie: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """The folder with models/, recipes/ and gpus.yml."""
    package = Path(__file__).parent
    installed = package / "preset_files"
    return installed if installed.is_dir() else package.parent / "presets"
