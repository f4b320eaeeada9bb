"""The commands that help to choose: sweeps over settings, and advice for a card."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lora_explorer import exploration_questions, questions
from lora_explorer.cli.configuration import Config, ModelConfig, all_findings, base_model_of, usable_configuration
from lora_explorer.cli.exploration import ExpandableSegments
from lora_explorer.cli.output import AsJson, at_fault, print_json, tell
from lora_explorer.errors import ExplorerError
from lora_explorer.report import advice_terminal, exploration_records, sweeps
from lora_explorer.report.records import Record, fit_record
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel
    from lora_explorer.exploration.sweep import Sweep, SweepPoint
    from lora_explorer.memory import Card, CardFit

_WRONG_CALL = 2

Over = Annotated[
    list[str],
    typer.Option(
        "--over",
        metavar="NAME=RANGE",
        help="A setting and its values: lora_r=4..256x2, micro_batch_size=1..16, sequence_len=1024,2048; or targets, "
        "bits, or a setting with choices, without values. Once or twice.",
    ),
]
Cards = Annotated[list[str] | None, typer.Option("--gpu", metavar="NAME", help="Hold every point against this card.")]


def sweep(
    config: Config,
    over: Over,
    model_config: ModelConfig = None,
    gpu: Cards = None,
    expandable_segments: ExpandableSegments = True,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line and nothing else.")] = False,
) -> None:
    """Predict every combination of one or two settings: counts, memory, speed, and where cards end."""
    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other.")
    with _wrong_call():
        cards = tuple(_card(name) for name in gpu or ())
    with at_fault(as_json=as_json):
        recipe, base_model = _configured(config, model_config)
    options: dict[str, Any] = {"cards": cards, "expandable_segments": expandable_segments}
    with _wrong_call():
        planned = exploration_questions.planned_sweep(over, recipe, base_model, **options)
    with at_fault(as_json=as_json):
        _show_sweep(planned, _json_lines if as_json else _csv_lines if as_csv else _lines)


def advise(
    config: Config,
    gpu: Annotated[str, typer.Option("--gpu", metavar="NAME", help="The card to run it on.")],
    model_config: ModelConfig = None,
    expandable_segments: ExpandableSegments = True,
    as_json: AsJson = False,
) -> None:
    """Say what fits on a card, what to change if it does not, what that costs, and which cards hold it as it is."""
    with _wrong_call():
        card = _card(gpu)
    with at_fault(as_json=as_json):
        recipe, base_model = _configured(config, model_config)
        options: dict[str, Any] = {"expandable_segments": expandable_segments}
        estimate = questions.estimate(recipe, base_model, card=card, every_card=False, **options)
        fit = estimate.fits[0]
        largest = exploration_questions.largest_values(recipe, base_model, card, **options)
        advice, combination = exploration_questions.advice(recipe, base_model, card, **options)
        offers = exploration_questions.card_offers(recipe, base_model, **options)
    if as_json:
        found = {
            "largest": [exploration_records.largest_record(each) for each in largest],
            "changes": [exploration_records.advice_record(each) for each in advice],
            "combination": exploration_records.advice_record(combination) if combination else None,
            "cards": [exploration_records.offer_record(each) for each in offers],
        }
        print_json({**_now(card, fit), **found})
        return
    advice_terminal.show_verdict(fit)
    advice_terminal.show_largest(largest)
    advice_terminal.show_advice(advice, combination, fits=fit.fits)
    advice_terminal.show_offers(offers)


def _now(card: Card, fit: CardFit) -> Record:
    return {"gpu": card.name, "capacity_bytes": card.memory_bytes, "now": fit_record(fit)}


def _configured(config: Path, model_config: Path | None) -> tuple[Recipe, BaseModel]:
    """Raises InvalidSettings, UnknownBaseModel, AdapterRefused."""
    imported = usable_configuration(config)
    base_model = base_model_of(imported.recipe, model_config)
    tell(all_findings(imported, questions.plan(imported.recipe, base_model)))
    return imported.recipe, base_model


def _card(name: str) -> Card:
    from lora_explorer.memory import find_card

    return find_card(name)


@contextmanager
def _wrong_call() -> Iterator[None]:
    """What is wrong with an option is told in one line, like what is wrong with a setting."""
    try:
        yield
    except ExplorerError as error:
        tell(error.findings)
        raise typer.Exit(_WRONG_CALL) from error


def _show_sweep(planned: Sweep, lines: Callable[[Sweep, Iterator[SweepPoint]], Iterator[str]]) -> None:
    # While a point is predicted in a thread, what libraries print is sent elsewhere for the whole process.
    out = sys.stdout
    for line in lines(planned, exploration_questions.swept(planned)):
        out.write(line)
        out.flush()


def _lines(planned: Sweep, points: Iterator[SweepPoint]) -> Iterator[str]:
    from lora_explorer.exploration.card_ends import where_cards_end

    yield f"{sweeps.sweep_title(planned)}\n{sweeps.sweep_head(planned)}\n"
    shown: list[SweepPoint] = []
    for point in points:
        shown.append(point)
        yield f"{sweeps.sweep_line(planned, point)}\n"
    yield from (f"{sentence}\n" for sentence in sweeps.ends_in_words(planned, where_cards_end(planned, shown)))


def _csv_lines(planned: Sweep, points: Iterator[SweepPoint]) -> Iterator[str]:
    yield sweeps.csv_head(planned)
    yield from (sweeps.csv_line(planned, point) for point in points)


def _json_lines(planned: Sweep, points: Iterator[SweepPoint]) -> Iterator[str]:
    from lora_explorer.exploration.card_ends import where_cards_end

    shown: list[SweepPoint] = []
    for point in points:
        shown.append(point)
        yield _json_line(exploration_records.point_record(planned, point))
    ends = where_cards_end(planned, shown)
    yield _json_line(exploration_records.sweep_end_record(planned, shown, ends))


def _json_line(record: Record) -> str:
    return f"{json.dumps(record, ensure_ascii=False)}\n"
