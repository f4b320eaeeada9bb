"""Loading behind the page what the first count needs."""

from __future__ import annotations

from lora_explorer.base_models import Access
from lora_explorer.preview.request import PreviewRequest
from lora_explorer.ui.page import start_draft
from lora_explorer.ui.preview_preparation import prepare
from lora_explorer.ui.tracer import Memory


def warm_up(tracer: Memory, preparer: Memory) -> None:
    """Have server and workers load torch and answer the start recipe, so that the first visitor does not wait."""
    from lora_explorer.adapters import plan_adapter
    from lora_explorer.base_models.skeleton import load_skeleton

    draft = start_draft()
    recipe, access = draft.recipe, Access(hub=False, folders=False)
    base_model = draft.base_model(recipe, access)
    plan_adapter(recipe, load_skeleton(base_model))
    tracer.estimate(recipe, base_model, card=draft.held_against(), expandable_segments=draft.expandable_segments)
    preparer.ask(prepare, PreviewRequest(recipe, base_model, weights="shape", access=access))
