"""The command that says how long a run takes, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lora_explorer import questions
from lora_explorer.cli.configuration import Config, ModelConfig, all_findings, base_model_of, usable_configuration
from lora_explorer.cli.output import AsJson, at_fault, print_json, tell
from lora_explorer.errors import ExplorerError
from lora_explorer.exports.axolotl import Imported
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.findings import Finding
from lora_explorer.report import records
from lora_explorer.report.time_terminal import show_times
from lora_explorer.speed import Price, Rows
from lora_explorer.speed.prices import typed_price
from lora_explorer.speed.run_length import kept_aside

if TYPE_CHECKING:
    from lora_explorer.speed.on_cards import CardTime


def time(
    config: Config,
    model_config: ModelConfig = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="This card only, whether it holds the run or not.")] = None,
    rows: Annotated[int | None, typer.Option("--rows", min=1, help="Rows of the data; gives hours and price.")] = None,
    tokens_per_row: Annotated[
        int | None, typer.Option("--tokens-per-row", min=1, help="Tokens of a row on average; full rows if left out.")
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price", help="US dollars for an hour of a card, in place of the one on file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how fast a configuration trains on each card that holds it, how long that takes, and what it costs."""
    paid = _typed(price)
    with at_fault(as_json=as_json):
        from lora_explorer.memory import find_card

        imported = usable_configuration(config)
        base_model = base_model_of(imported.recipe, model_config)
        tell(all_findings(imported, questions.plan(imported.recipe, base_model)))
        chosen = find_card(gpu) if gpu else None
        data = _rows(imported, rows, tokens_per_row)
        times = questions.times(imported.recipe, base_model, card=chosen, rows=data, price=paid)
    tell(_warnings(times))
    if as_json:
        print_json(records.time_record(times))
    elif times:
        show_times(times)


def _typed(price: float | None) -> Price | None:
    try:
        return None if price is None else typed_price(price)
    except ExplorerError as error:
        raise typer.BadParameter(str(error), param_hint="--price") from error


def _rows(imported: Imported, count: int | None, tokens: int | None) -> Rows | None:
    if count is None:
        if tokens is not None:
            raise typer.BadParameter("--rows is missing beside it.", param_hint="--tokens-per-row")
        return None
    return Rows(count, tokens, kept_aside(read_document(imported.text).values))


def _warnings(times: tuple[CardTime, ...]) -> list[Finding]:
    if not times:
        return [Finding("", "warning", "No known card holds this run; --gpu NAME times it on one all the same.")]
    short = [time.fit.gpu for time in times if not time.fit.fits]
    return [Finding("", "warning", f"{gpu} does not hold this run: its times are as if it did.") for gpu in short]
