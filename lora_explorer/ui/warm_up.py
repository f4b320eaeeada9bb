"""Loading behind the page what the first count needs."""

from __future__ import annotations

from lora_explorer.base_models import Access
from lora_explorer.ui.page import start_draft


def warm_up() -> None:
    """Import torch, transformers and PEFT, and plan the start recipe, so that the first visitor does not wait."""
    from lora_explorer.adapters import plan_adapter
    from lora_explorer.base_models.skeleton import load_skeleton

    draft = start_draft()
    recipe = draft.recipe
    plan_adapter(recipe, load_skeleton(draft.base_model(recipe, Access(hub=False, folders=False))))
