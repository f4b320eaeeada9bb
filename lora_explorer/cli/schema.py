"""The JSON Schema of the settings, for editors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from lora_explorer.cli.output import write_file
from lora_explorer.exports.axolotl.schema import json_schema


def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file to write instead of stdout.")] = None,
) -> None:
    """Print a JSON Schema of the YAML; with it, editors complete and check the settings.

    A YAML names it in its first line: # yaml-language-server: $schema=FILE
    """
    text = json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        write_file(output, text)
