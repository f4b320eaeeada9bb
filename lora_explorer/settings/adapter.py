"""The adapter: its method, width, scale and start."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from lora_explorer.settings.declaration import Control, Group, InTools, Settings, has_adapter, setting
from lora_explorer.settings.values import (
    HIGHEST_ALPHA,
    HIGHEST_RANK,
    FrozenMapping,
    Number,
    PatternOfAlphas,
    PatternOfRanks,
    WholeNumber,
)

_LORA = "Hu et al. 2021, LoRA, arXiv 2106.09685"
_PEFT = "PEFT 0.21, LoraConfig"
_AXOLOTL = "Axolotl 0.21, adapter loader"

ADAPTERS = ("lora", "qlora")


class AdapterSettings(Settings):
    group: ClassVar[Group] = Group.ADAPTER

    adapter: Annotated[str | None, Control("choice", choices=ADAPTERS)] = setting(
        None,
        label="Adapter",
        help="lora trains small matrices beside frozen weights, qlora beside 4-bit ones; empty trains everything.",
        explanation="Axolotl pairs `qlora` with `load_in_4bit`, and `lora` with 8-bit or unquantized weights.",
        source=_AXOLOTL,
        more=False,
    )
    lora_r: Annotated[
        WholeNumber | None,
        Field(ge=1, le=HIGHEST_RANK),
        Control("slider", 1, 256, 1),
        InTools(
            peft="r",
            trl="lora_r",
            llama_factory="lora_rank",
            torchtune="model.lora_rank",
            ms_swift="lora_rank",
            mlx_lm="lora_parameters.rank",
        ),
    ] = setting(
        None,
        label="Rank",
        help="Inner width of A and B. Trainable parameters grow in proportion to it.",
        explanation="Each adapted matrix W of shape (out, in) gets B·A, with A of shape (r, in) and B of shape "
        "(out, r): r × (in + out) parameters. Axolotl has no default.",
        source=_LORA,
        more=False,
        shown_when=has_adapter,
    )
    lora_alpha: Annotated[
        WholeNumber | None,
        Field(ge=1, le=HIGHEST_ALPHA),
        Control("slider", 1, 512, 1),
        InTools(
            peft="lora_alpha",
            trl="lora_alpha",
            llama_factory="lora_alpha",
            torchtune="model.lora_alpha",
            ms_swift="lora_alpha",
        ),
    ] = setting(
        None,
        label="Alpha",
        help="Numerator of the scale: B·A is multiplied by alpha / rank. No effect on count or memory.",
        explanation="A higher rank at the same alpha has a lower scale. With rank-stabilised LoRA it is alpha / √r."
        " Axolotl has no default.",
        source=_LORA,
        more=False,
        shown_when=has_adapter,
    )
    lora_dropout: Annotated[
        Number,
        Field(ge=0, lt=1),
        Control("slider", 0, 0.5, 0.01),
        InTools(
            peft="lora_dropout",
            trl="lora_dropout",
            llama_factory="lora_dropout",
            torchtune="model.lora_dropout",
            ms_swift="lora_dropout",
            mlx_lm="lora_parameters.dropout",
        ),
    ] = setting(
        0.0,
        label="Dropout",
        help="Share of the elements of the input to A that are zeroed in each training step.",
        explanation="The LoRA matrices themselves lose nothing, and the path through the frozen weight sees the whole "
        "input. Above 0 each adapted module keeps a masked copy of its input for the backward pass. Must be 0 with "
        "`lora_target_parameters`.",
        source=_PEFT,
        more=False,
        shown_when=has_adapter,
    )
    peft_use_rslora: Annotated[
        bool,
        Control("checkbox"),
        InTools(peft="use_rslora", trl="use_rslora", llama_factory="use_rslora", ms_swift="use_rslora"),
    ] = setting(
        False,
        label="Rank-stabilised scale",
        help="Scales by alpha / √rank instead of alpha / rank, so that high ranks still learn. Count unchanged.",
        explanation="Under alpha / rank the update of a high rank shrinks so far that more rank hardly learns more; "
        "under alpha / √rank it keeps its size. At the same alpha the scale is √rank times as large, 5.7 "
        "times at rank 32, so alpha or the learning rate is lowered with it.",
        source="Kalajdzievski 2023, rsLoRA, arXiv 2312.03732",
        more=False,
        shown_when=has_adapter,
    )
    peft_use_dora: Annotated[
        bool,
        Control("checkbox"),
        InTools(
            peft="use_dora", trl="use_dora", llama_factory="use_dora", torchtune="model.use_dora", ms_swift="use_dora"
        ),
    ] = setting(
        False,
        label="DoRA",
        help="Trains a magnitude for each output feature besides A and B; slower, and needs more memory in the step.",
        explanation="Adds one parameter for each output feature of an adapted linear module. Not possible with "
        "`lora_target_parameters`.",
        source="Liu et al. 2024, DoRA, arXiv 2402.09353",
        more=False,
        shown_when=has_adapter,
    )
    lora_model_dir: Annotated[
        str | None, Control("text", placeholder="./my-adapter"), InTools(llama_factory="adapter_name_or_path")
    ] = setting(
        None,
        label="Continue from adapter",
        help="A folder with a trained adapter to continue from; its adapter_config.json then decides, not the rank.",
        explanation="Axolotl loads the folder with PEFT and keeps the adapter trainable. Rank, alpha, targets and the "
        "other LoRA settings of this file are not looked at then.",
        source=_AXOLOTL,
        shown_when=has_adapter,
    )
    lora_rank_pattern: Annotated[
        PatternOfRanks, Control("mapping", placeholder="{q_proj: 64}"), InTools(peft="rank_pattern")
    ] = setting(
        FrozenMapping(),
        label="Rank by module",
        help="Another rank for the modules whose path ends with a name or matches a regex, as {q_proj: 64}.",
        explanation="A key is a regex that must match from a dot to the end of the module's path: `q_proj` and "
        "`layers.0.*q_proj` do, `proj` does not. The first matching key wins.",
        source=_PEFT,
        shown_when=has_adapter,
    )
    lora_alpha_pattern: Annotated[
        PatternOfAlphas, Control("mapping", placeholder="{q_proj: 32}"), InTools(peft="alpha_pattern")
    ] = setting(
        FrozenMapping(),
        label="Alpha by module",
        help="Another alpha for the modules whose path ends with a name or matches a regex, as {q_proj: 32}.",
        explanation="Keys work as in the rank pattern. Set both if the scale is to stay.",
        source=_PEFT,
        shown_when=has_adapter,
    )
    peft_init_lora_weights: Annotated[
        bool | str | None,
        Control(
            "choice",
            choices=("true", "gaussian", "eva", "olora", "pissa", "pissa_niter_16", "corda", "loftq", "orthogonal"),
            accepts_other=True,
        ),
        InTools(peft="init_lora_weights"),
    ] = setting(
        None,
        label="Start of A and B",
        help="How A and B start; as shipped B is zero, so that the first step sees the base model. Count unchanged.",
        explanation="Axolotl passes only a true value on: `false` ends up as PEFT's standard start as well.",
        source=_PEFT,
        shown_when=has_adapter,
    )
    loftq_bits: Annotated[
        WholeNumber | None, Field(ge=2, le=8), Control("choice", choices=("2", "4", "8")), InTools(peft="loftq_config")
    ] = setting(
        None,
        label="LoftQ bits",
        help="Starts A and B so that they make up for quantizing the base model to this many bits.",
        explanation="Any `peft.loftq_config` block turns LoftQ on; Axolotl's number of bits is then 4.",
        source="Li et al. 2023, LoftQ, arXiv 2310.08659",
        shown_when=has_adapter,
        key="peft.loftq_config.loftq_bits",
    )
    peft_autocast_adapter_dtype: Annotated[bool, Control("checkbox"), InTools(peft="autocast_adapter_dtype")] = setting(
        True,
        label="Adapter in float32",
        help="Keeps A and B in float32 over a half-precision base; off halves the adapter's bytes and its precision.",
        explanation="PEFT turns float16 and bfloat16 adapter weights into float32 when it builds them; gradients and "
        "optimizer states follow. With AdamW a trainable parameter then takes 16 bytes (weight 4, gradient "
        "4, states 8), in bfloat16 it takes 8.",
        source="PEFT 0.21, get_peft_model(autocast_adapter_dtype=)",
        shown_when=has_adapter,
    )
    lora_fp32_gradients: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="Gradients in float32",
        help="Holds the LoRA parameters, and so their gradients, in float32 even where the adapter would be bfloat16.",
        explanation="It matters where the adapter in float32 is off, which leaves the parameters in the precision of "
        "the base model. Only with adapter `lora` or `qlora`.",
        source=_AXOLOTL,
        shown_when=has_adapter,
    )
    lora_fan_in_fan_out: Annotated[bool, Control("checkbox"), InTools(peft="fan_in_fan_out")] = setting(
        False,
        label="Base weights stored (in, out)",
        help="Says that the base layer stores its weight as (in, out), as GPT-2's Conv1D does. It changes no count.",
        explanation="PEFT corrects a wrong value for the layer classes it knows, with a warning.",
        source=_PEFT,
        shown_when=has_adapter,
    )
    lora_on_cpu: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="Place the adapter on the CPU",
        help="Builds or merges the adapter in host memory, for cards too small to merge on.",
        explanation="That concerns loading, the conversion of the embeddings beside it, and merging. The training "
        "itself still runs on the card.",
        source=_AXOLOTL,
        shown_when=has_adapter,
    )
    nvfp4_merge_aware: Annotated[bool | None, Control("choice", choices=("true", "false"))] = setting(
        None,
        label="Train against the merged NVFP4 weights",
        help="For NVFP4 base models: trains the targets against the value they will have after merging.",
        explanation="Merging an adapter into NVFP4 weights quantizes the sum once more, and that can round away what "
        "was learned. With this on, training sees the sum as it will be after merging. Axolotl then does "
        "not turn the fused LoRA kernels on by itself.",
        source=_AXOLOTL,
        shown_when=has_adapter,
    )
