"""What is adapted: which modules, which layers, and what is trained in full beside them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from lora_explorer.settings.declaration import Control, Group, InTools, Settings, has_adapter, setting
from lora_explorer.settings.values import Indices, IndicesByName, LayerRange, Names

_PEFT = "PEFT 0.21, LoraConfig"
_AXOLOTL = "Axolotl 0.21, adapter loader"


class TargetSettings(Settings):
    group: ClassVar[Group] = Group.TARGETS

    lora_target_linear: Annotated[bool, Control("checkbox")] = setting(
        False,
        label="All linear modules",
        help="Adapts every linear module by its name, without the output head. With a list below, both are adapted.",
        explanation="Axolotl collects the last part of the path of every linear module and matches these names in the "
        "whole model. Fused experts of a mixture-of-experts model are not linear modules and need "
        "`lora_target_parameters`. GPT-2 has none at all: its layers are Conv1D.",
        source=_AXOLOTL,
        more=False,
        shown_when=has_adapter,
    )
    lora_target_modules: Annotated[
        str | Names | None,
        Control("names", placeholder="q_proj, or regex: .*self_attn\\.(q|v)_proj", accepts_other=True),
        InTools(peft="target_modules"),
    ] = setting(
        None,
        label="Target modules",
        help="Names of modules to adapt; a name matches every path that ends with it. A single string is a regex.",
        explanation="A list holds name endings such as `q_proj` or `self_attn.q_proj`; a regex inside a list matches "
        "nothing. One string is a regex that must match the whole path, or `all-linear`. Together with all linear "
        "modules the result is the union, and a string then loses its meaning.",
        source=_PEFT,
        more=False,
        shown_when=has_adapter,
    )
    lora_modules_to_save: Annotated[
        Names,
        Control("names", accepts_other=True),
        InTools(peft="modules_to_save", trl="lora_modules_to_save", ms_swift="modules_to_save"),
    ] = setting(
        (),
        label="Train in full",
        help="Modules trained and saved as whole copies; for added tokens embed_tokens and lm_head on Llama.",
        explanation="Costs every weight of the module, its gradient and its optimizer states. A new pad token alone"
        " does not need it. Two tied matrices named together count twice unless tying is ensured.",
        source=_PEFT,
        more=False,
        shown_when=has_adapter,
    )
    lora_target_parameters: Annotated[
        str | Names | None,
        Control("names", placeholder="mlp.experts.gate_up_proj", accepts_other=True),
        InTools(peft="target_parameters", trl="lora_target_parameters", ms_swift="target_parameters"),
    ] = setting(
        None,
        label="Target parameters",
        help="Adapts parameters that are no modules, such as the fused experts: rank × experts × (in + out) each.",
        explanation="Endings of parameter paths, always as a list. Dropout must be 0, DoRA is not possible, and the "
        "layer list is not looked at.",
        source=_PEFT,
        shown_when=has_adapter,
    )
    peft_layers_to_transform: Annotated[
        Indices, Control("names", placeholder="0, 1, 2 or 0-15"), InTools(peft="layers_to_transform")
    ] = setting(
        (),
        label="Layers",
        help="Adapts only these layers, counted from 0; empty means all. Not possible with a regex as target.",
        explanation="PEFT takes the first number in a module's path for its layer and leaves out modules without one. "
        "`lora_target_parameters` does not look at this list. A layer that the model does not have is "
        "passed over, unless none is left.",
        source=_PEFT,
        shown_when=has_adapter,
    )
    peft_layers_pattern: Annotated[
        Names, Control("names", placeholder="layers", accepts_other=True), InTools(peft="layers_pattern")
    ] = setting(
        (),
        label="Name of the layer list",
        help="The name before the layer's number in the path, where it is not found by itself; needs a list of layers.",
        explanation="Without it the first number in a path is the layer, with it only a number right behind this name. "
        "That helps where other lists, such as the layers of a vision tower, have numbers too.",
        source=_PEFT,
        shown_when=lambda recipe: has_adapter(recipe) and bool(recipe.peft_layers_to_transform),
    )
    peft_layer_replication: Annotated[
        tuple[LayerRange, ...], Control("text", placeholder="[[0, 16], [8, 32]]"), InTools(peft="layer_replication")
    ] = setting(
        (),
        label="Layer replication",
        help="Builds a deeper model from ranges of layers, sharing their weights; each copy gets its own adapter.",
        explanation="A range [a, b] holds the layers a to b−1.",
        source=_PEFT,
        shown_when=has_adapter,
    )
    peft_trainable_token_indices: Annotated[
        Indices | IndicesByName | None,
        Control("text", placeholder="[128002, 128003]"),
        InTools(peft="trainable_token_indices"),
    ] = setting(
        None,
        label="Trainable token rows",
        help="Trains only these rows of the embedding: hidden size parameters each, instead of the whole matrix.",
        explanation="A list means `embed_tokens`; a mapping names the modules, as {embed_tokens: [1, 2], lm_head: [1]}."
        " A tied head follows for free.",
        source=_PEFT,
        shown_when=has_adapter,
    )
    peft_ensure_weight_tying: Annotated[bool, Control("checkbox"), InTools(peft="ensure_weight_tying")] = setting(
        False,
        label="Keep tied weights tied",
        help="Keeps the trained copies of a tied embedding and head one and the same, so that they count once.",
        explanation="Many small models use one matrix for embedding and head. Named together in `lora_modules_to_save` "
        "each gets a copy of its own, which doubles the parameters and lets the two part; on, they stay "
        "one. Adapters on both are tied as well.",
        source=_PEFT,
        shown_when=has_adapter,
    )
