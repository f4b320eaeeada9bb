"""The first rows of a data set on the Hub, streamed: no more of it is downloaded than is read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from lora_explorer.preview.data.refusal import quoted, refusal, shown
from lora_explorer.preview.request import DataChoice

if TYPE_CHECKING:
    import datasets

_PATIENCE_SECONDS = 5.0


def hub_rows(choice: DataChoice, most_rows: int) -> list[dict[str, Any]]:
    """At most so many rows. Raises PreviewRefused with what to do instead."""
    import datasets
    import httpx2
    import pyarrow
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    name = choice.name
    try:
        # `datasets` would try for half a minute to reach a Hub that is not there.
        HfApi().dataset_info(name, timeout=_PATIENCE_SECONDS)
        return list(islice(_rows(_split(choice)), most_rows))
    except (datasets.exceptions.DatasetNotFoundError, RepositoryNotFoundError) as error:
        raise refusal(f"{name} {_why_not_found(error)}") from error
    except datasets.exceptions.DataFilesNotFoundError as error:
        raise refusal(f"{name} holds no data files of a known kind on the Hub.") from error
    except (datasets.exceptions.DatasetGenerationError, pyarrow.ArrowException) as error:
        raise refusal(f"The files of {name} on the Hub cannot be read as one table.") from error
    except (httpx2.TransportError, HfHubHTTPError, OSError) as error:
        raise refusal(f"The Hub cannot be reached for {name}; choose a built-in data set or upload a file.") from error
    except RuntimeError as error:
        # What remains is a data set made by a script, which is never run here.
        raise refusal(f"{name} needs code of its own to be read, which is not run here.") from error


def _split(choice: DataChoice) -> datasets.IterableDataset:
    import datasets

    try:
        splits = datasets.load_dataset(choice.name, choice.config, streaming=True)
    except ValueError as error:
        raise refusal(_wrong_config(choice, error)) from error
    if choice.split not in splits:
        raise refusal(f"{choice.name} has no split {shown(choice.split)!r}; it has {quoted(sorted(splits))}.")
    # Images and sounds are not looked at, so that nothing is needed to read them.
    split = splits[choice.split]
    return split.decode(False) if split.features else split


def _rows(split: datasets.IterableDataset) -> Iterator[dict[str, Any]]:
    yield from split


def _why_not_found(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError

    if isinstance(error, GatedRepoError) or "is a gated dataset" in str(error):
        return "is gated: accept its terms on the Hub and log in, or upload a file."
    return "is not on the Hub as a data set, or is private; check the spelling or upload a file."


def _wrong_config(choice: DataChoice, error: ValueError) -> str:
    import datasets

    known = datasets.get_dataset_config_names(choice.name) if "onfig" in str(error) else []
    if not known:
        return f"{choice.name} cannot be read from the Hub: {shown(str(error)).rstrip('.')}."
    asked = (
        f"has no configuration {shown(choice.config)!r}; it has"
        if choice.config
        else "has several configurations; name"
    )
    return f"{choice.name} {asked} {quoted(known)}{'' if choice.config else ' as the name of the entry'}."
