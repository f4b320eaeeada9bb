"""Which model is adapted, and in which precision its weights are held."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from lora_explorer.settings.declaration import Control, Group, InTools, Settings, has_adapter, setting
from lora_explorer.settings.values import FrozenMapping, Options

_AXOLOTL = "Axolotl 0.21, configuration schema"


def _four_bit(recipe: Any) -> bool:
    return bool(recipe.load_in_4bit)


class BaseModelSettings(Settings):
    group: ClassVar[Group] = Group.BASE_MODEL

    base_model: Annotated[
        str | None,
        Control("choice", accepts_other=True),
        InTools(
            peft="base_model_name_or_path",
            trl="model_name_or_path",
            llama_factory="model_name_or_path",
            ms_swift="model",
            mlx_lm="model",
        ),
    ] = setting(
        None,
        label="Base model",
        help="The model that is adapted: a preset, a Hub id, or a local folder. Only its config.json is read.",
        explanation="Counts and memory need the architecture, never the weights: number of layers, widths, heads and "
        "vocabulary, as its config.json says them.",
        source="transformers, model configurations",
        more=False,
    )
    load_in_4bit: Annotated[bool, Control("checkbox"), InTools(trl="load_in_4bit")] = setting(
        False,
        label="4-bit base weights",
        help="Holds the linear weights of the base model in 4 bits (QLoRA): about a quarter of the bfloat16 bytes.",
        explanation="Axolotl quantizes only together with `adapter: qlora`; with `adapter: lora` it silently does not.",
        source="Dettmers et al. 2023, QLoRA, arXiv 2305.14314",
        more=False,
        shown_when=has_adapter,
    )
    load_in_8bit: Annotated[bool, Control("checkbox"), InTools(trl="load_in_8bit")] = setting(
        False,
        label="8-bit base weights",
        help="Holds the linear weights of the base model in 8 bits: about half of the bfloat16 bytes.",
        explanation="Axolotl quantizes to 8 bits only together with `adapter: lora`.",
        source="Dettmers et al. 2022, LLM.int8(), arXiv 2208.07339",
        more=False,
        shown_when=has_adapter,
    )
    bnb_config_kwargs: Annotated[Options, Control("mapping", placeholder="{bnb_4bit_use_double_quant: false}")] = (
        setting(
            FrozenMapping(),
            label="4-bit options",
            help="Overrides bitsandbytes' 4-bit options; double quantization is on and saves about 0.4 bits a weight.",
            explanation="Axolotl starts from NF4, double quantization, bfloat16 storage and computing in the training "
            "dtype. A `blocksize` other than 64 is refused.",
            source="transformers, BitsAndBytesConfig",
            shown_when=_four_bit,
        )
    )
    nf4_backend: Annotated[
        Literal["bitsandbytes", "torchao"], Control("choice", choices=("bitsandbytes", "torchao"))
    ] = setting(
        "bitsandbytes",
        label="4-bit backend",
        help="Which library holds the 4-bit weights; torchao loads through the CPU.",
        explanation="`bitsandbytes` packs the weights as they come to the card. `torchao` stages the checkpoint in host"
        " memory, and takes only double quantization and blocks of 64; neither DoRA nor modules trained in "
        "full go with it.",
        source=_AXOLOTL,
        shown_when=_four_bit,
    )
    quantize_moe_experts: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="Quantize the experts too",
        help="Also quantizes the fused experts of a mixture-of-experts model, which bitsandbytes leaves as they are.",
        explanation="Needs 4- or 8-bit loading and excludes `lora_target_linear`.",
        source=_AXOLOTL,
        shown_when=lambda recipe: recipe.load_in_4bit or recipe.load_in_8bit,
    )
    gptq: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="GPTQ checkpoint",
        help="Says that the base model's checkpoint is already quantized with GPTQ; not possible with qlora.",
        explanation="Axolotl stops where the checkpoint turns out not to be GPTQ. Its packed weights stay as they are, "
        "and A and B are trained beside them.",
        source=_AXOLOTL,
    )
    model_quantization_config: Annotated[
        Literal["Mxfp4Config", "FineGrainedFP8Config"] | None,
        Control("choice", choices=("Mxfp4Config", "FineGrainedFP8Config")),
    ] = setting(
        None,
        label="Other quantization",
        help="Loads the base model with another quantization of transformers; excludes 4- and 8-bit loading.",
        explanation="`Mxfp4Config` holds weights as 4-bit floating point numbers with a scale for every 32 of them, "
        "`FineGrainedFP8Config` as 8-bit ones with a scale for every block of the matrix.",
        source=_AXOLOTL,
    )
    ple_cpu_offload: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="Huge embeddings in host memory",
        help="Keeps embedding tables that the model declares as offloadable in host memory instead of on the card.",
        explanation="Needs qlora with 4 bits or lora with 8 bits, and neither FSDP nor DeepSpeed.",
        source=_AXOLOTL,
        shown_when=lambda recipe: recipe.load_in_4bit or recipe.load_in_8bit,
    )
    qlora_sharded_model_loading: Annotated[bool | None, Control("choice", choices=("true", "false"))] = setting(
        None,
        label="Sharded 4-bit loading",
        help="Loads 4-bit weights shard by shard for FSDP; without FSDP Axolotl sets it to false with a warning.",
        explanation="Empty leaves it to Axolotl: true for 4-bit `qlora` under FSDP2 with cpu_ram_efficient_loading, "
        "false everywhere else. On one card it changes nothing.",
        source=_AXOLOTL,
        shown_when=_four_bit,
    )
    embeddings_skip_upcast: Annotated[bool | None, Control("choice", choices=("true", "false"))] = setting(
        None,
        label="Leave embeddings as they are",
        help="Spares the embeddings the copy to float32 that k-bit preparation makes: 2 bytes less for each weight.",
        explanation="PEFT's preparation for k-bit training turns what is not quantized into float32: embeddings, head "
        "and norms. On Llama-3-8B that is 2.1 GB. Empty leaves it to Axolotl's other settings.",
        source=_AXOLOTL,
        shown_when=lambda recipe: recipe.load_in_4bit or recipe.load_in_8bit,
    )
