"""What moves memory and speed without changing what is learned: precision, checkpointing, attention, kernels."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from lora_explorer.settings.declaration import Control, Group, InTools, Settings, has_adapter, setting
from lora_explorer.settings.values import FrozenMapping, Names, Options, WholeNumber

_AXOLOTL = "Axolotl 0.21, configuration schema"
_LIGER = "Hsu et al. 2024, Liger Kernel, arXiv 2410.10989"

ATTENTIONS = (
    "eager",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
    "flash_attention_torch",
    "flex_attention",
    "varlen",
    "xformers",
    "sage",
    "fp8",
)
# Axolotl's order: a specific backend wins over a general one when several flags are set.
ATTENTION_OF_FLAG = {
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
LIGER_PLUGIN = "axolotl.integrations.liger.LigerPlugin"
CUT_CROSS_ENTROPY_PLUGIN = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
PLUGINS = (LIGER_PLUGIN, CUT_CROSS_ENTROPY_PLUGIN)

_AUTO = Control("choice", choices=("auto", "true", "false"))
_YES_NO = Control("choice", choices=("true", "false"))


def _has_plugin(recipe: Any, part: str) -> bool:
    return any(part in plugin.lower() for plugin in recipe.plugins)


def _legacy_flag(name: str) -> Any:
    """A deprecated attention flag: kept for old files, shown only where a file sets it."""
    return setting(
        False,
        label=f"{ATTENTION_OF_FLAG[name]} attention (old key)",
        help=f"The old way to write attn_implementation: {ATTENTION_OF_FLAG[name]}; both together are refused.",
        explanation="Axolotl turns it into `attn_implementation`, with a warning that this key is old.",
        source=_AXOLOTL,
        shown_when=lambda recipe: getattr(recipe, name),
    )


def _kernel(label: str, help: str) -> Any:
    return setting(
        None,
        label=label,
        help=help,
        explanation="If all four kernel keys are empty, Axolotl turns all of them on for qlora and for unquantized "
        "lora. Any explicit value, even one false, stops that. Not possible with 8-bit loading. Count unchanged.",
        source=_AXOLOTL,
        shown_when=has_adapter,
    )


class HardwareSettings(Settings):
    group: ClassVar[Group] = Group.HARDWARE

    gradient_checkpointing: Annotated[
        bool | Literal["offload", "offload_disk"],
        Control("choice", choices=("true", "false", "offload", "offload_disk")),
    ] = setting(
        False,
        label="Gradient checkpointing",
        help="Keeps only each layer's input and computes the rest again in backward: far less memory, a third slower.",
        explanation="`offload` moves the kept inputs to host memory as well; Axolotl now writes that as "
        "`activation_offloading`.",
        source="Chen et al. 2016, sublinear memory cost, arXiv 1604.06174",
        more=False,
    )
    attn_implementation: Annotated[str | None, Control("choice", choices=ATTENTIONS, accepts_other=True)] = setting(
        None,
        label="Attention",
        help="The attention kernel. eager keeps the scores of every pair of tokens; the others never hold them.",
        explanation="Empty means what transformers picks, which is sdpa where the model has it.",
        source="transformers, attention interface",
        more=False,
    )
    bf16: Annotated[bool | Literal["auto"], _AUTO] = setting(
        "auto",
        label="bfloat16",
        help="Computes in bfloat16, on cards from Ampere on; auto takes it where the card can.",
        explanation="bfloat16 has the range of float32 with 8 bits of precision, so it needs no loss scale. `auto` is "
        "true on every card that has it.",
        source=_AXOLOTL,
        more=False,
    )
    fp16: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="float16",
        help="Computes in float16 with a loss scale, for cards before Ampere; excludes bfloat16.",
        explanation="Small gradients would become zero in float16. Therefore the loss is multiplied before the backward"
        " pass, and the gradients are divided by the same number after it. A T4 or V100 has no bfloat16 of "
        "its own.",
        source="Micikevicius et al. 2017, mixed precision training, arXiv 1710.03740",
    )
    tf32: Annotated[bool | Literal["auto"] | None, _AUTO] = setting(
        None,
        label="TF32",
        help="Lets float32 products run on tensor cores. Speed only; no bytes.",
        explanation="TF32 keeps 10 of the 23 bits behind the point that float32 has, in products only and on cards from"
        " Ampere on. What is computed in bfloat16 does not change.",
        source="torch.backends, TensorFloat-32",
    )
    gradient_checkpointing_kwargs: Annotated[
        Options,
        Control("mapping", placeholder="{use_reentrant: false}"),
        InTools(trl="gradient_checkpointing_kwargs", ms_swift="gradient_checkpointing_kwargs"),
    ] = setting(
        FrozenMapping(),
        label="Checkpointing options",
        help="Passed on to torch's checkpointing; use_reentrant decides which of its two implementations runs.",
        explanation="With `use_reentrant: true` a part is run again as a whole in backward, and at least one of its "
        "inputs must want a gradient; `false` has no such condition and is the form that torch recommends.",
        source="torch.utils.checkpoint",
        shown_when=lambda recipe: bool(recipe.gradient_checkpointing),
    )
    activation_offloading: Annotated[
        bool | Literal["legacy", "disk", "hidden_states"],
        Control("choice", choices=("true", "false", "legacy", "disk", "hidden_states")),
    ] = setting(
        False,
        label="Activation offloading",
        help="Moves what checkpointing keeps to host memory or disk until backward needs it; needs checkpointing.",
        explanation="What is moved travels to the host and back in every step, so a slow link makes steps longer. "
        "`disk` writes files instead of using host memory. With an adapter `true` can be faster than "
        "`hidden_states`, which computes each layer twice.",
        source=_AXOLOTL,
        shown_when=lambda recipe: bool(recipe.gradient_checkpointing),
    )
    plugins: Annotated[Names, Control("names", choices=PLUGINS, accepts_other=True)] = setting(
        (),
        label="Plugins",
        help="Axolotl plugins by import path; those of Liger and cut cross-entropy bring losses that save memory.",
        explanation="A plugin's own keys have no effect, and Axolotl drops them without a word, until the plugin is "
        "listed here.",
        source=_AXOLOTL,
    )
    liger_fused_linear_cross_entropy: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="Liger fused linear cross-entropy",
        help="Computes head and loss together in chunks, so that the logits of the whole batch never exist.",
        explanation="The logits have tokens × vocabulary elements: with 4,096 tokens and Llama-3's 128,256 words one "
        "copy in float32 is 2 GiB. Here gradients are computed chunk by chunk in the forward pass, and no "
        "logits are kept. Needs the Liger plugin.",
        source=_LIGER,
        shown_when=lambda recipe: _has_plugin(recipe, "liger"),
    )
    liger_cross_entropy: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="Liger cross-entropy",
        help="Computes the loss in place on the logits; they still exist once.",
        explanation="The gradient of the loss is written over the logits, so that there is no second copy for it. Needs"
        " the Liger plugin.",
        source=_LIGER,
        shown_when=lambda recipe: _has_plugin(recipe, "liger"),
    )
    cut_cross_entropy: Annotated[bool | None, _YES_NO] = setting(
        None,
        label="Cut cross-entropy",
        help="Computes the loss without ever holding the logits; on as soon as its plugin is listed.",
        explanation="The logit of the right token and the sum over the vocabulary are computed block by block in the "
        "chip's own memory. Axolotl wants `bf16` or `fp16` written down with it.",
        source="Wijmans et al. 2024, Cut Your Losses, arXiv 2411.09009",
        shown_when=lambda recipe: _has_plugin(recipe, "cut_cross_entropy"),
    )
    chunked_cross_entropy: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="Chunked cross-entropy",
        help="Upcasts and reduces the logits in chunks instead of all at once; excludes cut cross-entropy.",
        explanation="The usual loss turns all logits into float32 at once, here one chunk after the other is. The "
        "logits themselves still exist in the precision of the run.",
        source=_AXOLOTL,
    )
    chunked_cross_entropy_num_chunks: Annotated[WholeNumber | None, Field(ge=1, le=4096), Control("number", step=1)] = (
        setting(
            None,
            label="Number of chunks",
            help="Into how many chunks chunked cross-entropy cuts the logits; 8 if empty.",
            explanation="More chunks hold less at once, and start more kernels.",
            source=_AXOLOTL,
            shown_when=lambda recipe: recipe.chunked_cross_entropy,
        )
    )
    lora_mlp_kernel: Annotated[bool | None, _YES_NO] = _kernel(
        "LoRA MLP kernel", "Fuses gate, up and down projections with their adapters: fewer kept activations."
    )
    lora_qkv_kernel: Annotated[bool | None, _YES_NO] = _kernel(
        "LoRA QKV kernel", "Fuses the query, key and value projections with their adapters."
    )
    lora_o_kernel: Annotated[bool | None, _YES_NO] = _kernel(
        "LoRA output kernel", "Fuses the attention's output projection with its adapter."
    )
    lora_embedding_kernel: Annotated[bool | None, _YES_NO] = _kernel(
        "LoRA embedding kernel", "Fuses an adapted embedding with its adapter."
    )
    flash_attention: Annotated[bool, Control("checkbox")] = _legacy_flag("flash_attention")
    sdp_attention: Annotated[bool, Control("checkbox")] = _legacy_flag("sdp_attention")
    xformers_attention: Annotated[bool, Control("checkbox")] = _legacy_flag("xformers_attention")
    flex_attention: Annotated[bool, Control("checkbox")] = _legacy_flag("flex_attention")
    sage_attention: Annotated[bool, Control("checkbox")] = _legacy_flag("sage_attention")
    eager_attention: Annotated[bool, Control("checkbox")] = _legacy_flag("eager_attention")
