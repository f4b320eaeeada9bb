"""The reference: PEFT's whole injection into a whole model. The live count is held to this."""

from __future__ import annotations

import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.modeling_utils import PreTrainedModel

from lora_explorer.adapters.config import adapter_dtype, lora_config
from lora_explorer.settings import Recipe


def inject_adapter(recipe: Recipe, model: PreTrainedModel, config: LoraConfig | None = None) -> PeftModel:
    """Adapt a model in place and return PEFT's model around it. PEFT's own errors come through as they are.

    config: in place of the recipe's own, for a start that needs weights.

    On meta the start of A and B is left at PEFT's standard one: no start changes a shape, some need real weights. MiCA
    stays, which freezes B and skips its weights there.
    """
    config = config or lora_config(recipe, model)
    device = next(model.parameters()).device
    if device.type == "meta" and str(config.init_lora_weights).lower() != "mica":
        config.init_lora_weights = True
    with torch.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(model, config, autocast_adapter_dtype=recipe.peft_autocast_adapter_dtype)
    if device.type == "meta" and adapter_dtype(recipe) is not torch.float32:
        _take_types_of_base_layers(adapted)
    return adapted


def _take_types_of_base_layers(adapted: PeftModel) -> None:
    """PEFT gives an adapter its layer's type while it moves it to the layer's device; on meta it leaves out both."""
    for layer in adapted.modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        if isinstance(layer, ParamWrapper):
            dtype = layer.get_param().dtype
        else:
            _, dtype = layer._get_base_layer_device_and_dtype(layer.get_base_layer())
        # Weights that are packed in whole numbers have a type that nothing is trained in.
        if dtype is not None and dtype.is_floating_point:
            for name in layer.adapter_layer_names:
                part = getattr(layer, name, None)
                if isinstance(part, (nn.ModuleDict, nn.ParameterDict)):
                    part.to(dtype=dtype)
