"""One training step described: everything about it that moves bytes, and nothing about where it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lora_explorer.memory.kernels.fused_kernels import Kernel
from lora_explorer.memory.kernels.losses import CHUNKS, Loss
from lora_explorer.memory.kernels.offloading import Offloading
from lora_explorer.memory.plan.parallel import Parallelism

DType = Literal["bfloat16", "float16", "float32"]
Attention = Literal["sdpa", "eager", "varlen", "repeated", "blockwise"]
Checkpointing = Literal["reentrant", "non-reentrant"]
Conversions = Literal["axolotl", "trl", "none"]
Loading = Literal["raced", "placed", "moved"]
Kernels = Literal["cuda", "host"]


@dataclass(frozen=True)
class Quantization:
    """How bitsandbytes holds the linear layers of the base model. experts: fused expert weights too.

    exempt: what stays as it is, as BitsAndBytesConfig.llm_int8_skip_modules names it; None where nobody names it, so
    that Axolotl's choice for the architecture holds, or else transformers' own: the output head and what is tied.
    """

    kind: Literal["nf4", "fp4", "int8"]
    double_quant: bool = True
    block_params: int = 64
    experts: bool = False
    exempt: tuple[str, ...] | None = None


def exempt_modules(given: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What `bnb_config_kwargs` exempts from quantization, for Quantization.exempt."""
    named = given.get("llm_int8_skip_modules")
    if named is None:
        return None
    return (named,) if isinstance(named, str) else tuple(str(name) for name in named)


@dataclass(frozen=True)
class Step:
    """A training step and the software around it.

    loading: "raced" and "placed" as transformers does with a device map, with readers racing or in order; "moved" when
    a model on the host is moved as a whole. empties_cache: what loading left cached is given back before step one.
    dtype: of the loaded base model. autocast: forward runs under torch.autocast in that dtype, as accelerate does.
    kbit_preparation: PEFT's prepare_model_for_kbit_training. conversions: whose changes of type surround it: Axolotl
    takes norms, embeddings and gates to float32, and norms and embeddings back if norms_in_dtype; TRL leaves norms of
    a quantized model in float32 and takes embeddings and head back.
    tables_on_host: tables that the model declares to need no place on the device stay in host memory.
    attention: None lets transformers choose, as it does when nothing is asked for.
    flash_kernels: whether the device runs FlashAttention-2 kernels. repeats_keys: grouped keys and values are repeated
    to all heads before SDPA, which transformers does only where there is a mask or heads are wide.
    packed: several documents share a sequence. mixed: and see each other, as nobody keeps them apart. padded: rows
    differ in length, so that their mask is needed. loss_chunks: of the chunked loss.
    labels_are_inputs: one tensor serves as token ids and as labels.
    keeps_outputs: the model's outputs, logits among them, stay alive until the optimizer step is done.
    outputs_to_float32: accelerate's conversion of all outputs. loraplus: LoRA+ makes the optimizer, which then keeps
    8-bit states of embeddings as they are. accumulates: gradients of earlier micro-batches are there when the backward
    pass starts. waiting_batches: other micro-batches of the update, which the Trainer brings to the device at its
    beginning. fused_lora: Axolotl's lora_*_kernels that are on. offloading: which saved activations leave for the
    host. kernels: "cuda" traces the forms that operators have on a CUDA device, "host" those of a CPU. parallelism:
    several GPUs that share the step.
    """

    micro_batch_size: int
    sequence_len: int
    loading: Loading = "placed"
    empties_cache: bool = False
    dtype: DType = "bfloat16"
    autocast: bool = True
    quantization: Quantization | None = None
    kbit_preparation: bool = False
    conversions: Conversions = "axolotl"
    norms_in_dtype: bool = True
    tables_on_host: bool = False
    attention: Attention | None = None
    flash_kernels: bool = True
    repeats_keys: bool = False
    packed: bool = False
    mixed: bool = False
    padded: bool = False
    loss: Loss = "plain"
    loss_chunks: int = CHUNKS
    checkpointing: Checkpointing | None = None
    inputs_require_grads: bool = True
    keeps_outputs: bool = False
    outputs_to_float32: bool = True
    attention_mask: bool = True
    labels_are_inputs: bool = False
    optimizer: str = "adamw_torch_fused"
    loraplus: bool = False
    clips_gradients: bool = True
    accumulates: bool = False
    waiting_batches: int = 0
    fused_lora: frozenset[Kernel] = frozenset()
    offloading: Offloading | None = None
    kernels: Kernels = "cuda"
    parallelism: Parallelism | None = None

    @property
    def tokens(self) -> int:
        """Tokens of one micro-batch."""
        return self.micro_batch_size * self.sequence_len

    @property
    def keeps_documents_apart(self) -> bool:
        """Whether packed documents are; then Axolotl leaves out the mask, so that positions are asked."""
        return self.packed and not self.mixed

    @property
    def batch_names(self) -> tuple[str, ...]:
        """The tensors of a micro-batch, by the model's names for them; each has 64 bits for each token."""
        labels = () if self.labels_are_inputs else ("labels",)
        mask = ("attention_mask",) if self.attention_mask and not self.keeps_documents_apart else ()
        positions = ("position_ids",) if self.packed else ()
        return ("input_ids", *labels, *mask, *positions)
