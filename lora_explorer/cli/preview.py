"""`preview`: a short training run, followed until it ends or Ctrl-C stops it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lora_explorer import questions
from lora_explorer.cli.configuration import ModelConfig
from lora_explorer.cli.followed_run import Begun, extended, followed, print_line, refusals_told, submitted
from lora_explorer.cli.interruption import Interruption, end_now, leave
from lora_explorer.cli.output import AT_FAULT, tell
from lora_explorer.cli.preview_request import Call, request_of
from lora_explorer.findings import Finding
from lora_explorer.preview.events import Event, Failed, Finished
from lora_explorer.preview.request import DatasetType, Logging, Weights
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.supervision.queue import RunQueue
from lora_explorer.report import terminal
from lora_explorer.report.preview_story import story_of
from lora_explorer.report.preview_terminal import RunScreen, show_run

STEPS = 30
MOST_SEED = 2**32 - 1

Config = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help="An Axolotl YAML file, or - for stdin.", show_default=False)
]
Steps = Annotated[int, typer.Option("--steps", help="Optimizer steps; of an extension, those that are added.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="instructions, conversations, a file, or owner/name on the Hub; else the YAML's own where it can be had.",
    ),
]
Type = Annotated[DatasetType | None, typer.Option("--type", help="How a row becomes text; else its columns tell.")]
WeightsOption = Annotated[
    Weights | None,
    typer.Option("--weights", help="The model's own, SmolLM2's in its place, or random ones in the model's shape."),
]
Rows = Annotated[int | None, typer.Option("--micro-batch-size", help="Instead of the YAML's.")]
Tokens = Annotated[int | None, typer.Option("--sequence-len", help="Instead of the YAML's.")]
MicroBatches = Annotated[int | None, typer.Option("--gradient-accumulation-steps", help="Instead of the YAML's.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=MOST_SEED, help="Instead of the YAML's.")]
RunAnyway = Annotated[bool, typer.Option("--run-anyway", help="Also where the prediction says that it does not fit.")]
LogTo = Annotated[Logging, typer.Option("--log-to", help="Where the trainer logs besides.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="A new folder for a copy of the adapter.")
]
Extend = Annotated[
    str | None, typer.Option("--extend", metavar="RUN", help="Go on with a run that is over, in place of a CONFIG.")
]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line and nothing else.")]


def preview(
    config: Config = None,
    steps: Steps = STEPS,
    model_config: ModelConfig = None,
    data: Data = None,
    type_: Type = None,
    weights: WeightsOption = None,
    sequence_len: Tokens = None,
    micro_batch_size: Rows = None,
    gradient_accumulation_steps: MicroBatches = None,
    seed: Seed = None,
    run_anyway: RunAnyway = False,
    log_to: LogTo = "none",
    output: Output = None,
    extend: Extend = None,
    as_json: AsJsonLines = False,
) -> None:
    """Train for a few steps, for real: loss, speed, and memory beside its prediction."""
    own = (model_config, data, type_, weights, sequence_len, micro_batch_size, gradient_accumulation_steps, seed)
    if (config is None) == (extend is None):
        raise typer.BadParameter("Name a CONFIG, or a run with --extend.")
    if extend is not None and (any(each is not None for each in own) or run_anyway or log_to != "none"):
        raise typer.BadParameter("A run goes on as it began: only --steps, --output and --json go with --extend.")
    _check_output(output)
    choices = {
        "steps": steps,
        "weights": weights,
        "sequence_len": sequence_len,
        "micro_batch_size": micro_batch_size,
        "gradient_accumulation_steps": gradient_accumulation_steps,
        "run_anyway": run_anyway,
        "logging": log_to,
    }
    queue, stopping = RunQueue(), threading.Event()
    with Interruption(partial(leave, as_json=as_json)) as interruption, refusals_told(as_json=as_json):
        begin: Callable[[], Begun] = partial(extended, queue, str(extend), steps)
        if config is not None:
            begin = _planned(queue, Call(config, model_config, data, type_, seed, choices), as_json=as_json)
        # From here on there is something to stop before the process ends.
        interruption.then = stopping.set
        folder, last = _shown(queue, begin, stopping, as_json=as_json)
    queue.close()
    _finish(folder, last, output)


def _planned(queue: RunQueue, call: Call, *, as_json: bool) -> Callable[[], Begun]:
    """What starts a run that can be started. Raises ExplorerError."""
    request, notes = request_of(call)
    prediction = questions.prediction(request)
    if not as_json:
        terminal.show(prediction if isinstance(prediction, str) else prediction.sentence())
    return partial(submitted, queue, request, notes)


def _shown(
    queue: RunQueue, begin: Callable[[], Begun], stopping: threading.Event, *, as_json: bool
) -> tuple[RunFolder, Event]:
    """A run and its last event, after everything that can be shown of it."""
    begun = begin()
    if as_json:
        return begun.folder, followed(queue, begun, print_line, stopping)
    with RunScreen() as screen:
        last = followed(queue, begun, screen.tell, stopping)
    # Of an extended run, what came before belongs to it too.
    show_run(story_of(begun.folder.events()[0]), begun.folder)
    return begun.folder, last


def _finish(folder: RunFolder, last: Event, output: Path | None) -> None:
    """Copy the adapter, say what went wrong, and end with the status that says it."""
    if output is not None:
        _copy_adapter(folder, output)
    if isinstance(last, Failed):
        tell([Finding(last.setting, "error", f"{last.message} {last.suggestion}".strip())])
        raise typer.Exit(AT_FAULT)
    if not isinstance(last, Finished):
        end_now()


def _check_output(output: Path | None) -> None:
    if output is not None and output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise typer.BadParameter(f"{output} exists already; name a new folder.", param_hint="--output")


def _copy_adapter(folder: RunFolder, output: Path) -> None:
    if not folder.adapter.is_dir():
        tell([Finding("", "warning", "No adapter was saved, so nothing is copied.")])
        return
    try:
        shutil.copytree(folder.adapter, output, dirs_exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{output} cannot be written: {error.strerror}.", param_hint="--output") from error
