"""The config.json of a Hub id, and nothing else of the repository."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from lora_explorer.errors import UnknownBaseModel

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_SECONDS = 5.0
# A name that could not be had is not asked for again with every move of a slider.
_FORGET_FAILURE_SECONDS = 20.0
_failures: dict[str, tuple[float, UnknownBaseModel]] = {}
_texts: dict[str, str] = {}


def fetch_config(hub_id: str, most_bytes: int) -> str:
    """The text of a Hub id's config.json. Raises UnknownBaseModel with what to do instead."""
    if hub_id in _texts:
        return _texts[hub_id]
    failed_at, failure = _failures.get(hub_id, (0.0, None))
    if failure and time.monotonic() - failed_at < _FORGET_FAILURE_SECONDS:
        raise failure
    try:
        _texts[hub_id] = _download(hub_id, most_bytes)
    except UnknownBaseModel as error:
        _failures[hub_id] = (time.monotonic(), error)
        raise
    return _texts[hub_id]


def _download(hub_id: str, most_bytes: int) -> str:
    # httpx2 is what huggingface_hub 2 speaks HTTP with.
    import httpx2
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url

    refuse = _refusal_for(hub_id)
    try:
        cached = _cached_file(hub_id)
        if cached is None:
            size = get_hf_file_metadata(hf_hub_url(hub_id, "config.json"), timeout=_PATIENCE_SECONDS).size
            if size is None or size > most_bytes:
                raise refuse("has a config.json that is too large.")
            cached = Path(hf_hub_download(hub_id, "config.json", etag_timeout=_PATIENCE_SECONDS))
        return cached.read_text(encoding="utf-8")
    except errors.GatedRepoError as error:
        raise refuse("is gated: accept its terms on the Hub and log in, or upload its config.json.") from error
    except errors.RepositoryNotFoundError as error:
        raise refuse("is not on the Hub, or is private; check the spelling or upload its config.json.") from error
    except errors.RemoteEntryNotFoundError as error:
        raise refuse("has no config.json on the Hub.") from error
    except (httpx2.TransportError, errors.HfHubHTTPError, OSError) as error:
        raise refuse(
            "is no preset and the Hub cannot be reached; choose a preset, a folder, or upload a config.json."
        ) from error


def _cached_file(hub_id: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, "config.json")
    return Path(found) if isinstance(found, str) else None


def _refusal_for(hub_id: str) -> Callable[[str], UnknownBaseModel]:
    return lambda reason: UnknownBaseModel(f"{hub_id} {reason}", setting="base_model")
