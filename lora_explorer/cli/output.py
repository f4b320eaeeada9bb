"""What a command says: findings on stderr, results on stdout, and whose fault it was as its exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from lora_explorer.errors import ExplorerError
from lora_explorer.findings import Finding
from lora_explorer.report import records, terminal

AT_FAULT = 1

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@contextmanager
def at_fault(
    *, as_json: bool = False, known: Callable[[ExplorerError], records.Record] | None = None
) -> Iterator[None]:
    """Errors raised on purpose become lines on stderr and exit status 1.

    known: what can be said all the same, printed with the findings.
    """
    try:
        yield
    except ExplorerError as error:
        tell(error.findings)
        record = {"findings": records.finding_records(error.findings), **(known(error) if known else {})}
        if as_json:
            print_json(record)
        else:
            terminal.show_still_known(record)
        raise typer.Exit(AT_FAULT) from error


def tell(findings: Iterable[Finding]) -> None:
    for finding in findings:
        print(terminal.line_of(finding), file=sys.stderr)


def write_file(file: Path, text: str) -> None:
    """The text with its line ends as they are. A file that cannot be written is a wrong call."""
    try:
        with file.open("w", encoding="utf-8", newline="") as opened:
            opened.write(text)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}.", param_hint="--output") from error


def print_json(record: Any) -> None:
    print(json.dumps(record, ensure_ascii=False))
