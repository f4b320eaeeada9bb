"""All runs there are: what each was, how it went, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lora_explorer.base_models import find_base_model
from lora_explorer.errors import PreviewRefused
from lora_explorer.preview.events import LAST_KINDS, Evaluation, Event, Measured, Started, Step
from lora_explorer.preview.models.bundled_model import BUNDLED_MODEL
from lora_explorer.preview.run_folder import RunFolder, Status, home
from lora_explorer.preview.supervision.ownership import belongs_to, own_run
from lora_explorer.preview.supervision.process import stop_worker

MOST_CURVES = 7


@dataclass(frozen=True)
class RunSummary:
    """One run in a line of the history.

    at: when it was started, seconds since the epoch. steps: those asked for. last_loss: None where there is none, or
    it means nothing. peak_bytes: the measured peak where one was taken, else the most that a step was seen to hold.
    """

    id: str
    at: float
    title: str
    status: Status
    base_model: str
    data: str
    steps_done: int
    steps: int
    last_loss: float | None
    peak_bytes: int | None
    device: str


@dataclass(frozen=True)
class LossCurve:
    """Loss by step, and the loss over the rows kept aside; a step done twice counts as it went the last time."""

    run: str
    title: str
    losses: Mapping[int, float]
    eval_losses: Mapping[int, float]


def runs(owner: str | None = None) -> list[RunSummary]:
    """Newest first. owner: a browser's secret, for its own runs and those of nobody; None for all.

    A folder that cannot be read as a run is left out.
    """
    with suppress(FileNotFoundError):
        paths = sorted((home() / "runs").iterdir(), reverse=True)
        folders = [RunFolder(path) for path in paths if path.is_dir()]
        found = [summarize(folder) for folder in folders if owner is None or belongs_to(folder, owner)]
        return [summary for summary in found if summary is not None]
    return []


def summarize(folder: RunFolder) -> RunSummary | None:
    """None for a folder that cannot be read as a run.

    A run that is over is read once: its summary is kept beside its events for as long as those stay as they are.
    """
    stamp = _stamp(folder)
    kept = folder.read("summary")
    if isinstance(kept, dict) and kept.pop("stamp", None) == stamp:
        with suppress(TypeError):
            return RunSummary(**kept)
    summary = _read(folder)
    if summary is not None and summary.status in LAST_KINDS:
        # On a full disk it is read anew the next time.
        with suppress(OSError):
            folder.write("summary", {**asdict(summary), "stamp": stamp})
    return summary


def title_of(folder: RunFolder, steps: Sequence[Step]) -> str:
    """What a run that has done these steps is called in the history; nothing where it cannot be read."""
    record = folder.read("request")
    return _title(record, steps) if isinstance(record, dict) else ""


def curves(run_ids: Iterable[str], owner: str | None = None) -> list[LossCurve]:
    """Loss curves to lay over each other, seven at the most.

    Raises PreviewRefused for more, for a run that does not exist, and for one of another owner.
    """
    chosen = list(dict.fromkeys(run_ids))
    if len(chosen) > MOST_CURVES:
        raise PreviewRefused(f"At most {MOST_CURVES} runs can be laid over each other; {len(chosen)} were chosen.")
    return [_curve(own_run(run_id, owner)) for run_id in chosen]


def restore(run_id: str, owner: str | None = None) -> str:
    """The YAML text a run was started from. Raises PreviewRefused as `curves`, and where the text is lost."""
    record = own_run(run_id, owner).read("request")
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise PreviewRefused("The settings of this run cannot be read any more.")
    return text


def delete(run_id: str, owner: str | None = "") -> None:
    """Stop a run and remove all it left. owner: as of RunQueue.

    Raises PreviewRefused for another's run, and where there is none.
    """
    folder = own_run(run_id, owner)
    # Out of the line first, so that nobody starts it meanwhile.
    (folder.path / "waiting.json").unlink(missing_ok=True)
    stop_worker(folder)
    folder.delete()


def _stamp(folder: RunFolder) -> list[int]:
    stamps = (_file_stamp(folder.events_file), _file_stamp(folder.path / "request.json"))
    return [number for stamp in stamps for number in stamp]


def _file_stamp(file: Path) -> tuple[int, int]:
    with suppress(FileNotFoundError):
        found = file.stat()
        return found.st_size, found.st_mtime_ns
    return 0, 0


def _read(folder: RunFolder) -> RunSummary | None:
    # Not as a PreviewRequest: one of another version can still be listed.
    record = folder.read("request")
    if not isinstance(record, dict):
        return None
    events, _ = folder.events()
    steps = [event for event in events if isinstance(event, Step)]
    started = [event for event in events if isinstance(event, Started)]
    return RunSummary(
        id=folder.id,
        at=_begun(folder, events),
        title=_title(record, steps),
        status=folder.status(),
        base_model=_base_model(record),
        data=_data(record),
        steps_done=max((step.step for step in steps), default=0),
        steps=int(record.get("steps") or 0),
        last_loss=steps[-1].loss if steps else None,
        peak_bytes=_peak_bytes(events, steps),
        device=started[-1].device if started else "",
    )


def _begun(folder: RunFolder, events: list[Event]) -> float:
    if events:
        return events[0].at
    with suppress(ValueError):
        return datetime.strptime(folder.id[:15], "%Y%m%d-%H%M%S").timestamp()
    return 0.0


def _peak_bytes(events: list[Event], steps: list[Step]) -> int | None:
    measured = [event.measured for event in events if isinstance(event, Measured)]
    peaks = [figures["peak_allocated_bytes"] for figures in measured if "peak_allocated_bytes" in figures]
    return max(peaks or (step.memory_bytes for step in steps), default=None)


def _base_model(record: Mapping[str, Any]) -> str:
    if record.get("weights") == "bundled":
        # It was trained in place of what the settings name.
        return find_base_model(BUNDLED_MODEL).label
    known = _mapping(record, "base_model")
    label = str(known.get("label") or known.get("name") or "")
    # A folder's last part says enough to its owner, and nothing to anyone else.
    return Path(label).name if known.get("origin") == "folder" else label


def _data(record: Mapping[str, Any]) -> str:
    choice = _mapping(record, "data")
    name = str(choice.get("name", ""))
    return Path(name).name if choice.get("origin") == "file" else name


def _title(record: Mapping[str, Any], steps: Sequence[Step]) -> str:
    recipe = _mapping(record, "recipe")
    said = [f"{word} {recipe[key]}" for key, word in _IN_TITLE if recipe.get(key) is not None]
    random = ("random weights",) if _is_random(record, steps) else ()
    return ", ".join((f"{_base_model(record)} on {_data(record)}", *said, *random))


_IN_TITLE = (("lora_r", "rank"), ("lora_alpha", "alpha"), ("learning_rate", "learning rate"))


def _is_random(record: Mapping[str, Any], steps: Sequence[Step]) -> bool:
    """Random weights have no loss that is written down; before the first step only what was asked for is known."""
    return all(step.loss is None for step in steps) if steps else record.get("weights") == "shape"


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}


def _curve(folder: RunFolder) -> LossCurve:
    events, _ = folder.events()
    summary = summarize(folder)
    return LossCurve(
        run=folder.id,
        title=summary.title if summary else folder.id,
        losses={each.step: each.loss for each in events if isinstance(each, Step) and each.loss is not None},
        eval_losses={each.step: each.eval_loss for each in events if isinstance(each, Evaluation)},
    )
