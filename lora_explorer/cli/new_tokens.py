"""New tokens on the command line: whether embedding and head must be trained, and what each way costs."""

from __future__ import annotations

from typing import Annotated

import typer

from lora_explorer import questions
from lora_explorer.cli.configuration import Config, ModelConfig, base_model_of, usable_configuration
from lora_explorer.cli.output import AsJson, at_fault, print_json
from lora_explorer.memory import find_card
from lora_explorer.report import records, terminal


def new_tokens(
    config: Config,
    tokens: Annotated[
        str, typer.Option("--tokens", help="Tokens to add to those of the file, with commas between them; or how many.")
    ] = "",
    model_config: ModelConfig = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="Hold each way against this card.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether new tokens need embedding and head trained, and what each way of it costs."""
    with at_fault(as_json=as_json):
        card = find_card(gpu) if gpu else None
        imported = usable_configuration(config)
        base_model = base_model_of(imported.recipe, model_config)
        advice, weights = questions.new_tokens(imported, base_model, tokens, card=card)
    record = records.new_tokens_record(advice, weights)
    if as_json:
        print_json(record)
    else:
        terminal.show_new_tokens(record)
