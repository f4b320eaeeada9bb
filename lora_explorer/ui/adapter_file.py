"""A run's adapter as one file to download."""

from __future__ import annotations

import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lora_explorer.errors import PreviewRefused

if TYPE_CHECKING:
    from lora_explorer.preview.run_folder import RunFolder

# Gradio has copied it long before.
_KEPT_SECONDS = 120.0


@dataclass(frozen=True)
class AdapterFiles:
    """Where archives lie until they are sent; the folder goes with the app."""

    folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="lora-explorer-", ignore_cleanup_errors=True)
    )

    def packed(self, run: RunFolder) -> str:
        """The path of an archive of what PEFT saved. Raises PreviewRefused where there is nothing."""
        files = sorted(file for file in run.adapter.rglob("*") if file.is_file())
        if not files:
            raise PreviewRefused("This run has left no adapter.")
        self._forget_old()
        archive = Path(self.folder.name) / f"adapter-{run.id}.zip"
        # Weights do not get smaller.
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
            for file in files:
                packed.write(file, f"adapter-{run.id}/{file.relative_to(run.adapter)}")
        return str(archive)

    def _forget_old(self) -> None:
        for archive in Path(self.folder.name).iterdir():
            if time.time() - archive.stat().st_mtime > _KEPT_SECONDS:
                archive.unlink(missing_ok=True)
