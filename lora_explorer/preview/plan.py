"""From what is asked to what will run here: device, precision, lengths, weights, and a sentence on each difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lora_explorer.errors import PreviewRefused
from lora_explorer.memory.plan.step import DType
from lora_explorer.preview.data import check_choice
from lora_explorer.preview.device import find_device, precision_on
from lora_explorer.preview.models.adapter_start import AdapterStart, find_adapter_start
from lora_explorer.preview.models.quantization import quantized_bits, runnable_quantization
from lora_explorer.preview.models.weights import Destination, Device, WeightSource, find_weights
from lora_explorer.preview.request import PreviewRequest, Weights
from lora_explorer.settings import Recipe

# What two cores train on in a second or two with a small model, at lengths as instructions have them.
HOST_ROWS = 4
HOST_TOKENS = 512
_USUAL_ROW_TOKENS = 128
HIGHEST_LEARNING_RATE = 1.0
_HIGH_LEARNING_RATE = 0.01

_ANYWHERE = frozenset({"adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"})
_BITSANDBYTES = frozenset(
    {"adamw_bnb_8bit", "adamw_8bit", "ademamix", "ademamix_8bit", "lion_8bit", "lion_32bit", "rmsprop_bnb"}
    | {"rmsprop_bnb_8bit", "rmsprop_bnb_32bit"}
)
_PAGED = frozenset(
    {"paged_adamw_8bit", "paged_adamw_32bit", "paged_ademamix_8bit", "paged_ademamix_32bit", "paged_lion_8bit"}
    | {"paged_lion_32bit"}
)
# The same update without paging, which only CUDA's driver does; bitsandbytes' 32-bit AdamW is torch's.
_RESIDENT = {
    "paged_adamw_8bit": "adamw_8bit",
    "paged_adamw_32bit": "adamw_torch",
    "paged_ademamix_8bit": "ademamix_8bit",
    "paged_ademamix_32bit": "ademamix",
    "paged_lion_8bit": "lion_8bit",
    "paged_lion_32bit": "lion_32bit",
}
_SCHEDULES = frozenset(
    {"linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"}
)


@dataclass(frozen=True)
class PreviewPlan:
    """A preview as it will run.

    recipe: every setting as the trainer gets it. source: of the weights, and the base model that is really trained.
    start: how the adapter begins. notes: one sentence for each difference from what was asked.
    """

    request: PreviewRequest
    recipe: Recipe
    device: Device
    dtype: DType
    source: WeightSource
    start: AdapterStart
    notes: tuple[str, ...] = field(default=())

    @property
    def weights(self) -> Weights:
        """Whose weights are trained."""
        return self.source.kind

    @property
    def layers(self) -> int | None:
        """How many decoder layers are kept; None for all."""
        return self.source.layers

    @property
    def sequence_len(self) -> int:
        """The most tokens of a row."""
        return self.recipe.sequence_len

    @property
    def micro_batch_size(self) -> int:
        """Rows that go through the model at once."""
        return self.recipe.micro_batch_size

    @property
    def gradient_accumulation_steps(self) -> int:
        """Micro batches of one optimizer step."""
        return self.recipe.gradient_accumulation_steps

    @property
    def quantized(self) -> bool:
        """Whether bitsandbytes holds the base model's linear layers."""
        return self.bits is not None

    @property
    def bits(self) -> int | None:
        """4 or 8 where the base model's linear layers are quantized."""
        return quantized_bits(self.recipe)

    @property
    def seed(self) -> int:
        """Of data order, dropout and the start of the adapter: the recipe's where it names one."""
        return self.request.seed if self.recipe.seed is None else self.recipe.seed

    def record(self) -> dict[str, Any]:
        """What a history shows of it, as plain values."""
        names = ("device", "dtype", "weights", "layers", "bits", "seed", "notes")
        lengths = ("sequence_len", "micro_batch_size", "gradient_accumulation_steps")
        found = {name: getattr(self, name) for name in (*names, *lengths)}
        return {**found, "base_model": self.source.base_model.name, "optimizer": self.recipe.optimizer}


def plan_preview(request: PreviewRequest) -> PreviewPlan:
    """Settle everything that can be settled before anything is loaded. Raises PreviewRefused, InvalidSettings."""
    _check(request)
    access = request.access
    check_choice(request.data, access=access)
    device = find_device()
    changed = _with_lengths(_runnable(_Draft(request.recipe), device), request, device)
    precision = precision_on(device, changed.recipe)
    recipe, quantization_notes = runnable_quantization(
        changed.recipe.changed(bf16=precision.dtype == "bfloat16", fp16=precision.dtype == "float16"), device
    )
    start = find_adapter_start(recipe, device, access=access)
    destination = Destination(device, precision.dtype, quantized_bits(start.recipe), tokens=_usual_tokens(start.recipe))
    source = find_weights(request.base_model, request.weights, access=access, destination=destination)
    notes = (*changed.notes, *quantization_notes, *start.notes, *source.notes, *_run_notes(request))
    return PreviewPlan(
        request=request,
        recipe=start.recipe,
        device=device,
        dtype=precision.dtype,
        source=source,
        start=start,
        notes=(*((precision.note,) if precision.note else ()), *notes),
    )


def _check(request: PreviewRequest) -> None:
    recipe, most = request.recipe, request.limits.steps
    if request.steps < 1:
        raise PreviewRefused("A preview takes at least 1 step.", setting="steps", suggestion="30")
    if request.steps > most:
        raise PreviewRefused(
            f"A preview takes at most {most:,} steps here, got {request.steps:,}.",
            setting="steps",
            suggestion=f"{most}",
        )
    if recipe.learning_rate is None:
        raise PreviewRefused(
            "learning_rate is empty, and nothing is trained without one.", setting="learning_rate", suggestion="0.0002"
        )
    if recipe.learning_rate > HIGHEST_LEARNING_RATE and not request.run_anyway:
        raise PreviewRefused(
            f"A learning rate of {recipe.learning_rate:g} lets every run diverge; LoRA usually wants 0.0001 to 0.001.",
            setting="learning_rate",
            suggestion="0.0002",
        )


class _Draft(NamedTuple):
    """A recipe on its way to one that can run, and what was said so far."""

    recipe: Recipe
    notes: tuple[str, ...] = ()


class _Change(NamedTuple):
    """applies: to which recipes, on which device. update: settings in place of theirs. note: what that means."""

    applies: Callable[[Recipe, Device], bool]
    update: Callable[[Recipe], Mapping[str, Any]]
    note: Callable[[Recipe], str | None]


def _runnable(draft: _Draft, device: Device) -> _Draft:
    """With what transformers' Trainer and the installed packages have on the device."""
    for change in _CHANGES:
        recipe, notes = draft
        if change.applies(recipe, device):
            note = change.note(recipe)
            draft = _Draft(recipe.changed(**change.update(recipe)), (*notes, *((note,) if note else ())))
    return draft


def _with_lengths(draft: _Draft, request: PreviewRequest, device: Device) -> _Draft:
    """With the lengths that were asked for, or that a CPU can bear."""
    recipe = draft.recipe
    names = ("sequence_len", "micro_batch_size", "gradient_accumulation_steps")
    asked = {name: getattr(request, name) for name in names if getattr(request, name) is not None}
    # Through the recipe, which refuses what is no length.
    valid = recipe.changed(**asked)
    wanted = {name: getattr(valid, name) for name in names}
    taken = (_host_lengths(wanted) | asked) if device == "cpu" else wanted
    if taken == wanted:
        return draft._replace(recipe=recipe.changed(**taken))
    note = (
        f"A CPU takes {taken['micro_batch_size']} × {taken['gradient_accumulation_steps']} rows of at most "
        f"{taken['sequence_len']} tokens a step here, not {wanted['micro_batch_size']} × "
        f"{wanted['gradient_accumulation_steps']} of {wanted['sequence_len']}."
    )
    return _Draft(recipe.changed(**taken), (*draft.notes, note))


def _host_lengths(wanted: Mapping[str, int]) -> dict[str, int]:
    rows = min(wanted["micro_batch_size"], HOST_ROWS)
    return {
        "sequence_len": min(wanted["sequence_len"], HOST_TOKENS),
        "micro_batch_size": rows,
        "gradient_accumulation_steps": min(wanted["gradient_accumulation_steps"], HOST_ROWS // rows),
    }


def _usual_tokens(recipe: Recipe) -> int:
    """About as many as a step has; most rows are shorter than they may be."""
    return recipe.effective_batch_size * min(recipe.sequence_len, _USUAL_ROW_TOKENS)


def _run_notes(request: PreviewRequest) -> tuple[str, ...]:
    recipe, steps = request.recipe, request.steps
    found = []
    if recipe.warmup_steps is not None and recipe.warmup_steps >= steps:
        found.append(f"All {steps} steps are warm-up: warmup_steps is {recipe.warmup_steps:,}.")
    if recipe.learning_rate is not None and recipe.learning_rate > _HIGH_LEARNING_RATE:
        found.append(f"A learning rate of {recipe.learning_rate:g} is high; LoRA usually wants 0.0001 to 0.001.")
    return tuple(found)


def _optimizer(recipe: Recipe, device: Device) -> str:
    """The optimizer that the trainer gets."""
    name = recipe.optimizer
    if device == "cuda" and name in _PAGED:
        return name
    name = _RESIDENT.get(name, name)
    if name in _ANYWHERE or (name in _BITSANDBYTES and device != "mps"):
        return name
    return "adamw_torch"


def _optimizer_change(device: Device) -> _Change:
    return _Change(
        lambda recipe, on: on == device and _optimizer(recipe, device) != recipe.optimizer,
        lambda recipe: {"optimizer": _optimizer(recipe, device)},
        lambda recipe: f"The optimizer is {_optimizer(recipe, device)}: {recipe.optimizer} does not run here.",
    )


_PLAIN_KERNELS: dict[str, Any] = {f"lora_{kernel}_kernel": False for kernel in ("mlp", "qkv", "o", "embedding")}
_PLAIN_LOSS: dict[str, Any] = {
    "plugins": (),
    "liger_fused_linear_cross_entropy": False,
    "liger_cross_entropy": False,
    "cut_cross_entropy": False,
    "chunked_cross_entropy": False,
}
_SDPA: dict[str, Any] = {
    "attn_implementation": "sdpa",
    "flash_attention": False,
    "sdp_attention": False,
    "xformers_attention": False,
    "flex_attention": False,
    "sage_attention": False,
    "eager_attention": False,
}


def _always(note: str | None) -> Callable[[Recipe], str | None]:
    return lambda recipe: note


def _to(update: Mapping[str, Any]) -> Callable[[Recipe], Mapping[str, Any]]:
    return lambda recipe: update


_CHANGES: tuple[_Change, ...] = (
    _Change(
        lambda recipe, device: any(getattr(recipe, name) for name in _PLAIN_KERNELS),
        _to({}),
        _always("LoRA runs through PEFT's own layers, not through Axolotl's kernels: the same result, more memory."),
    ),
    _Change(lambda recipe, device: True, _to(_PLAIN_KERNELS), _always(None)),
    _Change(
        lambda recipe, device: bool(recipe.plugins) or recipe.chunked_cross_entropy,
        _to(_PLAIN_LOSS),
        _always("The loss is transformers' own, without plugins and in one piece: the same value, more memory."),
    ),
    _Change(
        lambda recipe, device: recipe.sample_packing,
        _to({"sample_packing": False}),
        _always("Rows are padded instead of packed, so a step sees fewer tokens than in the full run."),
    ),
    _Change(
        lambda recipe, device: (
            bool(recipe.activation_offloading) or str(recipe.gradient_checkpointing).startswith("offload")
        ),
        _to({"gradient_checkpointing": True, "activation_offloading": False}),
        _always("Layers are checkpointed, but nothing is offloaded."),
    ),
    _Change(
        lambda recipe, device: recipe.attention not in ("eager", "sdpa"),
        _to(_SDPA),
        lambda recipe: f"Attention is PyTorch's scaled dot product in place of {recipe.attention}.",
    ),
    _Change(
        lambda recipe, device: recipe.lr_scheduler not in _SCHEDULES,
        _to({"lr_scheduler": "cosine"}),
        lambda recipe: f"The learning rate follows a cosine: {recipe.lr_scheduler} needs options or Axolotl itself.",
    ),
    *(_optimizer_change(device) for device in ("cpu", "cuda", "mps")),
)
