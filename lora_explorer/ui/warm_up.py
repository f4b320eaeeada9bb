"""Loading behind the page what the first count needs."""

from __future__ import annotations

from lora_explorer.base_models import Access
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.tracer import Tracer


def warm_up(tracer: Tracer) -> None:
    """Have server and worker load torch and answer the start recipe, so that the first visitor does not wait."""
    from lora_explorer.adapters import plan_adapter
    from lora_explorer.base_models.skeleton import load_skeleton

    draft = start_draft()
    recipe = draft.recipe
    base_model = draft.base_model(recipe, Access(hub=False, folders=False))
    plan_adapter(recipe, load_skeleton(base_model))
    tracer.estimate(recipe, base_model, card=draft.held_against())
