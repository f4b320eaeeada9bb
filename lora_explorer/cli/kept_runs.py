"""`runs`: what previews have left."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from lora_explorer.cli.output import AsJson, at_fault, print_json
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.supervision import history
from lora_explorer.preview.supervision.ownership import find_run
from lora_explorer.report import terminal
from lora_explorer.report.preview_story import story_of
from lora_explorer.report.preview_terminal import show_run, show_runs

runs = typer.Typer(help="List, show and delete the runs of previews.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="As `lora-explorer runs` lists it.")]


@runs.callback(invoke_without_command=True)
def list_runs(context: typer.Context, as_json: AsJson = False) -> None:
    """List, show and delete the runs of previews; alone it lists them, newest first."""
    if context.invoked_subcommand is not None:
        return
    found = history.runs()
    if as_json:
        print_json([asdict(run) for run in found])
    else:
        show_runs(found)


@runs.command()
def show(run: RunId, as_json: AsJson = False) -> None:
    """How a run went, predicted and measured memory, and where its adapter lies."""
    with at_fault(as_json=as_json):
        folder = find_run(run)
    if as_json:
        print_json(_record(folder))
    else:
        events, _ = folder.events()
        show_run(story_of(events), folder)


@runs.command()
def delete(run: RunId, as_json: AsJson = False) -> None:
    """Stop a run and remove all it left."""
    with at_fault(as_json=as_json):
        history.delete(run, owner=None)
    if as_json:
        print_json({"deleted": run})
    else:
        terminal.show(f"Run {run} is deleted.")


def _record(folder: RunFolder) -> dict[str, Any]:
    summary = history.summarize(folder)
    paths = {"folder": folder.path, "events": folder.events_file, "adapter": folder.adapter}
    return {
        **(asdict(summary) if summary else {"id": folder.id}),
        "plan": folder.read("plan"),
        "environment": folder.read("environment"),
        **{name: str(path) if path.exists() else None for name, path in paths.items()},
    }
