"""Hours and price of a whole run."""

from __future__ import annotations

from lora_explorer.base_models import BaseModel
from lora_explorer.memory import Card
from lora_explorer.settings import Recipe
from lora_explorer.speed.estimate import estimate_speed
from lora_explorer.speed.measured_efficiency import MeasuredEfficiency
from lora_explorer.speed.prices import Price
from lora_explorer.speed.result import RunEstimate
from lora_explorer.speed.run_length import Rows, run_length

_SECONDS_PER_HOUR = 3600


def estimate_run(
    recipe: Recipe,
    base_model: BaseModel,
    *,
    card: Card,
    rows: Rows | None,
    price: Price | None = None,
    measured: MeasuredEfficiency | None = None,
) -> RunEstimate:
    """Steps of the recipe over these rows, each as long as a step on this card.

    rows: None for a run that `max_steps` ends. price: None leaves the dollars out. measured: as of `estimate_speed`.
    Raises what `estimate_speed` raises, and ExplorerError for rows that nothing can be trained on.
    """
    length = run_length(recipe, rows)
    # Rows of a step that are no longer than this; it is no longer than the setting, so it is as valid.
    seen = recipe.model_copy(update={"sequence_len": length.row_tokens})
    speed = estimate_speed(seen, base_model, card=card, document_tokens=length.document_tokens, measured=measured)
    seconds = speed.step_seconds.times(length.steps)
    return RunEstimate(
        gpu=card.name,
        steps=length.steps,
        steps_per_epoch=length.steps_per_epoch,
        effective_batch_size=recipe.effective_batch_size,
        trained_tokens=length.steps * speed.tokens_per_step,
        seconds=seconds,
        dollars=seconds.times(price.usd_per_hour / _SECONDS_PER_HOUR) if price else None,
        price=price,
        capped=length.capped,
        speed=speed,
        assumptions=(*length.assumptions, *speed.assumptions),
    )
