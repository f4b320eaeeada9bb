"""A base model on its device, ready for an adapter: its own weights or random ones, quantized where asked.

Only the worker loads this module.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lora_explorer.base_models import BaseModel, base_model_from_config
from lora_explorer.base_models.skeleton import load_skeleton, model_config
from lora_explorer.errors import PreviewRefused
from lora_explorer.memory.measurement.real_step import bitsandbytes_config, random_weights
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.tracing.layers import configs_of
from lora_explorer.memory.tracing.prepared_model import convert_for_training, enable_checkpointing
from lora_explorer.preview.models import hub_files
from lora_explorer.preview.models.bundled_model import bundled_folder
from lora_explorer.preview.models.stand_in_tokenizer import stand_in_tokenizer
from lora_explorer.preview.models.weights import Device, Telling, WeightSource


def load_tokenizer(source: WeightSource, *, tell: Telling = lambda message: None) -> PreTrainedTokenizerBase:
    """The tokenizer of the weights, with a padding token; for a shape preview without one, a stand-in.

    Raises PreviewRefused.
    """
    folder = _tokenizer_folder(source, tell)
    if folder is None:
        stand_in: PreTrainedTokenizerBase = stand_in_tokenizer(
            model_config(source.base_model).get_text_config().vocab_size, tell
        )
        return stand_in
    tokenizer = _read_tokenizer(folder)
    if tokenizer.pad_token is None:
        # Padding is masked and never trained on, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def load_model(
    source: WeightSource, step: Step, device: Device, *, tell: Telling = lambda message: None
) -> PreTrainedModel:
    """The model as the training loop gets it before the adapter: loaded or random, quantized, converted, checkpointed.

    step: the one that is predicted; its dtype, attention, quantization, conversions and checkpointing are read.
    Raises PreviewRefused where the weights cannot be had or read.
    """
    folder = None if source.kind == "shape" else weights_folder(source, tell)
    tell("Loading the base model" if folder else "Drawing random weights")
    model = _random(source.base_model, step, device) if folder is None else _read(folder, step, device)
    for config in configs_of(model):
        config.use_cache = False
    convert_for_training(model, step, getattr(torch, step.dtype))
    enable_checkpointing(model, step)
    return model


def weights_folder(source: WeightSource, tell: Telling = lambda message: None) -> Path:
    """The folder with all files of weights that are not random; downloads or converts them where it has to."""
    if source.folder is not None:
        return source.folder
    if source.hub_id is None:
        return bundled_folder(tell)
    tell(f"Downloading {source.hub_id}")
    return hub_files.download_weights(source.hub_id)


def _tokenizer_folder(source: WeightSource, tell: Telling) -> Path | None:
    if source.kind != "shape":
        folder = weights_folder(source, tell)
        if hub_files.has_tokenizer(folder):
            return folder
        if source.base_model.origin == "folder":
            raise PreviewRefused(f"The folder {source.base_model.name[:60]} has no tokenizer.", setting="base_model")
        return hub_files.download_tokenizer(source.base_model.name)
    return source.folder or (hub_files.download_tokenizer(source.hub_id) if source.hub_id else None)


def _read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        read: Callable[..., PreTrainedTokenizerBase] = AutoTokenizer.from_pretrained
        return read(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise PreviewRefused(f"The tokenizer cannot be read: {_first_line(error)}", setting="base_model") from error


def _read(folder: Path, step: Step, device: Device) -> PreTrainedModel:
    base_model = base_model_from_config((folder / "config.json").read_text(encoding="utf-8"))
    load = _loader(base_model)
    try:
        model, found = load(
            folder,
            config=model_config(base_model),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **_options(base_model, step, device),
        )
    except (SafetensorError, ValueError) as error:
        raise PreviewRefused(f"The weights cannot be read: {_first_line(error)}", setting="base_model") from error
    _check_all_found(found)
    loaded: PreTrainedModel = model
    return loaded


def _check_all_found(found: dict[str, Any]) -> None:
    """Raise PreviewRefused where transformers had to make weights up."""
    missing = sorted((*found["missing_keys"], *(each[0] for each in found["mismatched_keys"])))
    if missing:
        raise PreviewRefused(
            f"The weights do not fit the config.json: {missing[0]} is missing or of another shape.",
            setting="base_model",
        )


def _random(base_model: BaseModel, step: Step, device: Device) -> PreTrainedModel:
    # On a GPU each weight becomes a tensor of its own as it is moved there, so the host need not hold them all.
    weights = random_weights(load_skeleton(base_model), getattr(torch, step.dtype), whole=device == "cpu")
    options = _options(base_model, step, device)
    model: PreTrainedModel = _loader(base_model)(None, config=model_config(base_model), state_dict=weights, **options)
    return model


def _loader(base_model: BaseModel) -> Callable[..., Any]:
    """from_pretrained of transformers' own class; code that comes with a checkpoint is never run."""
    load: Callable[..., Any] = type(load_skeleton(base_model).model).from_pretrained
    return load


def _options(base_model: BaseModel, step: Step, device: Device) -> dict[str, Any]:
    supports_sdpa = load_skeleton(base_model).model._supports_sdpa
    return {
        "dtype": getattr(torch, step.dtype),
        "device_map": {"": 0 if device == "cuda" else device},
        "attn_implementation": step.attention or ("sdpa" if supports_sdpa else "eager"),
        "quantization_config": bitsandbytes_config(step),
    }


def _first_line(error: BaseException) -> str:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if line.endswith(".") else f"{line}."
