"""The program with its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from lora_explorer import __version__
from lora_explorer.cli import choosing, exploration
from lora_explorer.cli.check import check
from lora_explorer.cli.comparison import compare
from lora_explorer.cli.kept_runs import runs
from lora_explorer.cli.new_tokens import new_tokens
from lora_explorer.cli.presets import presets
from lora_explorer.cli.preview import preview
from lora_explorer.cli.schema import schema
from lora_explorer.cli.time import time

app = typer.Typer(
    name="lora-explorer",
    help="See what a LoRA configuration trains and needs. CONFIG: Axolotl's or another program's file, or - for stdin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_COMMANDS = (
    exploration.count,
    exploration.estimate,
    check,
    exploration.export,
    compare,
    new_tokens,
    presets,
    choosing.sweep,
    choosing.advise,
    time,
    preview,
    schema,
)
for _command in _COMMANDS:
    app.command()(_command)
app.add_typer(runs, name="runs")


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to serve on.")] = 7860,
    public: Annotated[bool, typer.Option("--public", help="For strangers: no folders, small uploads.")] = False,
) -> None:
    """Serve the page until interrupted."""
    from lora_explorer.ui.launch import launch_page

    launch_page(host, port, public=public)


def main() -> None:
    app()
