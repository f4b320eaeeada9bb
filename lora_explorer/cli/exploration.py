"""The commands that answer without training: what is trained, what it needs, what to write."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lora_explorer import questions
from lora_explorer.cli.configuration import (
    BaseModelName,
    Config,
    ModelConfig,
    all_findings,
    base_model_of,
    checked_recipe,
    read_configuration,
    usable_configuration,
)
from lora_explorer.cli.output import AT_FAULT, AsJson, at_fault, print_json, tell, write_file
from lora_explorer.errors import ExplorerError, MemoryUnknown, UnknownBaseModel
from lora_explorer.exports.tools import AXOLOTL, TOOLS
from lora_explorer.findings import Finding
from lora_explorer.report import records, terminal
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models import BaseModel
    from lora_explorer.base_models.skeleton import Skeleton
    from lora_explorer.memory import Card


# More than any cluster has.
MOST_GPUS = 1_000_000


def _known(tool: str) -> str:
    if tool not in TOOLS:
        raise typer.BadParameter(f"{tool!r} is not one of {', '.join(TOOLS)}.")
    return tool


ToolName = Annotated[
    str,
    typer.Option("--to", metavar="TOOL", callback=_known, help=f"The program to write for: {', '.join(TOOLS)}."),
]
ExpandableSegments = Annotated[
    bool,
    typer.Option(
        "--expandable-segments/--no-expandable-segments",
        help="How PYTORCH_ALLOC_CONF sets the allocator up; Axolotl turns them on.",
    ),
]
FullDepth = Annotated[bool, typer.Option("--full-depth", help="Trace every layer instead of one of each kind.")]


def count(
    config: Config, base_model: BaseModelName = None, model_config: ModelConfig = None, as_json: AsJson = False
) -> None:
    """Count what is trained: exactly as PEFT does."""
    with at_fault(as_json=as_json):
        imported = usable_configuration(config, base_model)
        plan = questions.plan(imported.recipe, base_model_of(imported.recipe, model_config))
        tell(all_findings(imported, plan))
    if as_json:
        print_json(records.count_record(plan))
    else:
        terminal.show_count(plan)


def estimate(
    config: Config,
    base_model: BaseModelName = None,
    model_config: ModelConfig = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="Hold the need against this card only.")] = None,
    n_gpus: Annotated[int, typer.Option("--n-gpus", min=1, max=MOST_GPUS, help="Cards that train side by side.")] = 1,
    full_depth: FullDepth = False,
    expandable_segments: ExpandableSegments = True,
    savings: Annotated[bool, typer.Option("--savings", help="Trace what single changes would save, too.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run the step for real, too: on the first GPU, or a small one on the CPU.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Estimate the memory of a training step, replayed on the meta device."""
    card, unknown_card = _card(gpu)
    tell(unknown_card)
    with at_fault(as_json=as_json):
        imported = read_configuration(config, base_model)
        gpus = questions.plan_of_gpus(n_gpus, imported)
    share: dict[str, Any] = {"card": card, "parallel": gpus}
    with at_fault(as_json=as_json, known=partial(_still_known, imported.recipe, model_config, share)):
        architecture = base_model_of(checked_recipe(imported), model_config)
        tell(all_findings(imported, questions.plan(imported.recipe, architecture)))
        estimate = partial(questions.estimate, full_depth=full_depth, parallel=gpus)
        held_against: dict[str, Any] = {"card": card, "expandable_segments": expandable_segments}
        result = estimate(imported.recipe, architecture, **held_against)
        saved = questions.savings(imported.recipe, architecture, estimate, **held_against) if savings else None
    record = records.estimate_record(result, gpu=card.name if card else None)
    if saved is not None:
        record["savings"] = records.saving_records(saved)
    measured: records.Record = {}
    failed: tuple[Finding, ...] = ()
    if measure:
        measured, failed = questions.measured(imported.recipe, architecture, expandable_segments=expandable_segments)
    tell(failed)
    record |= measured
    if unknown_card or failed:
        record["findings"] = records.finding_records((*unknown_card, *failed))
    if as_json:
        print_json(record)
    else:
        terminal.show_estimate(record, saved)
        terminal.show_measurement(measured)
    if unknown_card or failed:
        raise typer.Exit(AT_FAULT)


def export(
    config: Config,
    to: ToolName,
    base_model: BaseModelName = None,
    model_config: ModelConfig = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file to write instead of stdout.")] = None,
) -> None:
    """Write a configuration for a program; what the program cannot be told is named, and stands as a comment.

    Axolotl gets everything that its file holds besides its settings.
    """
    with at_fault():
        imported = usable_configuration(config, base_model)
        tell(all_findings(imported))
        skeleton, findings = (None, ()) if to == AXOLOTL else _skeleton(imported.recipe, model_config)
        tell(findings)
        written = questions.written(imported, to, skeleton)
        tell(written.unsaid)
    if output is None:
        sys.stdout.write(written.text)
    else:
        write_file(output, written.text)


def _still_known(
    recipe: Recipe, model_config: Path | None, share: Mapping[str, Any], error: ExplorerError
) -> records.Record:
    """What can be said of a configuration whose memory cannot: counts, and a lower bound for one GPU's share."""
    known: records.Record = {}
    try:
        base_model = base_model_of(recipe, model_config)
        with questions.quiet_libraries():
            from lora_explorer.base_models.skeleton import load_skeleton

            known["base_params"] = load_skeleton(base_model).total_params
        plan = questions.plan(recipe, base_model)
        known |= {"trainable_params": plan.trainable_params, "all_params": plan.all_params}
        if isinstance(error, MemoryUnknown):
            known |= _lower_bound(recipe, base_model, str(error), share)
    except ExplorerError as further:
        # The first reason has been told; one that says more is worth its line.
        tell(finding for finding in further.findings if finding not in error.findings)
    return known


def _lower_bound(recipe: Recipe, base_model: BaseModel, reason: str, share: Mapping[str, Any]) -> records.Record:
    try:
        return records.lower_bound_record(questions.lower_bound(recipe, base_model, reason, **share))
    except MemoryUnknown as error:
        return {"why": str(error)}


def _skeleton(recipe: Recipe, model_config: Path | None) -> tuple[Skeleton | None, tuple[Finding, ...]]:
    """Of the base model, whose names for modules some programs need; a base model that cannot be had is a warning."""
    try:
        return questions.skeleton(base_model_of(recipe, model_config)), ()
    except UnknownBaseModel as error:
        return None, tuple(Finding(each.setting, "warning", each.message) for each in error.findings)


def _card(name: str | None) -> tuple[Card | None, tuple[Finding, ...]]:
    """The card of that name, or a sentence about one that is not known."""
    from lora_explorer.memory import find_card

    try:
        return (None if name is None else find_card(name)), ()
    except ExplorerError as error:
        return None, error.findings
