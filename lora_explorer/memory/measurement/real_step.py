"""A step run for real: a model with weights, adapted by PEFT and trained for two steps while a meter reads memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from lora_explorer.base_models import BaseModel
from lora_explorer.base_models.skeleton import Skeleton, load_skeleton, model_config
from lora_explorer.memory.cards import Card, card_like
from lora_explorer.memory.kernels.losses import install
from lora_explorer.memory.measurement.figures import Figures
from lora_explorer.memory.measurement.live_bytes import LiveBytes
from lora_explorer.memory.plan.run_plan import step_from
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.runs.traced_run import RecipeAdapter
from lora_explorer.memory.tracing.prepared_model import (
    Adapter,
    Everything,
    convert_for_training,
    enable_checkpointing,
    held_tensors,
)
from lora_explorer.memory.watching.trace import Phase
from lora_explorer.memory.watching.watch import StorageWatch
from lora_explorer.settings import Recipe

Device = Literal["cpu", "cuda"]
OPTIMIZER_STEPS = 2
# Weights above it are one row repeated, so that the host need not hold a second model for a GPU's sake.
LARGEST_RANDOM_PARAMS = 1 << 24
_BLOCK_PARAMS = 1 << 20
_SPREAD = 0.02
_PHASE_WORDS: dict[Phase, str] = {
    "load": "while the model was loaded",
    "forward": "in the forward pass",
    "backward": "in the backward pass",
    "optimizer": "in the optimizer step",
}
_WITHOUT_MEANING = "The weights had the right shapes and no meaning, which no byte depends on."


@dataclass(frozen=True)
class Job:
    """What to run, and where."""

    recipe: Recipe
    base_model: BaseModel
    device: Device


class Meter(Protocol):
    """Reads memory while a step runs. phase: the one that is under way, loading at first."""

    phase: Phase

    def loaded(self, model: nn.Module) -> None:
        """The model is ready to train."""

    def enter(self, phase: Phase) -> None:
        """A phase begins, and the one before it ends."""

    def figures(self) -> Figures:
        """What was read, when all phases are over."""


class CudaMeter:
    """PyTorch's own peaks, the counter reset before each phase."""

    def __init__(self) -> None:
        self.phase: Phase = "load"
        self._peaks: dict[Phase, int] = {}
        self._reserved_bytes = 0
        self._loaded_bytes = 0

    def loaded(self, model: nn.Module) -> None:
        self._loaded_bytes = torch.cuda.memory_allocated()

    def enter(self, phase: Phase) -> None:
        torch.cuda.synchronize()
        self._peaks[self.phase] = max(self._peaks.get(self.phase, 0), torch.cuda.max_memory_allocated())
        self._reserved_bytes = max(self._reserved_bytes, torch.cuda.max_memory_reserved())
        torch.cuda.reset_peak_memory_stats()
        self.phase = phase

    def figures(self) -> Figures:
        self.enter("load")
        free, total = torch.cuda.mem_get_info()
        # What the device misses beyond this process's segments; other processes' memory would count as well.
        context = total - free - torch.cuda.memory_reserved()
        return Figures(
            allocated_after_load_bytes=self._loaded_bytes,
            peak_forward_bytes=self._peaks["forward"],
            peak_backward_bytes=self._peaks["backward"],
            peak_optimizer_bytes=self._peaks["optimizer"],
            peak_allocated_bytes=max(self._peaks.values()),
            peak_reserved_bytes=self._reserved_bytes,
            process_bytes=self._reserved_bytes + context,
        )


class HostMeter:
    """The watch of the trace on real tensors."""

    def __init__(self) -> None:
        self.phase: Phase = "load"
        self.watch = StorageWatch("cpu", inner_temporaries={})
        self._held_bytes = 0

    def loaded(self, model: nn.Module) -> None:
        storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage() for tensor in held_tensors(model)}
        self._held_bytes = sum(storage.nbytes() for storage in storages.values())
        self.watch.ignore(held_tensors(model))

    def enter(self, phase: Phase) -> None:
        self.phase = self.watch.phase = phase
        self.watch.mark("embedding")

    def figures(self) -> Figures:
        live = LiveBytes(self._held_bytes)
        live.follow(self.watch.trace())
        return live.figures()


def host_step(recipe: Recipe) -> Step:
    """The step of a configuration with a CPU's own operators."""
    return replace(step_from(recipe, None), kernels="host")


def run(job: Job) -> dict[str, Any]:
    """Load, train for two steps, and say what was read.

    Returns `figures`, `card` (the GPU as a Card, None on a CPU) and `notes`; or `failed` with a sentence.
    """
    folder = _folder_with_weights(job.base_model)
    card = _card_of_device() if job.device == "cuda" else None
    step = step_from(job.recipe, card) if card else host_step(job.recipe)
    meter: Meter = CudaMeter() if card else HostMeter()
    try:
        model = _trainable(_loaded(job, step, folder), job.recipe, step)
        meter.loaded(model)
        with meter.watch if isinstance(meter, HostMeter) else nullcontext():
            _train(model, step, job.device, meter)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        where = card.name if card else "the host"
        return {"failed": f"The step did not fit: the memory of {where} ran out {_PHASE_WORDS[meter.phase]}."}
    return {"figures": meter.figures(), "card": card, "notes": () if folder else (_WITHOUT_MEANING,)}


def _card_of_device() -> Card:
    found = torch.cuda.get_device_properties(0)
    return card_like(found.name, int(found.total_memory), (found.major, found.minor))


def _loaded(job: Job, step: Step, folder: Path | None) -> Any:
    """The base model on the device as transformers loads it, quantized on the way."""
    skeleton = load_skeleton(job.base_model)
    options: dict[str, Any] = {
        "dtype": getattr(torch, step.dtype),
        "device_map": {"": 0 if job.device == "cuda" else "cpu"},
        "attn_implementation": step.attention or ("sdpa" if skeleton.model._supports_sdpa else "eager"),
        "quantization_config": bitsandbytes_config(step),
    }
    load: Callable[..., Any] = type(skeleton.model).from_pretrained
    if folder is not None:
        return load(folder, local_files_only=True, **options)
    config = model_config(job.base_model)
    weights = random_weights(skeleton, getattr(torch, step.dtype), whole=job.device == "cpu")
    return load(None, config=config, state_dict=weights, **options)


def random_weights(skeleton: Skeleton, dtype: torch.dtype, *, whole: bool) -> dict[str, Tensor]:
    """Values for every weight, the same each time. whole: as many bytes as it has; else a large one is one row."""
    torch.manual_seed(0)
    block = (torch.randn(_BLOCK_PARAMS, dtype=torch.float32) * _SPREAD).to(dtype)
    return {name: _filled(tuple(weight.shape), block, whole=whole) for name, weight in _weights(skeleton)}


def _filled(shape: tuple[int, ...], block: Tensor, *, whole: bool) -> Tensor:
    """A weight of a block's values again and again, which takes a tenth of the time that drawing them does."""
    if not whole and prod(shape) > LARGEST_RANDOM_PARAMS and shape[-1] <= _BLOCK_PARAMS:
        return block[: shape[-1]].expand(shape)
    weight = torch.empty(shape, dtype=block.dtype)
    for part in torch.split(weight.view(-1), _BLOCK_PARAMS):
        part.copy_(block[: part.numel()])
    return weight


def _weights(skeleton: Skeleton) -> Iterator[tuple[str, Tensor]]:
    """What a checkpoint holds, tied weights once: given twice with different values they would no longer be tied."""
    parameters = dict(skeleton.model.named_parameters())
    tied = {name for name, _ in skeleton.model.named_parameters(remove_duplicate=False)} - parameters.keys()
    yield from parameters.items()
    for name, value in skeleton.model.state_dict().items():
        if name not in parameters and name not in tied:
            yield name, value


def bitsandbytes_config(step: Step) -> Any:
    if step.quantization is None:
        return None
    from transformers import BitsAndBytesConfig

    configured: Callable[..., Any] = BitsAndBytesConfig
    eight_bit = step.quantization.kind == "int8"
    return configured(
        load_in_8bit=eight_bit,
        load_in_4bit=not eight_bit,
        bnb_4bit_quant_type="nf4" if eight_bit else step.quantization.kind,
        bnb_4bit_use_double_quant=step.quantization.double_quant,
        bnb_4bit_compute_dtype=getattr(torch, step.dtype),
    )


def _trainable(model: Any, recipe: Recipe, step: Step) -> nn.Module:
    for config in (model.config, model.config.get_text_config()):
        config.use_cache = False
    adapter: Adapter = RecipeAdapter(recipe) if recipe.adapter else Everything()
    convert_for_training(model, step, getattr(torch, step.dtype))
    enable_checkpointing(model, step)
    adapted = adapter.inject(model)
    if step.inputs_require_grads:
        model.enable_input_require_grads()
    install(model, step.loss, step.loss_chunks)
    return adapted.train()


def trainers_optimizer(model: nn.Module, name: str, device: Device) -> torch.optim.Optimizer:
    """The optimizer that transformers' Trainer makes of its name, for all that is trained."""
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(output_dir=os.devnull, optim=name, use_cpu=device == "cpu")
    make, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
    made: torch.optim.Optimizer = make(_trained(model), **options)
    if options.get("optim_bits") == 8:
        import bitsandbytes

        overrides = bitsandbytes.optim.GlobalOptimManager.get_instance()
        for embedding in (module for module in model.modules() if isinstance(module, nn.Embedding)):
            overrides.register_module_override(embedding, "weight", {"optim_bits": 32})
    return made


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _train(model: nn.Module, step: Step, device: Device, meter: Meter) -> None:
    parameters = _trained(model)
    optimizer = trainers_optimizer(model, step.optimizer, device)
    for _ in range(OPTIMIZER_STEPS):
        meter.enter("forward")
        loss, kept = _forward(model, step, device)
        meter.enter("backward")
        torch.autograd.backward(loss)
        # The Trainer keeps the loss without its graph.
        loss = loss.detach()
        meter.enter("optimizer")
        if step.clips_gradients:
            nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        del loss, kept


def _forward(model: nn.Module, step: Step, device: Device) -> tuple[Tensor, Any]:
    """The loss, and what the loop holds on to: its batch, and the outputs if it keeps them."""
    shape = (step.micro_batch_size, step.sequence_len)
    names = ["input_ids", "labels", *(["attention_mask"] if step.attention_mask else [])]
    batch = {name: torch.ones(shape, dtype=torch.int64, device=device) for name in names}
    with torch.autocast(device, getattr(torch, step.dtype)) if step.autocast else nullcontext():
        outputs = model(**batch, use_cache=False)
    if step.autocast and step.outputs_to_float32:
        from accelerate.utils.operations import convert_to_fp32

        outputs = convert_to_fp32(outputs)
    return outputs.loss, (batch, outputs if step.keeps_outputs else None)


def _folder_with_weights(base_model: BaseModel) -> Path | None:
    folder = Path(base_model.name).expanduser()
    has_weights = base_model.origin == "folder" and any(folder.glob("*.safetensors"))
    return folder if has_weights else None


def _is_out_of_memory(error: Exception) -> bool:
    # PyTorch has an exception of its own for GPUs; for the host it raises a RuntimeError that says so.
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or "can't allocate memory" in str(error)
