"""From settings to the step that Axolotl would run with them, and the assumptions made on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.cards import Card
from lora_explorer.memory.kernels.fused_kernels import KERNELS, Kernel
from lora_explorer.memory.kernels.losses import CHUNKS, Loss
from lora_explorer.memory.kernels.offloading import Offloading
from lora_explorer.memory.plan.known_optimizers import PAGED, WIDE_FOR_TABLES
from lora_explorer.memory.plan.optimizers import TrainedTensor
from lora_explorer.memory.plan.step import Attention, Checkpointing, DType, Quantization, Step, exempt_modules
from lora_explorer.settings import Recipe

_ATTENTION: dict[str, Attention] = {
    "eager": "eager",
    "sdpa": "sdpa",
    "flex_attention": "blockwise",
    "xformers": "repeated",
    "sage": "repeated",
}
# Above it the bytes of a tensor of logits or scores no longer fit into 64 bits.
MOST_TOKENS = 1 << 30
_UNPACKED_BY_MASK = ("eager", "sdpa")


def step_from(recipe: Recipe, card: Card | None) -> Step:
    """The step of an Axolotl run on one GPU.

    card: decides which kernels run; None stands for an Ampere card.
    Raises MemoryUnknown for what cannot be traced.
    """
    if recipe.micro_batch_size * recipe.sequence_len > MOST_TOKENS:
        raise MemoryUnknown(
            f"{recipe.micro_batch_size:,} × {recipe.sequence_len:,} tokens at once are more than can be traced here "
            f"(at most {MOST_TOKENS:,}).",
            setting="sequence_len",
        )
    dtype = training_dtype(recipe)
    attention = _attention(recipe)
    quantization = _quantization(recipe)
    # Kernels that keep documents apart by their positions take all rows as one (axolotl/core/trainers/base.py).
    packed_in_one_row = recipe.sample_packing and attention not in (*_UNPACKED_BY_MASK, None)
    rows = 1 if packed_in_one_row else recipe.micro_batch_size
    loss = _loss(recipe)
    # Axolotl leaves k-bit preparation out for quantized experts, LoftQ and torchao (axolotl/loaders/model.py).
    left_out = quantization is None or quantization.experts or _loftq(recipe) or recipe.nf4_backend == "torchao"
    return Step(
        micro_batch_size=rows,
        sequence_len=recipe.micro_batch_size * recipe.sequence_len // rows,
        # Axolotl has quantized weights read one after the other (axolotl/loaders/patch_manager.py); others leave the
        # same behind in any order.
        loading="placed",
        empties_cache=True,  # axolotl/loaders/model.py, when the adapter is on
        dtype=dtype,
        autocast=dtype != "float32",
        quantization=quantization,
        kbit_preparation=not left_out,
        tables_on_host=recipe.ple_cpu_offload,
        norms_in_dtype=bool(recipe.adapter) or loss == "cut" or attention not in (*_UNPACKED_BY_MASK, None),
        attention=attention,
        flash_kernels=card is None or card.flash_attention,
        packed=recipe.sample_packing,
        mixed=recipe.sample_packing and attention is None,
        loss=loss,
        loss_chunks=recipe.chunked_cross_entropy_num_chunks or CHUNKS,
        checkpointing=_checkpointing(recipe, kbit_preparation=not left_out),
        offloading=_offloading(recipe),
        fused_lora=_fused_lora(recipe),
        inputs_require_grads=bool(recipe.adapter),
        optimizer=recipe.optimizer,
        loraplus=bool(recipe.adapter) and recipe.loraplus_lr_ratio is not None,
        clips_gradients=recipe.max_grad_norm != 0,
        accumulates=recipe.gradient_accumulation_steps > 1,
        waiting_batches=recipe.gradient_accumulation_steps - 1,
    )


def training_dtype(recipe: Recipe) -> DType:
    """The type that the base model is loaded and computed in.

    On every card: `auto` asks torch.cuda.is_bf16_supported (axolotl/utils/config, resolve_dtype), which since torch
    2.4 counts emulation too and so says yes before Ampere.
    """
    if recipe.bf16 is True or (recipe.bf16 == "auto" and not recipe.fp16):
        return "bfloat16"
    if recipe.fp16 or recipe.load_in_8bit:
        return "float16"
    return "float32"


def assumptions(
    recipe: Recipe,
    step: Step,
    card: Card | None,
    *,
    has_experts: bool,
    kernels_refused: str | None = None,
    managed_bytes: int = 0,
) -> Iterator[str]:
    """What was taken for granted, one sentence each.

    has_experts: the base model is a mixture of experts. kernels_refused: a sentence where LoRA kernels do not run.
    managed_bytes: optimizer states outside the allocator.
    """
    yield (
        f"One GPU trains on {recipe.micro_batch_size} × {recipe.sequence_len} tokens at once, "
        f"every row filled to the end; weights in {step.dtype}{' under autocast' if step.autocast else ''}, "
        "as Axolotl's Trainer does."
    )
    yield _attention_words(step)
    if step.packed and step.attention in ("sdpa", None):
        yield _PACKED_WORDS[step.mixed]
    yield _LOSS_WORDS[step.loss].format(chunks=step.loss_chunks)
    if step.fused_lora:
        yield _kernel_words(step, kernels_refused)
    if step.offloading is not None:
        yield _OFFLOADING_WORDS[step.offloading]
    if step.offloading == "streamed" and step.checkpointing == "reentrant":
        yield "What a layer computes again leaves as well, and once back it stays until the next layer is through."
    if step.quantization is not None and step.quantization.kind == "int8":
        yield "No outlier columns are assumed in the 8-bit products."
    if has_experts:
        yield _EXPERT_WORDS[step.flash_kernels]
    if step.quantization is not None and recipe.nf4_backend == "torchao":
        yield "torchao packs 4-bit weights into as many bytes as bitsandbytes, by whose layers the step is traced."
    if step.tables_on_host:
        yield "Tables that the model declares as offloadable are in host memory and in no figure here."
    if has_experts and step.kbit_preparation:
        yield "Fused expert weights are not quantized, and PEFT's k-bit preparation turns them to float32."
    if step.optimizer in PAGED:
        yield _paged_words(managed_bytes)
    if step.optimizer == "grokadamw":
        yield "The optimizer's states rest in host memory and visit the card one tensor at a time."
    if card is None:
        yield "No card was chosen: these figures are of an Ampere card; each card's verdict is of its own kernels."
    else:
        yield from _card_words(step, card)


def state_words(step: Step, trained: Iterable[TrainedTensor]) -> Iterator[str]:
    """What was taken for granted of the optimizer's states."""
    if step.optimizer in WIDE_FOR_TABLES and any(tensor.table for tensor in trained):
        yield "Trained embeddings have states in 32 bits, as transformers' Trainer asks of 8-bit optimizers."


def _card_words(step: Step, card: Card) -> Iterator[str]:
    if step.dtype == "bfloat16" and not card.bf16:
        yield (
            f"{card.name} has no bfloat16 units: PyTorch emulates the type, slowly, and offers it to Axolotl's `auto` "
            "all the same; fp16: true is faster there."
        )
    if card.context_source != "measured":
        size = f"{card.context_bytes / 2**20:.0f} MiB"
        known = {"assumed": "is assumed, not measured", "reported": "is what users of such cards report"}
        yield f"The CUDA context of {card.name}, {size}, {known[card.context_source]}."


def _kernel_words(step: Step, refused: str | None) -> str:
    if refused is not None:
        return refused
    return f"Axolotl's fused LoRA kernels run ({', '.join(k for k in KERNELS if k in step.fused_lora)})."


def _attention_words(step: Step) -> str:
    kind = step.attention or "sdpa"
    if kind == "sdpa" and (not step.flash_kernels or step.dtype == "float32"):
        # Before compute capability 8.0 no fused kernel takes bfloat16 (aten/native/transformers/cuda/sdp_utils.cpp).
        stored = "are stored" if step.dtype == "bfloat16" else "are stored where keys are grouped, else never"
        return (
            "Attention is PyTorch's scaled dot product without FlashAttention's kernel, which this card or type does "
            f"not have: the scores {stored}."
        )
    return _ATTENTION_WORDS[kind]


def _paged_words(managed_bytes: int) -> str:
    if not managed_bytes:
        return "Every tensor is too small for the paged optimizer: its states are allocated as usual."
    return (
        f"{managed_bytes / 2**30:.2f} GiB of the paged optimizer's states lie in managed memory outside the allocator "
        "and are in no figure here: the driver moves them to the host when the card is full."
    )


def _quantization(recipe: Recipe) -> Quantization | None:
    # Axolotl quantizes only for these pairs (axolotl/loaders/model.py); any other leaves the base as it is.
    if recipe.adapter == "qlora" and recipe.load_in_4bit:
        given = dict(recipe.bnb_config_kwargs)
        kind = "fp4" if given.get("bnb_4bit_quant_type") == "fp4" else "nf4"
        return Quantization(
            "fp4" if kind == "fp4" else "nf4",
            bool(given.get("bnb_4bit_use_double_quant", True)),
            experts=recipe.quantize_moe_experts,
            exempt=exempt_modules(given),
        )
    if recipe.adapter == "lora" and recipe.load_in_8bit:
        return Quantization("int8", experts=recipe.quantize_moe_experts)
    return None


def _loftq(recipe: Recipe) -> bool:
    return recipe.adapter == "lora" and recipe.loftq_bits is not None


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


def _checkpointing(recipe: Recipe, *, kbit_preparation: bool) -> Checkpointing | None:
    if not recipe.gradient_checkpointing:
        return None
    offloading = _offloading(recipe)
    # Axolotl asks for the non-reentrant form unless told otherwise (axolotl/utils/config).
    reentrant = bool(dict(recipe.gradient_checkpointing_kwargs).get("use_reentrant", False))
    if offloading in ("streamed", "synchronous"):
        # Then the trainer does not ask, and what the loader asked for stays (axolotl/loaders/model.py): fully trained
        # models are wrapped; adapters get the form asked for, but PEFT's k-bit preparation asks once more, for torch's
        # own default; and the older way puts another checkpoint in torch's place, which is reentrant.
        if not recipe.adapter:
            reentrant = False
        elif kbit_preparation or offloading == "synchronous":
            reentrant = True
    return "reentrant" if reentrant else "non-reentrant"


def _offloading(recipe: Recipe) -> Offloading | None:
    # The older way to ask, written as the newer one (axolotl/utils/schemas/validation.py).
    # Disk is asked for by name, but the same tensors go to host memory.
    asked = recipe.gradient_checkpointing in ("offload", "offload_disk") or recipe.activation_offloading
    if not asked or not recipe.gradient_checkpointing:
        return None
    kinds: dict[object, Offloading] = {"legacy": "synchronous", "hidden_states": "hidden states"}
    return kinds.get(recipe.activation_offloading, "streamed")


def _fused_lora(recipe: Recipe) -> frozenset[Kernel]:
    if not recipe.adapter:
        return frozenset()
    asked = {kernel: getattr(recipe, f"lora_{kernel}_kernel") for kernel in KERNELS}
    if all(given is None for given in asked.values()):
        # Axolotl turns all on (lora_kernels_auto_enable in axolotl/utils/schemas/validation.py).
        eight_bit = recipe.adapter == "lora" and recipe.load_in_8bit
        on_by_itself = recipe.adapter in ("lora", "qlora") and not eight_bit and not recipe.nvfp4_merge_aware
        return frozenset(KERNELS) if on_by_itself else frozenset()
    return frozenset(kernel for kernel, given in asked.items() if given)


_ATTENTION_WORDS: dict[Attention, str] = {
    "sdpa": "Attention is PyTorch's scaled dot product in the kernel that CUDA chooses: the scores are never stored.",
    "eager": "Attention is eager: the scores of every pair of tokens are stored.",
    "varlen": "Attention is a FlashAttention kernel: the scores are never stored.",
    "repeated": "Attention is a fused kernel over keys and values repeated to all heads: the scores are never stored.",
    "blockwise": "Attention is a compiled FlexAttention kernel: the scores are never stored.",
}
# By whether documents see each other.
_PACKED_WORDS = {
    True: "Documents in one packed row see each other, as Axolotl has it where no attention is named.",
    False: "Packed documents are kept apart by their lengths, as Axolotl does unless sdpa_varlen is false, or by a "
    "mask of every pair of tokens where heads are wide or a window slides.",
}
_OFFLOADING_WORDS: dict[Offloading, str] = {
    "streamed": "What checkpointing keeps leaves for host memory on a stream of its own: five tensors are on their way "
    "at a time, and what is saved twice stays.",
    "synchronous": "What checkpointing keeps leaves for host memory, one tensor at a time.",
    "hidden states": "The inputs of checkpointed layers leave for host memory; two are on their way at a time.",
}
# By whether the card has the kernel of compute capability 8.0 and later (transformers/integrations/moe.py).
_EXPERT_WORDS = {
    True: "Experts run as one grouped product, whose bytes do not depend on how tokens are routed.",
    False: "Experts run one after the other, as transformers does before compute capability 8.0; every expert gets as "
    "many tokens as the next.",
}
_LOSS_WORDS: dict[Loss, str] = {
    "plain": "The loss is transformers' own: logits in the training type, a float32 copy, and their gradients.",
    "shifted": "The loss is that of transformers before 4.50: plain, with one more float32 copy of the logits.",
    "chunked": "The loss is Axolotl's chunked cross-entropy in {chunks} pieces: compiled, so that float32 values exist "
    "only inside its kernel.",
    "liger": "The loss is Liger's cross-entropy: the gradient is written over the float32 copy of the logits.",
    "liger fused": "The loss is Liger's fused linear cross-entropy: the logits exist only in chunks.",
    "cut": "The loss is cut cross-entropy: the logits never exist.",
}
