"""How many steps a run has, and how long the rows are that each of them sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_explorer.errors import ExplorerError
from lora_explorer.settings import Recipe

# Axolotl fills packed rows to 97 of a hundred where samples are much shorter than a row: its estimate in a public log
# (https://github.com/axolotl-ai-cloud/axolotl/issues/2525, sample_packing_eff_est).
PACKED_SHARE = 0.97
# What Axolotl pads to where pad_to_sequence_len is not set (axolotl/core/builders/causal.py).
PADDED_TO = 64


@dataclass(frozen=True)
class Rows:
    """The data set. count: its rows. tokens: of a row on average; None where every row is as long as a sequence.

    val_set_size: what is kept aside, as Axolotl reads it: a share up to one, else so many rows.
    """

    count: int
    tokens: int | None = None
    val_set_size: float = 0.0

    @property
    def trained(self) -> int:
        """Rows that are left to train on. Raises ExplorerError where nothing can be trained on."""
        if self.count < 1:
            raise ExplorerError(f"A data set has at least one row, not {self.count:,}.", setting="rows")
        if self.tokens is not None and self.tokens < 1:
            raise ExplorerError(f"A row has at least one token, not {self.tokens:,}.", setting="tokens_per_row")
        kept = self.val_set_size if self.val_set_size > 1 else math.ceil(self.count * self.val_set_size)
        if not 0 <= kept < self.count:
            raise ExplorerError(
                f"val_set_size: {self.val_set_size:g} leaves none of {self.count:,} rows to train on.",
                setting="val_set_size",
            )
        return self.count - int(kept)


def kept_aside(values: Mapping[str, Any]) -> float:
    """val_set_size among the values of an Axolotl YAML; 0 where it is not given, or no number."""
    given = values.get("val_set_size")
    return float(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else 0.0


@dataclass(frozen=True)
class RunLength:
    """steps: of the optimizer. steps_per_epoch: None where no rows are named. row_tokens: positions in a row of a step.

    document_tokens: of each packed document. capped: `max_steps` ends the run.
    """

    steps: int
    steps_per_epoch: int | None
    row_tokens: int
    document_tokens: int | None
    capped: bool
    assumptions: tuple[str, ...]


def run_length(recipe: Recipe, rows: Rows | None) -> RunLength:
    """As Axolotl's trainer counts. rows: not needed where `max_steps` ends the run. Raises ExplorerError."""
    most = recipe.max_steps if recipe.max_steps is not None and recipe.max_steps > 0 else None
    if rows is None:
        if most is None:
            raise ExplorerError("How long a run takes depends on its rows: say how many, or set max_steps.")
        words = ("Loading, tokenizing, evaluation and saving are left out.", _full_rows_words(recipe))
        return RunLength(most, None, recipe.sequence_len, None, True, words)
    trained, length = rows.trained, min(rows.tokens or recipe.sequence_len, recipe.sequence_len)
    if recipe.sample_packing:
        filled = math.ceil(trained * length / (recipe.sequence_len * PACKED_SHARE))
        batches, row_tokens, documents = filled, recipe.sequence_len, length
    else:
        batches, row_tokens, documents = trained, _padded(length, recipe), None
    micro_batches = math.ceil(batches / recipe.micro_batch_size)
    steps_per_epoch = math.ceil(micro_batches / recipe.gradient_accumulation_steps)
    steps = most or math.ceil(recipe.num_epochs * steps_per_epoch)
    assumed = tuple(_assumed(recipe, rows, row_tokens))
    return RunLength(steps, steps_per_epoch, row_tokens, documents, most is not None, assumed)


def _full_rows_words(recipe: Recipe) -> str:
    return f"Every row is taken to have {recipe.sequence_len:,} tokens."


def _padded(length: int, recipe: Recipe) -> int:
    if recipe.pad_to_sequence_len:
        return recipe.sequence_len
    multiple = PADDED_TO if recipe.pad_to_sequence_len is None else 1
    return min(math.ceil(length / multiple) * multiple, recipe.sequence_len)


def _assumed(recipe: Recipe, rows: Rows, row_tokens: int) -> list[str]:
    words = ["Loading, tokenizing, evaluation and saving are left out."]
    if rows.tokens is None:
        words.append(_full_rows_words(recipe))
    elif rows.tokens > recipe.sequence_len:
        words.append(f"Rows are cut to {recipe.sequence_len:,} tokens.")
    if recipe.sample_packing:
        words.append(f"Packed rows are taken to be {PACKED_SHARE:.0%} full.")
    elif row_tokens < recipe.sequence_len:
        words.append(
            f"Every row is taken to be as long as the average one, {row_tokens:,} tokens with padding; where rows of a "
            "batch differ, all are padded to the longest, which takes longer."
        )
    return words
