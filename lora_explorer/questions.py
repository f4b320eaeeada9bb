"""What the command line asks the rest of the package, with the chatter of its libraries kept off stdout."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from lora_explorer.errors import AdapterRefused, ExplorerError, MemoryUnknown, PreviewRefused
from lora_explorer.exports.axolotl import Imported
from lora_explorer.exports.exported import Exported
from lora_explorer.exports.tools import export_recipe
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.findings import Finding
from lora_explorer.report import records
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.adapters import AdapterPlan
    from lora_explorer.adapters.new_tokens import NewTokensAdvice
    from lora_explorer.base_models import BaseModel
    from lora_explorer.base_models.skeleton import Skeleton
    from lora_explorer.exploration.pace import Pace
    from lora_explorer.memory import Card, MemoryEstimate
    from lora_explorer.memory.lower_bound import LowerBound
    from lora_explorer.memory.new_tokens import Weight
    from lora_explorer.memory.plan.parallel_plan import ParallelPlan
    from lora_explorer.memory.savings import Estimate, Saving
    from lora_explorer.preview.request import PreviewRequest
    from lora_explorer.preview.step_memory.prediction import Prediction
    from lora_explorer.speed import Price, Rows
    from lora_explorer.speed.on_cards import CardTime

DOES_NOT_FIT = "Lower micro_batch_size or sequence_len, or start it with --run-anyway."


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """torch, transformers and bitsandbytes talk while they load, some of them on stdout."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def plan(recipe: Recipe, base_model: BaseModel) -> AdapterPlan:
    """What is trained. Raises AdapterRefused, UnknownBaseModel."""
    with quiet_libraries():
        from lora_explorer.adapters import plan_adapter
        from lora_explorer.base_models.skeleton import load_skeleton

        return plan_adapter(recipe, load_skeleton(base_model))


def new_tokens(
    imported: Imported, base_model: BaseModel, typed: str, *, card: Card | None
) -> tuple[NewTokensAdvice, tuple[Weight | None, ...]]:
    """What the tokens of a file and further ones need, and what each way weighs. Raises what `plan` raises, and
    InvalidSettings for what was typed.
    """
    with quiet_libraries():
        from lora_explorer.adapters import advise_on_new_tokens, new_tokens_of, read_new_tokens
        from lora_explorer.base_models.skeleton import load_skeleton
        from lora_explorer.memory import estimate_memory
        from lora_explorer.memory.new_tokens import weigh_ways

        more, in_file = read_new_tokens(typed), new_tokens_of(read_document(imported.text).values)
        advice = advise_on_new_tokens(imported.recipe, load_skeleton(base_model), in_file, more)
        return advice, tuple(weigh_ways(advice, base_model, estimate_memory, card=card))


def skeleton(base_model: BaseModel) -> Skeleton:
    """The base model on the meta device. Raises UnknownBaseModel."""
    with quiet_libraries():
        from lora_explorer.base_models.skeleton import load_skeleton

        return load_skeleton(base_model)


def written(imported: Imported, tool: str, skeleton: Skeleton | None) -> Exported:
    """The file of a program of TOOLS. Raises ExportRefused."""
    with quiet_libraries():
        return export_recipe(imported.recipe, tool, skeleton, original=imported.text)


def token_problems(imported: Imported, base_model: BaseModel) -> tuple[Finding, ...]:
    """What Axolotl ends with before training because of the file's new tokens."""
    with quiet_libraries():
        from lora_explorer.adapters import find_token_problems, new_tokens_of
        from lora_explorer.base_models.skeleton import load_skeleton

        in_file = new_tokens_of(read_document(imported.text).values)
        return find_token_problems(imported.recipe, load_skeleton(base_model), in_file)


def plan_of_gpus(n_gpus: int, imported: Imported) -> ParallelPlan:
    """How several GPUs share the step, as the file's own keys for it say."""
    with quiet_libraries():
        from lora_explorer.memory.plan.parallel_plan import plan_parallel

        return plan_parallel(n_gpus, read_document(imported.text).values)


def estimate(recipe: Recipe, base_model: BaseModel, **options: Any) -> MemoryEstimate:
    """options: as `estimate_memory` takes them. Raises what it raises."""
    with quiet_libraries():
        from lora_explorer.memory import estimate_memory

        return estimate_memory(recipe, base_model, **options)


def savings(
    recipe: Recipe, base_model: BaseModel, estimate: Estimate, *, card: Card | None, expandable_segments: bool
) -> tuple[Saving, ...]:
    """What single changes would save, largest first. estimate: as it was asked for the recipe itself."""
    from lora_explorer.memory.savings import find_savings, largest_first

    found = find_savings(recipe, base_model, estimate, card=card, expandable_segments=expandable_segments)
    return largest_first(found)


def measured(
    recipe: Recipe, base_model: BaseModel, *, expandable_segments: bool
) -> tuple[records.Record, tuple[Finding, ...]]:
    """The step run for real, under `measured`; or why it could not be, which takes nothing from the estimate."""
    try:
        with quiet_libraries():
            from lora_explorer.memory.measurement import measure_step

            return {"measured": measure_step(recipe, base_model, expandable_segments=expandable_segments).record()}, ()
    except ExplorerError as error:
        return {}, error.findings


def times(
    recipe: Recipe, base_model: BaseModel, *, card: Card | None, rows: Rows | None, price: Price | None
) -> tuple[CardTime, ...]:
    """How long a run takes on the cards that hold it, by what previews here have measured too. Raises SpeedUnknown."""
    with quiet_libraries():
        from lora_explorer.preview.measured_speed import measured_efficiencies
        from lora_explorer.speed.on_cards import time_on_cards

        measured = measured_efficiencies()
        return time_on_cards(recipe, base_model, card=card, rows=rows, price=price, measured=measured)


def pace(recipe: Recipe, base_model: BaseModel, *, card: Card | None) -> Pace | None:
    """Tokens a second on a card; None without one, and where that is not known."""
    with quiet_libraries():
        from lora_explorer.exploration.pace import pace_of

        return pace_of(recipe, base_model, card)


def lower_bound(recipe: Recipe, base_model: BaseModel, reason: str, **options: Any) -> LowerBound:
    """What a run that cannot be traced needs at the very least. options: as `count_lower_bound` takes them.

    Raises MemoryUnknown, AdapterRefused.
    """
    with quiet_libraries():
        from lora_explorer.memory import count_lower_bound

        return count_lower_bound(recipe, base_model, reason, **options)


def prediction(request: PreviewRequest) -> Prediction | str:
    """What a preview will need, or why nobody can tell. Raises PreviewRefused where it cannot run, or does not fit."""
    with quiet_libraries():
        from lora_explorer.preview.plan import plan_preview
        from lora_explorer.preview.step_memory.prediction import predict

        plan = plan_preview(request)
        try:
            found = predict(plan)
        except (MemoryUnknown, AdapterRefused) as error:
            return str(error)
    if not found.fits and not request.run_anyway:
        raise PreviewRefused(f"{found.sentence()} {DOES_NOT_FIT}", setting="micro_batch_size")
    return found
