"""Whose run it is. A browser keeps a secret; a run keeps only the secret's hash."""

from __future__ import annotations

import hashlib
import hmac
import re

from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.run_folder import RunFolder, home

_RUN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,99}")


def hashed(owner: str) -> str:
    """What a run folder keeps of a secret; nothing for no owner."""
    return hashlib.sha256(owner.encode()).hexdigest() if owner else ""


def belongs_to(folder: RunFolder, owner: str) -> bool:
    """Whether the owner may change the run; a run without an owner is anyone's."""
    kept = folder.read("owner")
    return not kept or hmac.compare_digest(str(kept), hashed(owner))


def find_run(run_id: str) -> RunFolder:
    """Raises PreviewRefused where there is no such run."""
    folder = RunFolder(home() / "runs" / run_id)
    if not _RUN_ID.fullmatch(run_id) or not folder.path.is_dir():
        raise PreviewRefused("There is no such run; it may have been deleted.")
    return folder


def own_run(run_id: str, owner: str | None) -> RunFolder:
    """A run that the owner may change. owner: None may change all, as who sits before this machine may.

    Raises PreviewRefused for another's, and where there is none.
    """
    folder = find_run(run_id)
    if owner is not None and not belongs_to(folder, owner):
        raise PreviewRefused("This run was started in another browser, and only there can it be changed.")
    return folder
