"""Python that loads a base model as the recipe does and puts PEFT's adapter on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lora_explorer.exports import quantized_base
from lora_explorer.exports.exported import Exported, as_comments
from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.peft.adapter_config import left_out
from lora_explorer.exports.peft.words import PEFT
from lora_explorer.exports.python_file import Code, call, is_argument, literal
from lora_explorer.exports.target_names import with_names
from lora_explorer.exports.trainer_arguments import ATTENTIONS, base_dtype
from lora_explorer.exports.vocabulary import otherwise, plain, say
from lora_explorer.findings import Finding
from lora_explorer.settings import Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

# What the code below says besides the adapter's own settings.
_SAID = frozenset({"load_in_4bit", "load_in_8bit", "bnb_config_kwargs", "attn_implementation", "bf16", "fp16", "gptq"})
_MODEL = "base_model"
_CAST = "autocast_adapter_dtype"


def export_peft_python(recipe: Recipe, skeleton: Skeleton | None = None) -> Exported:
    """Without an adapter every parameter stays trainable."""
    filled = filled_in(recipe)
    entries, unsaid = say(PEFT, with_names(filled, skeleton)) if recipe.adapter else ({}, ())
    unsaid = (*unsaid, *_of_the_base(filled), *_beyond_the_snippet(recipe))
    cast = {_CAST: entries.pop(_CAST)} if _CAST in entries else {}
    loader = _loader(skeleton)
    parts = [
        as_comments(unsaid) + "\n".join(_imports(filled, loader)),
        "\n".join(_loading(filled, loader)),
        "\n".join(_adapting(entries, cast) if recipe.adapter else ()),
    ]
    return Exported("\n\n".join(part for part in parts if part) + "\n", unsaid)


def _imports(recipe: Recipe, loader: str) -> Iterator[str]:
    quantized = recipe.load_in_4bit or recipe.load_in_8bit
    yield "import torch"
    if recipe.adapter:
        preparation = ", prepare_model_for_kbit_training" if quantized else ""
        yield f"from peft import LoraConfig, get_peft_model{preparation}"
    configuration = ", BitsAndBytesConfig" if quantized else ""
    yield f"from transformers import {loader}{configuration}"


def _loading(recipe: Recipe, loader: str) -> Iterator[str]:
    arguments: dict[str, Any] = {"dtype": Code(f"torch.{base_dtype(recipe)}")}
    if recipe.attn_implementation and _is_known(recipe.attn_implementation):
        arguments["attn_implementation"] = recipe.attn_implementation
    if recipe.load_in_4bit or recipe.load_in_8bit:
        yield "quantization = " + call("BitsAndBytesConfig", _quantization(recipe))
        arguments["quantization_config"] = Code("quantization")
    name = call(f"{loader}.from_pretrained", arguments, literal(recipe.base_model or "owner/name"))
    yield f"{_MODEL} = {name}"
    if recipe.adapter and "quantization_config" in arguments:
        preparation = {"use_gradient_checkpointing": bool(recipe.gradient_checkpointing)}
        yield f"{_MODEL} = " + call("prepare_model_for_kbit_training", preparation, _MODEL)
    elif recipe.gradient_checkpointing:
        yield f"{_MODEL}.gradient_checkpointing_enable()"
        yield f"{_MODEL}.enable_input_require_grads()"


def _loader(skeleton: Skeleton | None) -> str:
    if skeleton is None:
        return "AutoModelForCausalLM"
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    name = type(skeleton.model).__name__
    return "AutoModelForCausalLM" if name in CAUSAL.values() else "AutoModelForImageTextToText"


def _quantization(recipe: Recipe) -> dict[str, Any]:
    if not recipe.load_in_4bit:
        return {"load_in_8bit": True}
    options = {name: plain(value) for name, value in quantized_base.options(recipe).items() if is_argument(name)}
    return {"load_in_4bit": True, "bnb_4bit_compute_dtype": Code(f"torch.{base_dtype(recipe)}"), **options}


def _adapting(entries: dict[str, Any], cast: dict[str, Any]) -> Iterator[str]:
    yield "adapter = " + call("LoraConfig", {**entries, "bias": "none", "task_type": "CAUSAL_LM"})
    leading = (_MODEL, "adapter")
    yield "model = " + (call("get_peft_model", cast, *leading) if cast else f"get_peft_model({', '.join(leading)})")
    yield "model.print_trainable_parameters()"


def _is_known(attention: str) -> bool:
    return attention in ATTENTIONS or "/" in attention


def _of_the_base(recipe: Recipe) -> Iterator[Finding]:
    if recipe.attn_implementation and not _is_known(recipe.attn_implementation):
        message = f"transformers has no attention kernel {recipe.attn_implementation} and picks one."
        yield otherwise("attn_implementation", message, "note")
    odd = [name for name in recipe.bnb_config_kwargs if not is_argument(name)]
    if recipe.load_in_4bit and odd:
        yield otherwise("bnb_config_kwargs", f"{str(odd[0])[:60]!r} is no option of BitsAndBytesConfig.")


def _beyond_the_snippet(recipe: Recipe) -> tuple[Finding, ...]:
    """What is about the training itself; checkpointing is on or off here, and never moves what it keeps."""
    checkpointing = bool(recipe.activation_offloading)
    return left_out(recipe.changed(**dict.fromkeys(_SAID), gradient_checkpointing=checkpointing))
