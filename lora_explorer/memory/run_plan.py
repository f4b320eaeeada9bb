"""From settings to the step that Axolotl would run with them, and the assumptions made on the way."""

from __future__ import annotations

from collections.abc import Iterator

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.cards import Card
from lora_explorer.memory.losses import Loss
from lora_explorer.memory.optimizers import PAGED
from lora_explorer.memory.step import Attention, Checkpointing, DType, Quantization, Step
from lora_explorer.settings import Recipe

_ATTENTION: dict[str, Attention] = {
    "eager": "eager",
    "sdpa": "sdpa",
    "flex_attention": "blockwise",
}
# Above it the bytes of a tensor of logits or scores no longer fit into 64 bits.
MOST_TOKENS = 1 << 30
_UNPACKED_BY_MASK = ("eager", "sdpa")


def step_from(recipe: Recipe, card: Card | None) -> Step:
    """The step of an Axolotl run on one GPU.

    card: decides which kernels run and whether `auto` means bfloat16; None stands for an Ampere card.
    Raises MemoryUnknown for what cannot be traced.
    """
    if recipe.micro_batch_size * recipe.sequence_len > MOST_TOKENS:
        raise MemoryUnknown(
            f"{recipe.micro_batch_size:,} × {recipe.sequence_len:,} tokens at once are more than can be traced here "
            f"(at most {MOST_TOKENS:,}).",
            setting="sequence_len",
        )
    dtype = training_dtype(recipe, card)
    attention = _attention(recipe)
    quantization = _quantization(recipe)
    # Kernels that keep documents apart by their positions take all rows as one (axolotl/core/trainers/base.py).
    packed_in_one_row = recipe.sample_packing and attention not in (*_UNPACKED_BY_MASK, None)
    rows = 1 if packed_in_one_row else recipe.micro_batch_size
    loss = _loss(recipe)
    return Step(
        micro_batch_size=rows,
        sequence_len=recipe.micro_batch_size * recipe.sequence_len // rows,
        dtype=dtype,
        autocast=dtype != "float32",
        quantization=quantization,
        # Axolotl leaves k-bit preparation out where experts are quantized (axolotl/loaders/model.py).
        kbit_preparation=quantization is not None and not quantization.experts,
        norms_in_dtype=bool(recipe.adapter) or loss == "cut" or attention not in (*_UNPACKED_BY_MASK, None),
        attention=attention,
        flash_kernels=card is None or card.flash_attention,
        packed=recipe.sample_packing,
        loss=loss,
        checkpointing=_checkpointing(recipe),
        inputs_require_grads=bool(recipe.adapter),
        optimizer=recipe.optimizer,
        clips_gradients=recipe.max_grad_norm != 0,
        accumulates=recipe.gradient_accumulation_steps > 1,
    )


def training_dtype(recipe: Recipe, card: Card | None) -> DType:
    """The type that the base model is loaded and computed in."""
    can_bf16 = card is None or card.bf16
    if recipe.bf16 is True or (recipe.bf16 == "auto" and can_bf16 and not recipe.fp16):
        return "bfloat16"
    if recipe.fp16 or recipe.load_in_8bit or recipe.bf16 == "auto":
        return "float16"
    return "float32"


def assumptions(recipe: Recipe, step: Step, card: Card | None, *, has_experts: bool) -> Iterator[str]:
    """What was taken for granted, one sentence each. has_experts: the base model is a mixture of experts."""
    yield (
        f"One GPU trains on {recipe.micro_batch_size} × {recipe.sequence_len} tokens at once, "
        f"every row filled to the end; weights in {step.dtype}{' under autocast' if step.autocast else ''}, "
        "as Axolotl's Trainer does."
    )
    yield _ATTENTION_WORDS.get(step.attention or "sdpa", "")
    yield _LOSS_WORDS[step.loss]
    if recipe.adapter and _fused_kernels(recipe):
        yield "LoRA's fused kernels are not modelled: the figure is that of PEFT's own layers, a little more."
    if step.quantization is not None and step.quantization.kind == "int8":
        yield "No outlier columns are assumed in the 8-bit products."
    if has_experts:
        yield "Experts run as one grouped product, whose bytes do not depend on how tokens are routed."
    if recipe.gptq or recipe.model_quantization_config or recipe.nf4_backend == "torchao":
        yield "The checkpoint's own quantization is not modelled: weights count as bitsandbytes or the training type."
    if has_experts and step.kbit_preparation:
        yield "Fused expert weights are not quantized, and PEFT's k-bit preparation turns them to float32."
    if recipe.optimizer in PAGED:
        yield "The paged optimizer's states are counted as resident; the driver can move them to the host."
    if recipe.gradient_checkpointing in ("offload", "offload_disk") or recipe.activation_offloading:
        yield "Offloading is not modelled: what checkpointing keeps is counted as resident."
    if card is None:
        yield "No card was chosen: kernels and workspaces of an Ampere card are assumed, for every verdict too."
    if recipe.peft_use_dora:
        yield "DoRA is traced through PEFT's own layers."


def _quantization(recipe: Recipe) -> Quantization | None:
    # Axolotl quantizes only for these pairs (axolotl/loaders/model.py); any other leaves the base as it is.
    if recipe.adapter == "qlora" and recipe.load_in_4bit:
        given = dict(recipe.bnb_config_kwargs)
        kind = "fp4" if given.get("bnb_4bit_quant_type") == "fp4" else "nf4"
        return Quantization(
            "fp4" if kind == "fp4" else "nf4",
            bool(given.get("bnb_4bit_use_double_quant", True)),
            experts=recipe.quantize_moe_experts,
        )
    if recipe.adapter == "lora" and recipe.load_in_8bit:
        if recipe.quantize_moe_experts:
            raise MemoryUnknown(
                "The memory of experts quantized to 8 bits is not known: they cannot be traced here.",
                setting="quantize_moe_experts",
                suggestion="load_in_4bit",
            )
        return Quantization("int8")
    return None


def _attention(recipe: Recipe) -> Attention | None:
    asked = recipe.attn_implementation or any(
        getattr(recipe, flag) for flag in ("flash_attention", "sdp_attention", "xformers_attention")
    )
    asked = asked or recipe.eager_attention or recipe.flex_attention or recipe.sage_attention
    return _ATTENTION.get(recipe.attention, "varlen") if asked else None


def _loss(recipe: Recipe) -> Loss:
    plugins = " ".join(recipe.plugins).lower()
    if "cut_cross_entropy" in plugins and recipe.cut_cross_entropy is not False:
        return "cut"
    if "liger" in plugins and recipe.liger_fused_linear_cross_entropy:
        return "liger fused"
    if "liger" in plugins and recipe.liger_cross_entropy:
        return "liger"
    return "chunked" if recipe.chunked_cross_entropy else "plain"


def _checkpointing(recipe: Recipe) -> Checkpointing | None:
    if not recipe.gradient_checkpointing:
        return None
    # Without options of its own Axolotl asks for the reentrant form (axolotl/utils/config).
    options = dict(recipe.gradient_checkpointing_kwargs)
    return "reentrant" if not options or options.get("use_reentrant") else "non-reentrant"


def _fused_kernels(recipe: Recipe) -> bool:
    given = (recipe.lora_mlp_kernel, recipe.lora_qkv_kernel, recipe.lora_o_kernel, recipe.lora_embedding_kernel)
    unset = all(kernel is None for kernel in given)
    return any(given) or (unset and not (recipe.adapter == "lora" and recipe.load_in_8bit))


_ATTENTION_WORDS: dict[str, str] = {
    "sdpa": "Attention is PyTorch's scaled dot product in the kernel that CUDA chooses: the scores are never stored.",
    "eager": "Attention is eager: the scores of every pair of tokens are stored.",
    "varlen": "Attention is a FlashAttention kernel: the scores are never stored.",
    "blockwise": "Attention is a compiled FlexAttention kernel: the scores are never stored.",
}
_LOSS_WORDS: dict[Loss, str] = {
    "plain": "The loss is transformers' own: logits in the training type, a float32 copy, and their gradients.",
    "shifted": "The loss is that of transformers before 4.50: plain, with one more float32 copy of the logits.",
    "chunked": "The loss is Axolotl's chunked cross-entropy: the float32 copy is made in eight pieces.",
    "liger": "The loss is Liger's cross-entropy: the gradient is written over the logits.",
    "liger fused": "The loss is Liger's fused linear cross-entropy: the logits exist only in chunks.",
    "cut": "The loss is cut cross-entropy: the logits never exist.",
}
