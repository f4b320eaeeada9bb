"""What a program cannot be told is named, in the file where it takes comments, and for the page."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from program_recipes import CASES, NAMES, PLAIN, recipe_on, tiny_skeleton
from usable_recipes import usable_recipes

from lora_explorer.errors import ExportRefused, InvalidSettings
from lora_explorer.exports.axolotl import export_axolotl
from lora_explorer.exports.filled_in import filled_in
from lora_explorer.exports.tools import TOOLS, export_recipe
from lora_explorer.exports.trainer_arguments import wanted_adapter_dtype
from lora_explorer.exports.vocabulary import is_set
from lora_explorer.settings import SETTINGS, Recipe, recipe_from

OTHERS = [name for name in TOOLS if name != "axolotl"]
KERNELS = {"lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel"}
# Where a program does by itself what the setting asks for, or has one way only; each with its reason.
BY_ITSELF = {
    # A GPTQ checkpoint says so itself.
    **{tool: {"gptq"} for tool in OTHERS},
    # It picks its kernels and its attention itself.
    "unsloth": {"gptq", "attn_implementation", *KERNELS},
    "torchtune": {"gptq", "attn_implementation"},
    # Apple's GPUs: one attention, bfloat16, and a checkpointing of their own.
    "mlx-lm": {"gptq", "attn_implementation", "bf16", "gradient_checkpointing_kwargs"},
}


@pytest.mark.parametrize("tool", OTHERS)
@settings(suppress_health_check=list(HealthCheck))
@given(recipe=usable_recipes(), data=st.data())
def test_no_setting_is_dropped_in_silence(tool: str, recipe: Recipe, data: st.DataObject) -> None:
    """A setting that does something changes the file, or is named."""
    filled = filled_in(recipe)
    given_names = sorted(
        name
        for name in recipe.model_fields_set
        if is_set(SETTINGS[name], recipe)
        and SETTINGS[name].shown_when(filled)
        and name not in BY_ITSELF[tool]
        and matters(filled, filled_in(without(recipe, name)), name)
    )
    assume(given_names)
    name = data.draw(st.sampled_from(given_names))
    try:
        written, bare = export_recipe(recipe, tool), export_recipe(without(recipe, name), tool)
    except (ExportRefused, InvalidSettings):
        return
    named = {finding.setting for finding in written.unsaid}
    listed = any(SETTINGS[name].key in finding.message for finding in written.unsaid)
    assert written.text != bare.text or SETTINGS[name].key in named or listed, name


def matters(recipe: Recipe, bare: Recipe, name: str) -> bool:
    if name in ("peft_autocast_adapter_dtype", "lora_fp32_gradients"):
        return wanted_adapter_dtype(recipe) != wanted_adapter_dtype(bare)
    if name.startswith("warmup") and recipe.lr_scheduler == "constant":
        # transformers' constant schedule has no warm-up.
        return False
    # The plain and the fused AdamW are one where there is no CUDA.
    same = name == "optimizer" and recipe.optimizer == "adamw_torch"
    return bool(getattr(recipe, name) != getattr(bare, name)) and not same


def without(recipe: Recipe, name: str) -> Recipe:
    values = {other: getattr(recipe, other) for other in recipe.model_fields_set if other != name}
    return recipe_from(values)


@pytest.mark.parametrize(
    "tool", [name for name, tool in TOOLS.items() if tool.language != "json" and name != "axolotl"]
)
def test_what_is_unsaid_stands_in_the_file_too(tool: str) -> None:
    adapter = {"lora_rank_pattern": {"q_proj": 4}, "nvfp4_merge_aware": True, "optimizer": "came_pytorch"}
    recipe = recipe_on("meta-llama/Llama-3.1-8B", {**PLAIN, **NAMES, **adapter})
    written = export_recipe(recipe, tool, None)
    assert written.unsaid
    for finding in written.unsaid:
        assert f"# {finding.message}\n" in written.text
    settings_named = [finding.setting for finding in written.unsaid]
    assert len(settings_named) == len(set(settings_named))


def test_what_needs_no_word_is_not_named() -> None:
    plain = recipe_on("meta-llama/Llama-3.1-8B", CASES["names"])
    for tool in ("trl", "llama-factory", "ms-swift", "unsloth"):
        assert export_recipe(plain, tool).unsaid == ()
    assert export_recipe(plain.changed(lora_mlp_kernel=False, sdp_attention=False), "trl").unsaid == ()


def test_keys_that_are_no_settings_are_named_for_every_program_but_axolotl() -> None:
    recipe = recipe_on("meta-llama/Llama-3.1-8B", CASES["names"])
    original = export_axolotl(recipe) + "output_dir: ./out\nwandb_project: x\n"
    assert export_recipe(recipe, "axolotl", original=original).text == original
    [finding] = export_recipe(recipe, "trl", original=original).unsaid
    assert finding.message == "output_dir, wandb_project are no settings here and not in the file."


@pytest.mark.parametrize(
    ("tool", "more", "word"),
    [
        ("trl", {"load_in_4bit": True, "adapter": "qlora"}, "bfloat16, not in float32"),
        ("torchtune", {}, "bfloat16, not in float32"),
        ("torchtune", {"lora_target_modules": ["q_proj", "down_proj"]}, "together or none; down_proj is left out"),
        ("torchtune", {"fp16": True}, "does not train in float16"),
        ("torchtune", {"lr_scheduler": "linear"}, "cosine schedule alone"),
        ("llama-factory", {"lora_target_modules": ".*q_proj"}, "takes names only"),
        ("mlx-lm", {"optimizer": "adamw_bnb_8bit"}, "has no optimizer adamw_bnb_8bit"),
        ("mlx-lm", {"load_in_4bit": True, "adapter": "qlora"}, "convert the model to 4 bits"),
        ("mlx-lm", {}, "does not clip gradients"),
        ("unsloth", {"lora_target_modules": ["q_proj", "lm_head"]}, "trains lm_head in full"),
        ("ms-swift", {"sample_packing": True}, "packs with a flash attention kernel only"),
    ],
)
def test_what_a_program_does_otherwise_is_said(tool: str, more: dict[str, object], word: str) -> None:
    recipe = recipe_on("meta-llama/Llama-3.1-8B", {**PLAIN, **NAMES, **more})
    assert any(word in finding.message for finding in export_recipe(recipe, tool).unsaid)


def test_modules_that_mlx_cannot_reach_are_said() -> None:
    first = recipe_on("tiny", {**PLAIN, **NAMES, "peft_layers_to_transform": [0]})
    named = {finding.setting for finding in export_recipe(first, "mlx-lm", tiny_skeleton()).unsaid}
    assert {"lora_target_modules", "peft_layers_to_transform"} <= named


def test_torchtune_refuses_models_that_it_does_not_build() -> None:
    with pytest.raises(ExportRefused, match="torchtune has no builder for gpt2"):
        export_recipe(recipe_on("gpt2", CASES["names"]), "torchtune")


@pytest.mark.parametrize(
    ("tool", "word"),
    [
        ("llama-factory", "finetuning_type: full"),
        ("ms-swift", "tuner_type: full"),
        ("mlx-lm", "fine_tune_type: full"),
        ("unsloth", "full_finetuning=True"),
        ("trl", "optim: adamw_torch_fused"),
        ("peft-python", "AutoModelForCausalLM.from_pretrained("),
    ],
)
def test_without_an_adapter_everything_is_trained_there_too(tool: str, word: str) -> None:
    text = export_recipe(recipe_on("gpt2", {"learning_rate": 1e-4}), tool).text
    assert word in text
    assert not any(sign in text for sign in ("lora_r", "use_peft", "get_peft_model", "LoraConfig"))
