"""One small file of a Hub id, such as its config.json, and nothing else of the repository."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lora_explorer.errors import ExplorerError, UnknownBaseModel

_PATIENCE_SECONDS = 5.0
# A name that could not be had is not asked for again with every move of a slider.
_FORGET_FAILURE_SECONDS = 20.0
_failures: dict[tuple[str, str], tuple[float, ExplorerError]] = {}
_texts: dict[tuple[str, str], str] = {}


@dataclass(frozen=True)
class HubFile:
    """A file asked of the Hub.

    refusal: makes the error from a sentence on what stands in the way. elsewhere: where it was looked for before, as
    "no preset"; instead: what could be given in its place.
    """

    hub_id: str
    name: str
    most_bytes: int
    refusal: Callable[[str], ExplorerError]
    elsewhere: str
    instead: str

    @property
    def key(self) -> tuple[str, str]:
        return self.hub_id, self.name


def fetch_config(hub_id: str, most_bytes: int) -> str:
    """The text of a Hub id's config.json. Raises UnknownBaseModel with what to do instead."""
    instead = "choose a preset, a folder, or upload a config.json"

    def refuse(sentence: str) -> ExplorerError:
        return UnknownBaseModel(sentence, setting="base_model")

    return fetch_file(HubFile(hub_id, "config.json", most_bytes, refuse, "no preset", instead))


def fetch_file(file: HubFile) -> str:
    """The text of a file. Raises its refusal; one that could not be had is not asked for again at once."""
    if file.key in _texts:
        return _texts[file.key]
    failed_at, failure = _failures.get(file.key, (0.0, None))
    if failure and time.monotonic() - failed_at < _FORGET_FAILURE_SECONDS:
        raise failure
    try:
        _texts[file.key] = _download(file)
    except ExplorerError as error:
        _failures[file.key] = (time.monotonic(), error)
        raise
    return _texts[file.key]


def _download(file: HubFile) -> str:
    # httpx2 is what huggingface_hub 2 speaks HTTP with.
    import httpx2
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url

    def refuse(reason: str) -> ExplorerError:
        return file.refusal(f"{file.hub_id} {reason}")

    try:
        cached = _cached_file(file)
        if cached is None:
            size = get_hf_file_metadata(hf_hub_url(*file.key), timeout=_PATIENCE_SECONDS).size
            if size is None or size > file.most_bytes:
                raise refuse(f"has {_a(file.name)} that is too large.")
            cached = Path(hf_hub_download(*file.key, etag_timeout=_PATIENCE_SECONDS))
        return cached.read_text(encoding="utf-8")
    except errors.GatedRepoError as error:
        raise refuse(f"is gated: accept its terms on the Hub and log in, or upload its {file.name}.") from error
    except errors.RepositoryNotFoundError as error:
        raise refuse(f"is not on the Hub, or is private; check the spelling or upload its {file.name}.") from error
    except errors.RemoteEntryNotFoundError as error:
        raise refuse(f"has no {file.name} on the Hub.") from error
    except (httpx2.TransportError, errors.HfHubHTTPError, OSError) as error:
        raise refuse(f"is {file.elsewhere} and the Hub cannot be reached; {file.instead}.") from error


def _cached_file(file: HubFile) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(*file.key)
    return Path(found) if isinstance(found, str) else None


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
