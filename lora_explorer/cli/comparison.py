"""The command that holds configurations beside each other, in the words of the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from lora_explorer import questions
from lora_explorer.cli.configuration import Configs, ModelConfig, all_findings, base_model_of, usable_configuration
from lora_explorer.cli.output import AsJson, at_fault, print_json
from lora_explorer.errors import MemoryUnknown
from lora_explorer.exploration.comparison import Figures, count_figures, with_memory, without_memory
from lora_explorer.report import comparison_terminal, records
from lora_explorer.report.comparison import Column
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel
    from lora_explorer.memory import Card
    from lora_explorer.memory.lower_bound import LowerBound


class _Held(NamedTuple):
    """Against what the configurations are held. card: None for every known one."""

    model_config: Path | None
    card: Card | None
    full_depth: bool


def compare(
    configs: Configs,
    model_config: ModelConfig = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Hold them against this card, and say how fast they train on it.")
    ] = None,
    full_depth: Annotated[
        bool, typer.Option("--full-depth", help="Trace every layer instead of one of each kind.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare configurations: what differs, and counts and memory side by side."""
    with at_fault(as_json=as_json):
        from lora_explorer.memory import find_card

        held = _Held(model_config, find_card(gpu) if gpu else None, full_depth)
    compared = []
    for config, name in zip(configs, _names(configs), strict=True):
        with at_fault(as_json=as_json):
            compared.append(_compared(config, name, held))
    if as_json:
        print_json([record for record, _ in compared])
    else:
        comparison_terminal.show_comparison([column for _, column in compared], held.card)


def _names(configs: Sequence[Path]) -> list[str]:
    """Of the files, with their folders where two have the same."""
    of_files = [config.name for config in configs]
    return of_files if len(set(of_files)) == len(of_files) else [str(config) for config in configs]


def _compared(config: Path, name: str, held: _Held) -> tuple[records.Record, Column]:
    imported = usable_configuration(config)
    recipe, base_model = imported.recipe, base_model_of(imported.recipe, held.model_config)
    plan = questions.plan(recipe, base_model)
    findings = all_findings(imported, plan)
    record: records.Record = {"config": str(config), **records.count_record(plan)}
    try:
        figures, found = _weighed(recipe, base_model, held, count_figures(recipe, plan))
        record |= found
    except MemoryUnknown as error:
        findings += error.findings
        bound, found = _bound(recipe, base_model, str(error), held.card)
        figures = without_memory(count_figures(recipe, plan), str(error), bound)
        record |= found
    record["findings"] = records.finding_records(findings)
    return record, Column(name, recipe, figures)


def _weighed(recipe: Recipe, base_model: BaseModel, held: _Held, counted: Figures) -> tuple[Figures, records.Record]:
    estimate = questions.estimate(recipe, base_model, card=held.card, full_depth=held.full_depth)
    pace = questions.pace(recipe, base_model, card=held.card)
    record = records.estimate_record(estimate, gpu=held.card.name if held.card else None)
    if pace:
        record["tokens_per_second"] = list(pace.likely)
    return with_memory(counted, estimate, held.card, pace), record


def _bound(
    recipe: Recipe, base_model: BaseModel, reason: str, card: Card | None
) -> tuple[LowerBound | None, records.Record]:
    try:
        bound = questions.lower_bound(recipe, base_model, reason, card=card)
    except MemoryUnknown as error:
        return None, {"why": str(error)}
    return bound, records.lower_bound_record(bound)
