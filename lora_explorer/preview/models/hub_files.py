"""What a preview takes from the Hub or from its local cache: safetensors, config and tokenizer; nothing that could run.

Neither pickles nor Python files are asked for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_explorer.errors import PreviewRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE_SECONDS = 5.0
_WEIGHTS = "model*.safetensors"
_WEIGHTS_INDEX = "model.safetensors.index.json"
_CONFIGS = ("config.json", "generation_config.json")
_TOKENIZER = "tokenizer.json"
_TOKENIZER_FILES = (
    _TOKENIZER, "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
# The disk is not filled to the last byte.
_SPARE_BYTES = 1 << 30


@dataclass(frozen=True)
class HubListing:
    """What a repository has. weight_bytes: of the safetensors that transformers would read; 0 where there are none."""

    weight_bytes: int
    has_tokenizer: bool


def is_complete(folder: Path) -> bool:
    """Whether a folder has a config and all of its safetensors; of several files, those that the index names."""
    if not (folder / "config.json").is_file():
        return False
    index = folder / _WEIGHTS_INDEX
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    return bool(named) and all((folder / name).is_file() for name in named)


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer can be read from the folder."""
    return any((folder / name).is_file() for name in (_TOKENIZER, "tokenizer.model", "vocab.json"))


def cached_snapshot(hub_id: str) -> Path | None:
    """The folder of a repository in the Hub's local cache, complete or not; None where it never was."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def look_up(hub_id: str, setting: str = "base_model") -> HubListing:
    """Ask the Hub what a repository has and whether it may be read. Raises PreviewRefused with what to do instead."""
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

    with _refusals(hub_id, setting):
        info = HfApi().model_info(hub_id, files_metadata=True, timeout=_PATIENCE_SECONDS)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        if info.gated:
            # The listing of a gated repository is open to all; a file of it shows whether its terms were accepted.
            get_hf_file_metadata(hf_hub_url(hub_id, "config.json"), timeout=_PATIENCE_SECONDS)
    weights = sum(size for name, size in sizes.items() if Path(name).match(_WEIGHTS) and "/" not in name)
    return HubListing(weights, any(name in sizes for name in (_TOKENIZER, "tokenizer.model", "vocab.json")))


def check_disk(hub_id: str, needed_bytes: int) -> None:
    """Raise PreviewRefused where a download would not fit on the disk of the Hub's cache."""
    free = shutil.disk_usage(_nearest_folder(_cache_folder())).free
    if needed_bytes + _SPARE_BYTES > free:
        raise PreviewRefused(
            f"The weights of {hub_id} are {needed_bytes / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free.",
            setting="base_model",
        )


def download_weights(hub_id: str) -> Path:
    """The folder with config, safetensors and tokenizer, downloaded where they are not there yet."""
    folder = _download(hub_id, (_WEIGHTS, _WEIGHTS_INDEX, *_CONFIGS, *_TOKENIZER_FILES), "base_model")
    if not is_complete(folder):
        raise PreviewRefused(f"{hub_id} has no complete set of safetensors on the Hub.", setting="base_model")
    return folder


def download_tokenizer(hub_id: str) -> Path:
    """The folder with config and tokenizer."""
    return _download(hub_id, ("config.json", *_TOKENIZER_FILES), "base_model")


def download_adapter(hub_id: str, *, with_weights: bool) -> Path:
    """The folder with an adapter's config, and with its weights if asked for."""
    files = (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if with_weights else (ADAPTER_CONFIG,)
    return _download(hub_id, files, "lora_model_dir")


def _download(hub_id: str, patterns: Sequence[str], setting: str) -> Path:
    from huggingface_hub import snapshot_download

    with _refusals(hub_id, setting):
        return Path(snapshot_download(hub_id, allow_patterns=list(patterns), etag_timeout=_PATIENCE_SECONDS))


@contextmanager
def _refusals(hub_id: str, setting: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one sentence."""
    # httpx2 is what huggingface_hub 2 speaks HTTP with.
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise PreviewRefused(
            f"{hub_id} is gated: accept its terms on the Hub and log in with `hf auth login`.", setting=setting
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise PreviewRefused(
            f"{hub_id} is not on the Hub, or is private: check the spelling, or log in.", setting=setting
        ) from error
    except (httpx2.TransportError, errors.HfHubHTTPError, errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise PreviewRefused(
            f"{hub_id} is not in the local cache and the Hub cannot be reached.", setting=setting
        ) from error


def _cache_folder() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _nearest_folder(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.exists())
