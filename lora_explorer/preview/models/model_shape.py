"""How much of a model a device can hold and move: whether all of it fits, and else how many of its layers."""

from __future__ import annotations

import json
from dataclasses import replace

import torch

from lora_explorer.base_models import Access, BaseModel
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton, model_config, with_layers
from lora_explorer.errors import PreviewRefused, UnknownBaseModel
from lora_explorer.memory.measurement.host_memory import available_bytes
from lora_explorer.preview.models.weights import Destination

# Of what is free; the rest is for activations, gradients, optimizer states and the process itself.
_SHARE_FOR_WEIGHTS = {"cpu": 0.6, "cuda": 0.8, "mps": 0.6}
# Bytes a quantized weight takes with its scales, and what a core does, measured with SmolLM2 in float32 on two cores.
_QUANTIZED_BYTES = {4: 0.53, 8: 1.01}
_CORE_PRODUCTS_A_SECOND = 75e9
# Forward and backward without gradients of the weights.
_PRODUCTS_A_PARAMETER = 4
_LONGEST_STEP_SECONDS = 30.0
_LONGEST_SHAPE_STEP_SECONDS = 10.0
_MOST_PUBLIC_PARAMS = 1_000_000_000
# With the embeddings of a large vocabulary one layer alone may come to more than that.
_MOST_PUBLIC_PARAMS_OF_ONE_LAYER = 2_000_000_000


class _Size:
    """Bytes and seconds of a model that keeps some of its layers."""

    def __init__(self, skeleton: Skeleton, destination: Destination) -> None:
        self._skeleton, self._destination = skeleton, destination
        modules = [skeleton.model.get_submodule(path) for path in skeleton.layer_paths]
        self._layers = [sum(weight.numel() for weight in module.parameters()) for module in modules]
        self._outside = skeleton.total_params - sum(self._layers)

    def params(self, layers: int) -> int:
        return self._outside + sum(self._layers[:layers])

    def weight_bytes(self, layers: int) -> int:
        width = getattr(torch, self._destination.dtype).itemsize
        inner = _QUANTIZED_BYTES[self._destination.bits] if self._destination.bits else width
        return int(self._outside * width + sum(self._layers[:layers]) * inner)

    def step_seconds(self, layers: int) -> float:
        """On a CPU; 0 elsewhere."""
        if self._destination.device != "cpu":
            return 0.0
        products = _PRODUCTS_A_PARAMETER * self.params(layers) * self._destination.tokens
        return products / (_CORE_PRODUCTS_A_SECOND * torch.get_num_threads())


def check_size(base_model: BaseModel, destination: Destination, *, patient: bool) -> None:
    """Raise PreviewRefused where the whole model does not fit, or a step would take too long. patient: as it takes."""
    skeleton = load_skeleton(base_model)
    size = _Size(skeleton, destination)
    needed, room = size.weight_bytes(skeleton.num_layers), _room(destination)
    if needed > room:
        raise PreviewRefused(
            f"The weights of {base_model.label} take {needed / 1e9:.1f} GB, and {_place(destination)} has room for "
            f"{room / 1e9:.1f} GB of weights.",
            setting="base_model",
        )
    seconds = size.step_seconds(skeleton.num_layers)
    if seconds > _LONGEST_STEP_SECONDS and not patient:
        raise PreviewRefused(
            f"A step of {base_model.label} would take about {seconds:.0f} seconds on this CPU.", setting="base_model"
        )


def fitting_shape(
    base_model: BaseModel, destination: Destination, access: Access
) -> tuple[BaseModel, int | None, tuple[str, ...]]:
    """The base model with as many of its layers as the device can bear, that number (None for all), and what to say.

    Raises PreviewRefused where not even one layer fits, or is small enough for a public page.
    """
    skeleton = load_skeleton(base_model)
    size = _Size(skeleton, destination)
    bearable = [count for count in range(1, skeleton.num_layers + 1) if _bears(size, count, destination, access)]
    if not bearable and size.weight_bytes(1) > _room(destination):
        raise PreviewRefused(
            f"Not even one layer of {base_model.label} fits: with embeddings it takes "
            f"{size.weight_bytes(1) / 1e9:.1f} GB.",
            setting="base_model",
        )
    if not access.folders and size.params(1) > _MOST_PUBLIC_PARAMS_OF_ONE_LAYER:
        raise PreviewRefused(
            f"Even one layer of {base_model.label} has {size.params(1) / 1e9:.1f} billion parameters with its "
            f"embeddings; on a public page at most {_MOST_PUBLIC_PARAMS_OF_ONE_LAYER / 1e9:g} billion are trained.",
            setting="base_model",
        )
    count = max(bearable, default=1)
    notes = [f"Random weights in the shape of {base_model.label}: memory and speed are real, losses mean nothing."]
    if count == skeleton.num_layers:
        return base_model, None, tuple(notes)
    are = "is" if count == 1 else "are"
    notes.append(f"{count} of its {skeleton.num_layers} layers {are} trained: {_place(destination)} bears no more.")
    return _cut(base_model, count), count, tuple(notes)


def _bears(size: _Size, count: int, destination: Destination, access: Access) -> bool:
    return (
        size.weight_bytes(count) <= _room(destination)
        and size.step_seconds(count) <= _LONGEST_SHAPE_STEP_SECONDS
        and (access.folders or size.params(count) <= _MOST_PUBLIC_PARAMS)
    )


def _cut(base_model: BaseModel, count: int) -> BaseModel:
    try:
        config = with_layers(model_config(base_model), count)
    except UnknownBaseModel as error:
        raise PreviewRefused(str(error), setting="base_model") from error
    facts = json.loads(config.to_json_string(use_diff=False))
    return replace(base_model, config_json=json.dumps(facts, sort_keys=True), total_params=None)


def _room(destination: Destination) -> int:
    available = destination.available_bytes
    if available is None:
        available = torch.cuda.mem_get_info()[0] if destination.device == "cuda" else available_bytes()
    return int(available * _SHARE_FOR_WEIGHTS[destination.device])


def _place(destination: Destination) -> str:
    return "this CPU" if destination.device == "cpu" else "the GPU"
