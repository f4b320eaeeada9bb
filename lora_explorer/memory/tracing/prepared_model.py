"""A model made ready to train on the meta device: quantized, converted, adapted and checkpointed as the run would."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from peft import PeftModel
from torch import Tensor, nn

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.kernels import attention, experts, fused_kernels, losses
from lora_explorer.memory.plan.optimizers import TrainedTensor, trained_tensors
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.tracing.layers import Stack, configs_of, container_path, shallow_copy
from lora_explorer.memory.tracing.quantization import quantization_tensors, quantize
from lora_explorer.memory.watching.trace import Category, Resident

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lora_explorer.base_models.skeleton import Skeleton

# Axolotl's names of embeddings and output head (axolotl/loaders/utils.py).
_EMBEDDINGS = {"gpt_neox": ("embed_in", "lm_head"), "falcon": ("word_embeddings", "lm_head")}
_USUAL_EMBEDDINGS = ("embed_tokens", "lm_head")
_IMPLEMENTATIONS = {
    "varlen": attention.VARLEN,
    "repeated": attention.REPEATED,
    "blockwise": attention.BLOCKWISE,
    "sdpa": "sdpa",
    "eager": "eager",
}
# What a model class of transformers says of itself; a name of our own is not held against it by transformers.
_SUPPORTED = {"varlen": "_supports_flash_attn", "blockwise": "_supports_flex_attn"}


class Adapter(Protocol):
    """What is trained. Hashable, so that it can be part of a cache key."""

    def inject(self, model: PreTrainedModel) -> nn.Module:
        """Put the adapter into the model and freeze the rest. Raises AdapterRefused."""

    def layer_kinds(self, skeleton: Skeleton) -> Sequence[Hashable]:
        """For every layer something equal where the adapter treats layers alike."""


class Everything:
    """Full fine-tuning: every parameter is trained."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Everything)

    def __hash__(self) -> int:
        return hash(Everything)

    def inject(self, model: PreTrainedModel) -> nn.Module:
        model.requires_grad_(True)
        return model

    def layer_kinds(self, skeleton: Skeleton) -> Sequence[Hashable]:
        return [0] * skeleton.num_layers


def prepare(skeleton: Skeleton, stack: Stack, step: Step, adapter: Adapter) -> nn.Module:
    """The model as the training loop gets it, with only the kept layers. Raises MemoryUnknown and AdapterRefused."""
    model: Any = shallow_copy(skeleton, stack)
    dtype = getattr(torch, step.dtype)
    _convert(model.parameters(), torch.bfloat16, dtype)
    _choose_implementations(model, step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if step.quantization is not None:
            quantize(model, step.quantization, dtype)
        convert_for_training(model, step, dtype)
        enable_checkpointing(model, step)
        adapted = adapter.inject(model)
        if step.inputs_require_grads:
            model.enable_input_require_grads()
    fused_kernels.install(model, step.fused_lora, list(kept_layers(model, skeleton, stack).values()))
    losses.install(model, step.loss, step.loss_chunks)
    return adapted.train()


def kept_layers(model: nn.Module, skeleton: Skeleton, stack: Stack) -> dict[int, nn.Module]:
    """The layers that a prepared model has, by number."""
    container = base_of(model).get_submodule(container_path(skeleton))
    return {number: container.get_submodule(str(number)) for number in stack.kept}


def residents(model: nn.Module, stack_path: str, step: Step) -> list[Resident]:
    """Storages of a prepared model in module order, tied ones once."""
    found: list[Resident] = []
    seen: set[int] = set()
    loaded = getattr(torch, step.dtype).itemsize
    on_host = tuple(getattr(base_of(model), "_no_placement_params", None) or ()) if step.tables_on_host else ()
    for path, tensor, category in _held(model):
        storage = tensor.untyped_storage()
        if storage._cdata not in seen and storage.nbytes() and not path.endswith(on_host):
            seen.add(storage._cdata)
            params = _loaded_params(tensor) if category == "base weights" else 0
            quantized = hasattr(tensor, "quant_state") or hasattr(tensor, "SCB")
            layer = layer_of(path, stack_path)
            found.append(Resident(storage.nbytes(), category, layer, path, params * loaded, quantized))
    return found


def _loaded_params(tensor: Tensor) -> int:
    """Values of the checkpoint's tensor; buffers are computed, not loaded."""
    state = getattr(tensor, "quant_state", None)
    if state is not None:
        return int(state.shape.numel())
    return tensor.numel() if isinstance(tensor, nn.Parameter) else 0


def trained(model: nn.Module, stack_path: str, step: Step) -> Iterator[tuple[int | None, TrainedTensor]]:
    """The trained tensors of a prepared model, each with its layer."""
    named = [(path, parameter) for path, parameter in model.named_parameters() if parameter.requires_grad]
    embeddings = () if step.loraplus else (m for m in model.modules() if isinstance(m, nn.Embedding))
    tables = [embedding.weight for embedding in embeddings]
    for (path, _), tensor in zip(named, trained_tensors(named, tables), strict=True):
        yield layer_of(path, stack_path), tensor


def base_of(model: nn.Module) -> Any:
    """The transformers model inside PEFT's, or the model itself."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def held_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Every tensor that a prepared model holds."""
    return (tensor for _, tensor, _ in _held(model))


def layer_of(path: str, stack_path: str) -> int | None:
    """The number of the layer that a path lies in; PEFT puts its own prefix before the path."""
    _, found, rest = path.partition(f"{stack_path}.")
    number = rest.partition(".")[0]
    return int(number) if found and number.isdigit() else None


def _held(model: nn.Module) -> Iterator[tuple[str, Tensor, Category]]:
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield f"{path}.{name}", parameter, _category(path, parameter)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                yield f"{path}.{name}", buffer, "base weights"
        for tensor in quantization_tensors(module):
            yield path, tensor, "quantization state"


def _category(path: str, parameter: nn.Parameter) -> Category:
    if "modules_to_save." in path:
        return "saved copies"
    if "lora_" in path or "trainable_tokens_" in path:
        return "adapter"
    return "base weights"


def _convert(parameters: Iterator[nn.Parameter], only: torch.dtype, dtype: torch.dtype) -> None:
    if only is dtype:
        return
    for parameter in parameters:
        if parameter.dtype is only:
            parameter.data = parameter.data.to(dtype)


def _choose_implementations(model: PreTrainedModel, step: Step) -> None:
    attention.register()
    chosen = step.attention or ("sdpa" if model._supports_sdpa else "eager")
    try:
        if not getattr(model, _SUPPORTED.get(chosen, ""), True):
            raise ValueError(chosen)
        packed = chosen == "sdpa" and packs_by_length(model.config, step)
        model.set_attn_implementation(attention.PACKED if packed else _IMPLEMENTATIONS[chosen])
    except ValueError as error:
        raise MemoryUnknown(
            f"transformers has no {chosen} attention for {model.config.model_type} models.",
            setting="attn_implementation",
            suggestion="eager",
        ) from error
    if model._can_set_experts_implementation():
        model.set_experts_implementation(experts.IMPLEMENTATION)
    for config in configs_of(model):
        config.use_cache = False


def packs_by_length(config: Any, step: Step) -> bool:
    """Whether attention is told where packed documents begin, so that no mask keeps them apart."""
    packed = step.attention == "sdpa" and step.keeps_documents_apart and step.dtype != "float32"
    return packed and attention.knows_lengths(config)


def convert_for_training(model: PreTrainedModel, step: Step, dtype: torch.dtype) -> None:
    """Change the types of a loaded model as the training loop does before it adds the adapter."""
    # The order is Axolotl's (axolotl/loaders/model.py): to float32, k-bit preparation, back to the training dtype.
    if step.conversions == "axolotl":
        _convert_modules(model, torch.float32, norms=True, gates=True)
    if step.kbit_preparation:
        from peft import prepare_model_for_kbit_training

        prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        if step.conversions == "trl":
            _convert_modules(model, dtype, norms=False)
    if step.conversions == "axolotl" and step.norms_in_dtype:
        _convert_modules(model, dtype, norms=True)


def _convert_modules(model: PreTrainedModel, dtype: torch.dtype, *, norms: bool, gates: bool = False) -> None:
    """Change the type of embeddings and output head, and of norms and gates if asked."""
    embeddings = _EMBEDDINGS.get(model.config.model_type, _USUAL_EMBEDDINGS)
    for path, module in model.named_modules():
        is_embedding = any(name in path for name in embeddings) and hasattr(module, "weight")
        if (norms and "norm" in path) or is_embedding or (gates and path.endswith(".gate")):
            module.to(dtype)


def enable_checkpointing(model: PreTrainedModel, step: Step) -> None:
    """Gradient checkpointing as the step has it. Raises MemoryUnknown where the model cannot."""
    if step.checkpointing is None:
        return
    if not model.supports_gradient_checkpointing:
        raise MemoryUnknown(
            f"transformers has no gradient checkpointing for {model.config.model_type} models.",
            setting="gradient_checkpointing",
            suggestion="false",
        )
    enable: Callable[..., None] = model.gradient_checkpointing_enable
    enable({"use_reentrant": step.checkpointing == "reentrant"})


@contextmanager
def recomputation_watched(model: nn.Module, scope: Callable[[], Any]) -> Iterator[None]:
    """While it is open, every checkpointed computation runs inside `scope`."""
    name = "_gradient_checkpointing_func"
    wrapped = [(module, vars(module)[name]) for module in model.modules() if name in vars(module)]

    def watched(original: Callable[..., Any], function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def scoped(*inner: Any, **options: Any) -> Any:
            with scope():
                return function(*inner, **options)

        return original(scoped, *args, **kwargs)

    for module, original in wrapped:
        setattr(module, name, partial(watched, original))
    try:
        yield
    finally:
        for module, original in wrapped:
            setattr(module, name, original)
