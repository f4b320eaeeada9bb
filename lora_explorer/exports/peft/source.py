"""Where an adapter_config.json comes from: a file, a folder with an adapter in it, or a Hub id."""

from __future__ import annotations

from pathlib import Path

from lora_explorer.base_models import Access
from lora_explorer.base_models.hub import HubFile, fetch_file
from lora_explorer.base_models.model_source import is_hub_id
from lora_explorer.errors import UnknownAdapter
from lora_explorer.exports.peft.adapter_config import FILE_NAME
from lora_explorer.exports.yaml_documents.reading import LARGEST_TEXT_BYTES

_ANYWHERE = Access()


def find_adapter_config(source: str, access: Access = _ANYWHERE) -> str:
    """The text of an adapter's adapter_config.json. Raises UnknownAdapter with one sentence on what to do instead."""
    place = Path(source).expanduser() if access.folders else None
    if place is not None and place.exists():
        return _text_of(place / FILE_NAME if place.is_dir() else place)
    if not is_hub_id(source):
        raise _refusal(f"{source[:60]!r} is neither a file nor a folder here, nor a Hub id of the form owner/name.")
    if not access.hub:
        raise _refusal(f"{source} is not here, and the Hub is switched off.")
    instead = f"name a folder with the adapter, or its {FILE_NAME}"
    return fetch_file(HubFile(source, FILE_NAME, LARGEST_TEXT_BYTES, _refusal, "not here", instead))


def _text_of(file: Path) -> str:
    if not file.is_file():
        raise _refusal(f"There is no {FILE_NAME} in the folder {file.parent}.")
    try:
        with file.open("rb") as opened:
            # One byte more than can be read, so that the reader says so.
            return opened.read(LARGEST_TEXT_BYTES + 1).decode("utf-8", "replace")
    except OSError as error:
        raise _refusal(f"{file} cannot be read: {error.strerror}.") from error


def _refusal(sentence: str) -> UnknownAdapter:
    return UnknownAdapter(sentence, setting="adapter")
