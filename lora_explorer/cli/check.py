"""The command that says what is wrong with a configuration, and puts it right."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lora_explorer import questions
from lora_explorer.cli.configuration import (
    BaseModelName,
    Config,
    ModelConfig,
    all_findings,
    base_model_of,
    configuration_in,
    named_text_of,
)
from lora_explorer.cli.output import AT_FAULT, AsJson, at_fault, print_json, tell, write_file
from lora_explorer.errors import ExplorerError, UnknownBaseModel
from lora_explorer.exports.axolotl import Imported
from lora_explorer.exports.axolotl.filled_in import FilledIn, filled_in
from lora_explorer.exports.axolotl.fixing import with_all_fixes
from lora_explorer.exports.recognition import is_for_axolotl
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.findings import Finding, errors_among
from lora_explorer.report import records, terminal

_STDIN = Path("-")


def check(
    config: Config,
    base_model: BaseModelName = None,
    model_config: ModelConfig = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write what can be put right into an Axolotl YAML.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --fix: a file to write instead, or - for stdout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a configuration: what Axolotl or PEFT would refuse, drop, or do otherwise than written."""
    if output is not None and not fix:
        raise typer.BadParameter("it goes with --fix.", param_hint="--output")
    fixed: tuple[Finding, ...] = ()
    with at_fault(as_json=as_json, known=lambda error: {"filled_in": []}):
        text, name = named_text_of(config)
        for_axolotl = is_for_axolotl(text, name)
        if fix and for_axolotl:
            text, fixed = with_all_fixes(text)
    if fix and not for_axolotl:
        raise typer.BadParameter("only an Axolotl YAML can be mended; export writes one.", param_hint="--fix")
    findings = _checked(text, name, base_model, model_config)
    filled = filled_in(read_document(text).values) if for_axolotl and not errors_among(findings) else ()
    target = output or config
    if fix and target != _STDIN:
        write_file(target, text)
    _answer(findings, fixed, filled, as_json=as_json, text=text if fix and target == _STDIN else None)
    if errors_among(findings):
        raise typer.Exit(AT_FAULT)


def _answer(
    findings: tuple[Finding, ...],
    fixed: tuple[Finding, ...],
    filled: tuple[FilledIn, ...],
    *,
    as_json: bool,
    text: str | None,
) -> None:
    """Findings on stderr; on stdout one JSON object, or the mended text, or words."""
    tell(findings)
    if as_json:
        fixes = {"fixed": records.finding_records(fixed)} if fixed else {}
        print_json(records.check_record(findings, filled) | fixes)
    elif text is not None:
        sys.stdout.write(text)
    else:
        for finding in fixed:
            terminal.show(f"Fixed: {terminal.line_of(finding)}")
        if not findings:
            terminal.show("Nothing to report: Axolotl and PEFT take this configuration as it is written.")
        terminal.show_filled_in(filled)


def _checked(text: str, name: str, base_model: str | None, model_config: Path | None) -> tuple[Finding, ...]:
    try:
        imported = configuration_in(text, name, base_model)
    except ExplorerError as error:
        return error.findings
    findings = all_findings(imported)
    return findings if errors_among(findings) else (*findings, *_model_findings(imported, model_config))


def _model_findings(imported: Imported, model_config: Path | None) -> tuple[Finding, ...]:
    """What only the base model shows. One that cannot be had is no fault of the configuration."""
    try:
        base_model = base_model_of(imported.recipe, model_config)
        plan = questions.plan(imported.recipe, base_model)
        return (*plan.findings, *questions.token_problems(imported, base_model))
    except UnknownBaseModel as error:
        unchecked = "What depends on the base model was not checked: "
        return tuple(Finding(each.setting, "warning", f"{unchecked}{each.message}") for each in error.findings)
    except ExplorerError as error:
        return error.findings
