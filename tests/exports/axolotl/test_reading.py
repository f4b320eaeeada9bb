"""An Axolotl file is read as Axolotl reads it, and what Axolotl would drop is told."""

from __future__ import annotations

import pytest

from lora_explorer.errors import InvalidSettings
from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.exports.axolotl.checking import findings_in
from lora_explorer.exports.axolotl.keys import known_keys
from lora_explorer.findings import Fix, errors_among

DATA = "datasets: [{path: x, type: alpaca}]\n"


def warnings_of(text: str) -> dict[str, str]:
    return {finding.setting: finding.message for finding in import_axolotl(text + DATA).findings}


def test_values_become_settings():
    recipe = import_axolotl("adapter: lora\nlora_r: 8\nlearning_rate: 2e-4\nlora_target_modules: [q_proj]\n").recipe
    assert (recipe.adapter, recipe.lora_r, recipe.learning_rate) == ("lora", 8, 0.0002)
    assert recipe.lora_target_modules == ("q_proj",)
    assert recipe.model_fields_set == {"adapter", "lora_r", "learning_rate", "lora_target_modules"}


def test_anchors_and_merge_keys_are_followed():
    text = "shared: &shared\n  lora_r: 8\n  lora_alpha: &alpha 16\n<<: *shared\nlora_alpha: 32\nseed: *alpha\n"
    recipe = import_axolotl(text).recipe
    assert (recipe.lora_r, recipe.lora_alpha, recipe.seed) == (8, 32, 16)


@pytest.mark.parametrize(
    ("block", "bits"),
    [
        ("peft:\n  loftq_config:\n    loftq_bits: 8\n", 8),
        ("peft:\n  loftq_config: {}\n", 4),
        ("peft:\n  loftq_config:\n", None),
        ("peft:\n", None),
    ],
)
def test_any_loftq_block_turns_loftq_on(block: str, bits: int | None):
    assert import_axolotl(block).recipe.loftq_bits == bits


@pytest.mark.parametrize(
    ("block", "place"), [("peft: 4\n", "peft"), ("peft: {loftq_config: [4]}\n", "peft.loftq_config")]
)
def test_a_block_that_is_none_is_told(block: str, place: str):
    with pytest.raises(InvalidSettings) as caught:
        import_axolotl(block)
    assert [finding.setting for finding in errors_among(caught.value.findings)] == [place]


def test_values_at_fault_are_told_together_with_dropped_keys():
    with pytest.raises(InvalidSettings) as caught:
        import_axolotl(DATA + "base_model: x\nlearning_rate: 0.1\nlora_r: 0\nlora_dropout: 7\nlora_rank: 8\n")
    assert [finding.setting for finding in caught.value.findings] == ["lora_r", "lora_dropout", "lora_rank"]
    assert [finding.severity for finding in caught.value.findings] == ["error", "error", "warning"]
    assert [finding.outcome for finding in caught.value.findings] == ["fails at load", "fails at load", "drops"]


def test_rules_between_the_other_settings_are_told_beside_a_value_out_of_bounds():
    with pytest.raises(InvalidSettings) as caught:
        import_axolotl(DATA + "base_model: x\nlearning_rate: 0.1\nadapter: qlora\nlora_r: -4\nlora_alpha: 1\n")
    told = {finding.setting: finding.outcome for finding in caught.value.findings}
    assert told == {"lora_r": "fails at load", "load_in_4bit": "rejects", "lora_target_modules": "fails at load"}


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ("tokens: <new>\n", "tokens", (("tokens", ("<new>",)),)),
        ("output_dir:\n", "output_dir", (("output_dir", None),)),
        ("wandb_project: 5\n", "wandb_project", (("wandb_project", "5"),)),
        ("lora_modules_to_save: lm_head\n", "lora_modules_to_save", (("lora_modules_to_save", ("lm_head",)),)),
        ("save_total_limit: many\n", "save_total_limit", ()),
        ("fsdp_config: {fsdp_offload_params: perhaps}\n", "fsdp_config", ()),
        ("datasets: [{path: x, shards: many}]\n", "datasets", ()),
    ],
)
def test_a_value_of_a_wrong_type_is_told_whatever_key_it_has(text: str, key: str, fix: Fix):
    told = [finding for finding in findings_in(text) if finding.setting == key and finding.outcome == "rejects"]
    assert [finding.fix for finding in told] == [fix]
    assert told[0].message.startswith(key)
    assert told[0].message.endswith(".")


def test_an_unknown_key_is_told_with_the_nearest_known_one():
    (finding,) = import_axolotl(DATA + "lora_alhpa: 16\n").findings
    assert (finding.setting, finding.severity, finding.suggestion) == ("lora_alhpa", "warning", "lora_alpha")
    assert "silently drops" in finding.message


def test_a_key_like_no_other_is_told_without_a_guess():
    (finding,) = import_axolotl(DATA + "zzz_qqq_xyz: 1\n").findings
    assert finding.suggestion is None


@pytest.mark.parametrize("key", ["lora_exclude_modules", "lora_bias", "lora_rank", "relora_steps", "lora_out_dir"])
def test_a_known_trap_is_told_with_its_reason(key: str):
    assert key not in known_keys().names
    message = warnings_of(f"{key}: 1\n")[key]
    assert message.startswith(f"Axolotl silently drops {key}: ")


def test_keys_that_axolotl_knows_are_left_alone():
    text = "datasets:\n  - path: x\n    type: alpaca\nwandb_project: p\nmodel_type: LlamaForCausalLM\n"
    assert import_axolotl(text).findings == ()


def test_keys_of_a_plugin_need_the_plugin():
    text = "liger_rope: true\n"
    assert "plugins lists axolotl.integrations.liger.LigerPlugin" in warnings_of(text)["liger_rope"]
    assert (
        "has no effect" not in warnings_of(text + "plugins: [axolotl.integrations.liger.LigerPlugin]\n")["liger_rope"]
    )


def test_unknown_keys_inside_a_block_are_told():
    assert set(warnings_of("peft: {use_dora: true, loftq_config: {loftq_bit: 4}}\n")) == {
        "peft.use_dora",
        "peft.loftq_config.loftq_bit",
    }


def test_an_empty_key_is_told_where_axolotl_needs_its_value():
    imported = import_axolotl(DATA + "sequence_len:\noptimizer:\nlora_model_dir:\nlora_dropout:\n")
    assert [finding.setting for finding in errors_among(imported.findings)] == ["sequence_len"]
    assert {finding.setting for finding in imported.findings} == {"sequence_len", "optimizer"}


def test_an_empty_bf16_is_off_and_an_absent_one_is_auto():
    assert import_axolotl("bf16:\n").recipe.bf16 is False
    assert import_axolotl("seed: 1\n").recipe.bf16 == "auto"


def test_keys_that_are_no_text_are_told():
    assert set(warnings_of("2: a\nyes: b\n2024-01-01: c\n")) == {"2", "True", "2024-01-01"}


def test_a_file_without_data_is_told():
    (finding,) = import_axolotl("lora_r: 8\n").findings
    assert (finding.setting, finding.severity) == ("datasets", "warning")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bfloat16: true", "write bf16: true"),
        ("liger_rms_norm: true\nplugins: [axolotl.integrations.liger.LigerPlugin]", "transformers' own layers"),
        ("tokens: [<new>]", "adds rows"),
        ("rl: dpo", "another objective"),
        ("overrides_of_model_config: {num_hidden_layers: 2}", "config.json"),
        ("embedding_lr: 0.0001", "to be in 32"),
        ("sdpa_varlen: false", "by a mask"),
        ("experts_implementation: scattermoe", "transformers' own layers"),
    ],
)
def test_keys_that_move_figures_without_being_settings_are_named(line: str, said: str) -> None:
    key = line.partition(":")[0]
    assert said in warnings_of(line + "\n")[key]


@pytest.mark.parametrize(
    "line", ["torch_compile: false", "sdpa_varlen: true", "sdpa_varlen:", "experts_implementation: grouped_mm"]
)
def test_such_a_key_that_is_off_or_as_usual_is_not_named(line: str) -> None:
    assert line.partition(":")[0] not in warnings_of(line + "\n")


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("lora_r: true", "changes"),
        ("lora_r: 0", "fails at load"),
        ("lora_r: 20000", None),
        ("lora_dropout: -0.1", "fails at load"),
        ("lora_dropout: 1", None),
        ("warmup_steps: {}", "rejects"),
        ("warmup_steps: ''", "rejects"),
        ("eager_attention: maybe", "warns"),
        ("learning_rate: true", "changes"),
    ],
)
def test_what_axolotl_makes_of_a_value_of_no_use_is_what_it_does(line: str, outcome: str | None) -> None:
    with pytest.raises(InvalidSettings) as refused:
        import_axolotl(f"base_model: x\ndatasets: [{{path: x}}]\n{line}\n")
    key = line.partition(":")[0]
    told = {finding.outcome for finding in refused.value.findings if finding.setting == key}
    assert told - {None} == {outcome} - {None}
    assert told
