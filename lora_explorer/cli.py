"""The command line: the same results as the page, as tables for people or as JSON for scripts.

Results go to stdout and everything else to stderr. Exit status: 0 fine, 1 the configuration is at fault, 2 wrong call.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lora_explorer import __version__, questions
from lora_explorer.errors import ExplorerError, InvalidSettings, MemoryUnknown, UnknownBaseModel
from lora_explorer.exports.axolotl import Imported, export_axolotl, import_axolotl
from lora_explorer.findings import Finding, errors_among
from lora_explorer.report import records, terminal
from lora_explorer.settings import Recipe, find_problems

if TYPE_CHECKING:
    from lora_explorer.adapters import AdapterPlan
    from lora_explorer.base_models import BaseModel
    from lora_explorer.memory import Card

app = typer.Typer(
    name="lora-explorer",
    help="See what a LoRA configuration trains and needs. CONFIG is an Axolotl YAML file, or - for stdin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AT_FAULT = 1
# Larger than both readers take, so that they say so.
LARGEST_FILE_BYTES = 4 << 20


class Tool(str, Enum):
    """Programs a configuration can be written for."""

    AXOLOTL = "axolotl"


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="An Axolotl YAML file, or - for stdin.")]
Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Axolotl YAML files.")]
ModelConfig = Annotated[
    Path | None,
    typer.Option("--model-config", metavar="FILE", help="A Hugging Face config.json in place of base_model."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
ExpandableSegments = Annotated[
    bool,
    typer.Option(
        "--expandable-segments/--no-expandable-segments",
        help="How PYTORCH_ALLOC_CONF sets the allocator up; Axolotl turns them on.",
    ),
]
FullDepth = Annotated[bool, typer.Option("--full-depth", help="Trace every layer instead of one of each kind.")]


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def count(config: Config, model_config: ModelConfig = None, as_json: AsJson = False) -> None:
    """Count what is trained: exactly as PEFT does."""
    with _at_fault(as_json=as_json):
        imported = _usable(config)
        plan = questions.plan(imported.recipe, _base_model(imported.recipe, model_config))
        _tell(_all_findings(imported, plan))
    if as_json:
        _print_json(records.count_record(plan))
    else:
        terminal.show_count(plan)


@app.command()
def estimate(
    config: Config,
    model_config: ModelConfig = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="Hold the need against this card only.")] = None,
    n_gpus: Annotated[int, typer.Option("--n-gpus", min=1, help="Cards that train side by side.")] = 1,
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
    _tell(unknown_card)
    with _at_fault(as_json=as_json):
        imported = _imported(config)
        gpus = questions.plan_of_gpus(n_gpus, imported)
    share: dict[str, Any] = {"card": card, "parallel": gpus}
    with _at_fault(as_json=as_json, known=partial(_still_known, imported.recipe, model_config, share)):
        base_model = _base_model(_checked_recipe(imported), model_config)
        _tell(_all_findings(imported, questions.plan(imported.recipe, base_model)))
        estimate = partial(questions.estimate, full_depth=full_depth, parallel=gpus)
        held_against: dict[str, Any] = {"card": card, "expandable_segments": expandable_segments}
        result = estimate(imported.recipe, base_model, **held_against)
        saved = questions.savings(imported.recipe, base_model, estimate, **held_against) if savings else None
    record = records.estimate_record(result, gpu=card.name if card else None)
    if saved is not None:
        record["savings"] = records.saving_records(saved)
    measured: records.Record = {}
    failed: tuple[Finding, ...] = ()
    if measure:
        measured, failed = questions.measured(imported.recipe, base_model, expandable_segments=expandable_segments)
    _tell(failed)
    record |= measured
    if unknown_card or failed:
        record["findings"] = records.finding_records((*unknown_card, *failed))
    if as_json:
        _print_json(record)
    else:
        terminal.show_estimate(record, saved)
        terminal.show_measurement(measured)
    if unknown_card or failed:
        raise typer.Exit(AT_FAULT)


@app.command()
def check(config: Config, model_config: ModelConfig = None, as_json: AsJson = False) -> None:
    """Check a configuration: what Axolotl or PEFT would refuse, drop, or do otherwise than written."""
    findings = _checked(config, model_config)
    _tell(findings)
    if as_json:
        _print_json({"findings": records.finding_records(findings)})
    elif not findings:
        terminal.show("Nothing to report: Axolotl and PEFT take this configuration as it is written.")
    if errors_among(findings):
        raise typer.Exit(AT_FAULT)


@app.command()
def export(
    config: Config,
    to: Annotated[Tool, typer.Option("--to", help="The program to write for.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file to write instead of stdout.")] = None,
) -> None:
    """Write a configuration for a program, with everything the file holds besides its settings."""
    with _at_fault():
        imported = _usable(config)
        _tell(_all_findings(imported))
        text = export_axolotl(imported.recipe, imported.text)
    if output is None:
        sys.stdout.write(text)
    else:
        _write(output, text)


@app.command()
def compare(
    configs: Configs, model_config: ModelConfig = None, full_depth: FullDepth = False, as_json: AsJson = False
) -> None:
    """Compare configurations: counts and memory side by side."""
    rows = []
    for config in configs:
        with _at_fault(as_json=as_json):
            rows.append(_compared(config, model_config, full_depth=full_depth))
    if as_json:
        _print_json(rows)
    else:
        terminal.show_comparison(rows)


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


@contextmanager
def _at_fault(
    *, as_json: bool = False, known: Callable[[ExplorerError], records.Record] | None = None
) -> Iterator[None]:
    """Errors raised on purpose become lines on stderr and exit status 1.

    known: what can be said all the same, printed with the findings.
    """
    try:
        yield
    except ExplorerError as error:
        _tell(error.findings)
        record = {"findings": records.finding_records(error.findings), **(known(error) if known else {})}
        if as_json:
            _print_json(record)
        else:
            terminal.show_still_known(record)
        raise typer.Exit(AT_FAULT) from error


def _text_of(file: Path) -> str:
    """The text of a file, or of stdin, cut where it is too large for either reader.

    What is no UTF-8 becomes a character that the readers refuse, with its line.
    """
    if str(file) == "-":
        return sys.stdin.buffer.read(LARGEST_FILE_BYTES).decode("utf-8", "surrogateescape")
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST_FILE_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.") from error


def _imported(config: Path) -> Imported:
    return import_axolotl(_text_of(config))


def _usable(config: Path) -> Imported:
    """A configuration without errors. Raises InvalidSettings with all its findings."""
    imported = _imported(config)
    _checked_recipe(imported)
    return imported


def _checked_recipe(imported: Imported) -> Recipe:
    """Raises InvalidSettings with all findings where one is an error, warnings too: they may explain."""
    findings = _all_findings(imported)
    if errors_among(findings):
        raise InvalidSettings(findings)
    return imported.recipe


def _write(output: Path, text: str) -> None:
    try:
        with output.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise typer.BadParameter(f"{output} cannot be written: {error.strerror}.", param_hint="--output") from error


def _base_model(recipe: Recipe, model_config: Path | None) -> BaseModel:
    from lora_explorer.base_models import base_model_from_config, find_base_model

    if model_config is None:
        return find_base_model(recipe.base_model)
    return base_model_from_config(_text_of(model_config), recipe.base_model or str(model_config))


def _still_known(
    recipe: Recipe, model_config: Path | None, share: Mapping[str, Any], error: ExplorerError
) -> records.Record:
    """What can be said of a configuration whose memory cannot: counts, and a lower bound for one GPU's share."""
    known: records.Record = {}
    try:
        base_model = _base_model(recipe, model_config)
        with questions.quiet_libraries():
            from lora_explorer.base_models.skeleton import load_skeleton

            known["base_params"] = load_skeleton(base_model).total_params
        plan = questions.plan(recipe, base_model)
        known |= {"trainable_params": plan.trainable_params, "all_params": plan.all_params}
        if isinstance(error, MemoryUnknown):
            known |= _lower_bound(recipe, base_model, str(error), share)
    except ExplorerError as further:
        # The first reason has been told; one that says more is worth its line.
        _tell(finding for finding in further.findings if finding not in error.findings)
    return known


def _lower_bound(recipe: Recipe, base_model: BaseModel, reason: str, share: Mapping[str, Any]) -> records.Record:
    try:
        return records.lower_bound_record(questions.lower_bound(recipe, base_model, reason, **share))
    except MemoryUnknown as error:
        return {"why": str(error)}


def _compared(config: Path, model_config: Path | None, *, full_depth: bool) -> records.Record:
    imported = _usable(config)
    base_model = _base_model(imported.recipe, model_config)
    plan = questions.plan(imported.recipe, base_model)
    findings = _all_findings(imported, plan)
    record: records.Record = {"config": str(config), **records.count_record(plan)}
    try:
        result = questions.estimate(imported.recipe, base_model, full_depth=full_depth)
        record |= records.estimate_record(result)
    except MemoryUnknown as error:
        findings += error.findings
        record |= _lower_bound(imported.recipe, base_model, str(error), {})
    return record | {"findings": records.finding_records(findings)}


def _all_findings(imported: Imported, plan: AdapterPlan | None = None) -> tuple[Finding, ...]:
    return (*imported.findings, *find_problems(imported.recipe), *(plan.findings if plan else ()))


def _checked(config: Path, model_config: Path | None) -> tuple[Finding, ...]:
    try:
        imported = _imported(config)
    except ExplorerError as error:
        return error.findings
    findings = _all_findings(imported)
    return findings if errors_among(findings) else (*findings, *_model_findings(imported.recipe, model_config))


def _model_findings(recipe: Recipe, model_config: Path | None) -> tuple[Finding, ...]:
    """What only the base model shows. One that cannot be had is no fault of the configuration."""
    try:
        return questions.plan(recipe, _base_model(recipe, model_config)).findings
    except UnknownBaseModel as error:
        unchecked = "What depends on the base model was not checked: "
        return tuple(Finding(each.setting, "warning", f"{unchecked}{each.message}") for each in error.findings)
    except ExplorerError as error:
        return error.findings


def _card(name: str | None) -> tuple[Card | None, tuple[Finding, ...]]:
    """The card of that name, or a sentence about one that is not known."""
    from lora_explorer.memory import find_card

    try:
        return (find_card(name) if name else None), ()
    except ExplorerError as error:
        return None, error.findings


def _tell(findings: Iterable[Finding]) -> None:
    for finding in findings:
        print(terminal.line_of(finding), file=sys.stderr)


def _print_json(record: Any) -> None:
    print(json.dumps(record, ensure_ascii=False))


if __name__ == "__main__":
    main()
