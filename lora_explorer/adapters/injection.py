"""The reference: PEFT's whole injection into a whole model. The live count is held to this."""

from __future__ import annotations

import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers.modeling_utils import PreTrainedModel

from lora_explorer.adapters.config import lora_config
from lora_explorer.settings import Recipe


def inject_adapter(recipe: Recipe, model: PreTrainedModel, config: LoraConfig | None = None) -> PeftModel:
    """Adapt a model in place and return PEFT's model around it. PEFT's own errors come through as they are.

    config: in place of the recipe's own, for a start that needs weights.

    On meta the start of A and B is left at PEFT's standard one: no start changes a shape, some need real weights.
    """
    config = config or lora_config(recipe, model)
    device = next(model.parameters()).device
    if device.type == "meta":
        config.init_lora_weights = True
    with torch.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(model, config, autocast_adapter_dtype=recipe.peft_autocast_adapter_dtype)
