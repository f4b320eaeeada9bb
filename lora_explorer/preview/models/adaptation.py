"""The adapter put into a loaded model: PEFT's own, from the configuration that is counted, or one that is continued."""

from __future__ import annotations

from collections.abc import Callable

from peft import LoraConfig, PeftModel
from torch import nn
from transformers import PreTrainedModel

from lora_explorer.adapters import adapter_dtype, inject_adapter, lora_config
from lora_explorer.errors import PreviewRefused
from lora_explorer.memory.plan.step import Step
from lora_explorer.preview.models import hub_files
from lora_explorer.preview.models.adapter_start import AdapterStart
from lora_explorer.settings import Recipe


def adapt(model: PreTrainedModel, start: AdapterStart, step: Step) -> PeftModel | PreTrainedModel:
    """Adapt a loaded model in place and set it to train; without an adapter every parameter is trained.

    Raises PreviewRefused for an adapter to continue that does not fit; PEFT's own errors come through as they are.
    """
    if not start.recipe.adapter:
        model.requires_grad_(True)
        return model.train()
    adapted = _continued(model, start) if start.is_continued else _new(model, start.recipe)
    _take_dtype(adapted, start.recipe)
    if step.inputs_require_grads:
        enable: Callable[[], None] = model.enable_input_require_grads
        enable()
    return adapted.train()


def _new(model: PreTrainedModel, recipe: Recipe) -> PeftModel:
    return inject_adapter(recipe, model, _with_loftq(recipe, lora_config(recipe, model)))


def _with_loftq(recipe: Recipe, config: LoraConfig) -> LoraConfig:
    # Set afterwards: only PEFT's check of the constructor's arguments wants SciPy, its LoftQ does not.
    if recipe.loftq_bits is not None and recipe.peft_init_lora_weights in (None, "loftq"):
        config.init_lora_weights = "loftq"
        config.loftq_config = {"loftq_bits": recipe.loftq_bits, "loftq_iter": 1}
    return config


def _continued(model: PreTrainedModel, start: AdapterStart) -> PeftModel:
    folder = start.folder
    if folder is None:
        folder = hub_files.download_adapter(str(start.hub_id), with_weights=True)
    if not (folder / hub_files.ADAPTER_WEIGHTS).is_file():
        raise PreviewRefused(f"The adapter has no {hub_files.ADAPTER_WEIGHTS}.", setting="lora_model_dir")
    try:
        return PeftModel.from_pretrained(
            model, folder, is_trainable=True, autocast_adapter_dtype=start.recipe.peft_autocast_adapter_dtype
        )
    except (RuntimeError, ValueError) as error:
        if "size mismatch" not in str(error) and "not found in the base model" not in str(error):
            raise
        raise PreviewRefused(
            "The adapter to continue from was trained on another base model: its shapes do not fit this one.",
            setting="lora_model_dir",
        ) from error


def _take_dtype(model: nn.Module, recipe: Recipe) -> None:
    """Float32 for A and B where gradients are asked for in it, as Axolotl does after PEFT has built them."""
    if not recipe.lora_fp32_gradients:
        return
    for path, parameter in model.named_parameters():
        if parameter.requires_grad and ("lora_" in path or "trainable_tokens_delta" in path):
            parameter.data = parameter.data.to(adapter_dtype(recipe))
