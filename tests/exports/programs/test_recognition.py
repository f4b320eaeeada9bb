"""A file tells by its keys which program it belongs to; nothing of it is dropped without a word."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_recipes import CASES, recipe_on, tiny_skeleton
from recipe_values import PLAIN as PLAIN_VALUES

from lora_explorer.errors import ExplorerError, UnreadableYaml
from lora_explorer.exports.axolotl import export_axolotl, import_axolotl
from lora_explorer.exports.recognition import import_configuration, recognise
from lora_explorer.exports.tools import TOOLS, export_recipe
from lora_explorer.settings import SETTINGS, find_problems

READ = [name for name, tool in TOOLS.items() if tool.read]

# As people write them, with old names and keys that mean nothing here.
FILES = {
    "trl": "model_name_or_path: Qwen/Qwen2.5-0.5B\nuse_peft: true\nlora_r: 32\nlora_alpha: 16\n"
    "lora_target_modules: all-linear\nlearning_rate: 2.0e-4\neos_token: '<|im_end|>'\nlogging_steps: 25\n"
    "warmup_ratio: 0.1\n",
    "llama-factory": "stage: sft\nmodel_name_or_path: Qwen/Qwen2.5-7B\nfinetuning_type: lora\nlora_rank: 8\n"
    "lora_target: all\nquantization_bit: 4\ncutoff_len: 2048\ndataset: identity\nenable_liger_kernel: true\n",
    "torchtune": "model:\n  _component_: torchtune.models.llama3_1.qlora_llama3_1_8b\n  lora_attn_modules: [q_proj, "
    "v_proj, output_proj]\n  apply_lora_to_mlp: true\n  lora_rank: 8\n  lora_alpha: 16\noptimizer:\n"
    "  _component_: torch.optim.AdamW\n  fused: true\n  lr: 3e-4\nbatch_size: 2\nepochs: 1\n"
    "dtype: bf16\ncompile: true\n",
    "ms-swift": "model: Qwen/Qwen2.5-7B-Instruct\ntrain_type: lora\nlora_rank: 16\nlora_alpha: 32\n"
    "target_modules: all-linear\ntorch_dtype: bfloat16\nmax_length: 2048\nfreeze_vit: true\n",
    "mlx-lm": "model: mistralai/Mistral-7B-v0.1\ntrain: true\niters: 600\nbatch_size: 2\nnum_layers: 8\n"
    "lora_parameters:\n  keys: [self_attn.q_proj, self_attn.v_proj]\n  rank: 8\n  scale: 2.0\n  dropout: 0.0\n"
    "mask_prompt: false\ntrust_remote_code: true\n",
}
WANTED: dict[str, dict[str, Any]] = {
    "trl": {"adapter": "lora", "lora_r": 32, "lora_dropout": 0.05, "lora_target_modules": "all-linear",
            "gradient_checkpointing": True, "warmup_ratio": 0.1, "sequence_len": 1024, "num_epochs": 3,
            "micro_batch_size": 8},
    "llama-factory": {"adapter": "qlora", "load_in_4bit": True, "lora_alpha": 16, "lora_target_linear": True,
                      "gradient_checkpointing": True, "lr_scheduler": "linear", "learning_rate": 5e-5, "bf16": False},
    "torchtune": {"adapter": "qlora", "base_model": "meta-llama/Llama-3.1-8B", "learning_rate": 3e-4,
                  "lora_target_modules": ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
                  "optimizer": "adamw_torch_fused", "weight_decay": 0.01, "peft_autocast_adapter_dtype": False},
    "ms-swift": {"adapter": "lora", "lora_target_linear": True, "lora_dropout": 0.05, "weight_decay": 0.1,
                 "gradient_accumulation_steps": 16, "learning_rate": 1e-4},
    "mlx-lm": {"adapter": "lora", "lora_alpha": 16, "max_steps": 600, "optimizer": "adamw_torch",
               "lora_target_modules": ("self_attn.q_proj", "self_attn.v_proj"),
               "peft_layers_to_transform": tuple(range(24, 32))},
}  # fmt: skip
NAMED = {
    "trl": ("eos_token", "logging_steps", "float32"),
    "llama-factory": ("enable_liger_kernel", "dataset"),
    "torchtune": ("compile",),
    "ms-swift": ("freeze_vit", "adam_beta2"),
    "mlx-lm": ("trust_remote_code", "mask_prompt", "optimizer adam"),
}


@pytest.mark.parametrize("tool", FILES)
def test_a_file_as_people_write_it_is_read_with_the_programs_own_defaults(tool: str) -> None:
    values = yaml.safe_load(FILES[tool])
    assert recognise(values) is TOOLS[tool]
    imported = import_configuration(FILES[tool])
    assert {name: getattr(imported.recipe, name) for name in WANTED[tool]} == WANTED[tool]
    messages = " ".join(finding.message for finding in imported.findings)
    assert f"This is a file of {TOOLS[tool].title}" in messages
    for word in NAMED[tool]:
        assert word in messages


@pytest.mark.parametrize("tool", FILES)
def test_the_text_of_an_import_is_axolotls_and_means_the_same(tool: str) -> None:
    imported = import_configuration(FILES[tool])
    assert import_axolotl(imported.text).recipe == imported.recipe
    assert import_configuration(imported.text).recipe == imported.recipe


@pytest.mark.parametrize("tool", READ)
def test_what_is_written_is_recognised(tool: str) -> None:
    for values in CASES.values():
        recipe = recipe_on("meta-llama/Llama-3.1-8B", values)
        assert recognise(yaml.safe_load(export_recipe(recipe, tool, tiny_skeleton()).text)) is TOOLS[tool]


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("model: x/y\nlora_rank: 8\ntarget_modules: all-linear\nper_device_train_batch_size: 1\n", "ms-swift"),
        ("model: x/y\nlora_rank: 8\ntorch_dtype: bfloat16\nmax_length: 2048\n", "ms-swift"),
        ("model_name_or_path: x/y\nlora_rank: 8\ntemplate: qwen\nnum_train_epochs: 3\n", "llama-factory"),
        ("model_name_or_path: x/y\nper_device_train_batch_size: 2\n", "trl"),
        ("model: x/y\niters: 100\nbatch_size: 2\n", "mlx-lm"),
        ("lora_r: 8\nlora_target_modules: [q_proj]\nlearning_rate: 1e-4\n", "axolotl"),
        ("lora_r: 8\n", "axolotl"),
    ],
)
def test_few_keys_are_enough(text: str, tool: str) -> None:
    assert recognise(yaml.safe_load(text)) is TOOLS[tool]


def test_axolotls_files_are_axolotls_whatever_else_is_in_them() -> None:
    text = export_axolotl(recipe_on("gpt2", CASES["names"])) + "model_name_or_path: x\nlora_rank: 3\nuse_peft: true\n"
    assert import_configuration(text) == import_axolotl(text)
    assert import_configuration('{"base_model": "gpt2", "lora_r": 8}').recipe.lora_r == 8
    assert import_configuration("{lora_r: 8}").recipe.lora_r == 8


@pytest.mark.parametrize("text", ["foo: 1\nbar: 2\n", '{"foo": 1}', "a: {peft_type: LORA}"])
def test_a_file_of_nobody_gets_one_clear_sentence(text: str) -> None:
    with pytest.raises(UnreadableYaml, match="Nothing here reads these keys") as refused:
        import_configuration(text)
    assert len(refused.value.findings) == 1


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("finetuning_type: oft\nmodel_name_or_path: x\n", "adapter"),
        ("tuner_type: adalora\nmodel: x\n", "adapter"),
        ("quant_bits: 3\nquant_method: hqq\ntuner_type: lora\nmodel: x\n", "load_in_4bit"),
        ("fine_tune_type: vera\nmodel: x\n", "adapter"),
        ("model: {_component_: torchtune.models.llama3.llama3_8b}\n", "adapter"),
        ("model: {_component_: os.system}\n", "base_model"),
    ],
)
def test_what_is_no_lora_adapter_is_an_error(text: str, setting: str) -> None:
    errors = [finding.setting for finding in import_configuration(text).findings if finding.severity == "error"]
    assert setting in errors


JUNK = st.one_of(
    PLAIN_VALUES, st.none(), st.lists(PLAIN_VALUES, max_size=3), st.dictionaries(st.text(max_size=8), PLAIN_VALUES)
)


@pytest.mark.parametrize("tool", READ)
@settings(suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_value_of_any_key_is_a_traceback(tool: str, data: st.DataObject) -> None:
    recipe = recipe_on("meta-llama/Llama-3.1-8B", data.draw(st.sampled_from(list(CASES.values()))))
    values = yaml.safe_load(export_recipe(recipe, tool, tiny_skeleton()).text)
    for key in data.draw(st.lists(st.sampled_from(sorted(values)), max_size=4)):
        if isinstance(values[key], dict) and values[key] and data.draw(st.booleans()):
            key, block = data.draw(st.sampled_from(sorted(values[key]))), values[key]
            block[key] = data.draw(JUNK)
        else:
            values[key] = data.draw(JUNK)
    try:
        settings_read, _ = TOOLS[tool].read(values)
        imported = import_configuration(yaml.safe_dump(values, sort_keys=False))
    except ExplorerError as error:
        findings = error.findings
    else:
        findings = (*imported.findings, *find_problems(imported.recipe))
        assert settings_read.keys() <= SETTINGS.keys()
    assert all("\n" not in finding.message for finding in findings)
