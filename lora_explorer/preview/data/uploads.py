"""Uploaded files, kept under their contents' hash: a run can be restored, and nobody can name another's file."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from lora_explorer.base_models import Access
from lora_explorer.preview.data.files import check_file
from lora_explorer.preview.run_folder import home

MOST_KEPT_BYTES = 1 << 30


def keep_upload(file: Path, *, access: Access) -> str:
    """Copy an uploaded file to where runs are kept and return its name for a DataChoice of origin `file`.

    Raises PreviewRefused for one that is too large or of no known kind, before it is read.
    """
    check_file(file, public=not access.folders)
    kept = _folder() / f"{_digest(file)}{file.suffix.lower()}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        draft = kept.with_suffix(".new")
        shutil.copyfile(file, draft)
        draft.replace(kept)
    kept.touch()
    _forget_oldest(kept.parent)
    return str(kept)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as contents:
        for chunk in iter(lambda: contents.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def is_upload(name: str) -> bool:
    """Whether a name is one that `keep_upload` returned."""
    file = Path(name)
    return file.parent == _folder() and file.is_file() and not file.is_symlink()


def _folder() -> Path:
    return home() / "uploads"


def _forget_oldest(folder: Path) -> None:
    newest_first = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)
    total_bytes = 0
    for file in newest_first:
        total_bytes += file.stat().st_size
        if total_bytes > MOST_KEPT_BYTES:
            file.unlink(missing_ok=True)
