"""What is written means what the screen shows, and only what was changed changes."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recipe_values import TEXTS, VALUES, recipes

from lora_explorer.errors import InvalidSettings, UnreadableYaml
from lora_explorer.exports.axolotl import export_axolotl, import_axolotl
from lora_explorer.settings import SETTINGS, Recipe, recipe_from

ORIGINAL = """\
# My run.
base_model: "NousResearch/Meta-Llama-3-8B"   # the base

adapter: lora
lora_r:    32    # the rank
lora_alpha: &alpha 16
lora_dropout: 0.050
lora_target_modules:
    - q_proj   # query
    - v_proj
#   - k_proj
#   - o_proj
lora_model_dir:

my_own_key: {keep: 'me', alpha: *alpha}
learning_rate: 2e-4
bf16: true # Ampere
peft:
  # starts from the quantized weights
  loftq_config: {loftq_bits: 4}
datasets:
- path: x
  type: alpaca
"""


def exported(text: str, **changes: Any) -> str:
    """The text after a change of settings, checked to mean the change and to hold everything else."""
    before = import_axolotl(text).recipe
    values = {name: getattr(before, name) for name in before.model_fields_set} | changes
    wanted = recipe_from(values)
    result = export_axolotl(wanted, text)
    assert import_axolotl(result).recipe == wanted
    assert foreign(result) == foreign(text)
    return result


def foreign(text: str) -> dict[str, str]:
    """What is no setting."""
    keys = {setting.path[0] for setting in SETTINGS.values()}
    return {repr(key): repr(value) for key, value in yaml.safe_load(text).items() if key not in keys}


def changed_lines(text: str, **changes: Any) -> list[str]:
    lines = difflib.unified_diff(text.splitlines(), exported(text, **changes).splitlines(), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def test_an_untouched_import_comes_out_byte_for_byte():
    for text in (ORIGINAL, ORIGINAL.replace("\n", "\r\n"), "\ufeff" + ORIGINAL, ORIGINAL.rstrip(), "{lora_r: 8}"):
        assert export_axolotl(import_axolotl(text).recipe, text) == text


def test_a_changed_value_changes_its_own_line_and_keeps_the_comment():
    assert changed_lines(ORIGINAL, lora_r=64) == ["-lora_r:    32    # the rank", "+lora_r:    64    # the rank"]


def test_a_small_number_is_written_without_an_exponent():
    assert changed_lines(ORIGINAL, learning_rate=1e-5) == ["-learning_rate: 2e-4", "+learning_rate: 0.00001"]


def test_an_item_of_a_list_is_added_and_removed_on_its_own_line():
    assert changed_lines(ORIGINAL, lora_target_modules=["q_proj", "v_proj", "k_proj"]) == ["+    - k_proj"]
    assert changed_lines(ORIGINAL, lora_target_modules=["q_proj"]) == ["-    - v_proj"]


def test_comments_below_a_list_stay_when_the_list_goes():
    result = exported(ORIGINAL, lora_target_modules=None, lora_target_linear=True)
    assert "#   - k_proj\n#   - o_proj\n" in result
    assert "q_proj" not in result


def test_a_list_can_become_a_regex():
    assert "lora_target_modules: .*(q|v)_proj\n" in exported(ORIGINAL, lora_target_modules=".*(q|v)_proj")


def test_a_setting_that_is_unset_takes_its_line_along():
    assert changed_lines(ORIGINAL, lora_dropout=None) == ["-lora_dropout: 0.050"]


def test_a_comment_keeps_the_line_of_an_unset_setting():
    assert changed_lines(ORIGINAL, lora_r=None) == ["-lora_r:    32    # the rank", "+lora_r:    # the rank"]
    assert changed_lines(ORIGINAL, bf16=None) == ["-bf16: true # Ampere", "+bf16: auto # Ampere"]


def test_an_empty_key_is_filled_in_place():
    assert changed_lines(ORIGINAL, lora_model_dir="./a b") == ["-lora_model_dir:", "+lora_model_dir: ./a b"]


def test_an_alias_keeps_its_value_when_its_anchor_is_changed():
    assert "my_own_key: {keep: 'me', alpha: 16}\n" in exported(ORIGINAL, lora_alpha=64)


def test_a_nested_setting_changes_in_place_and_goes_with_its_block():
    assert changed_lines(ORIGINAL, loftq_bits=8)[-1] == "+  loftq_config: {loftq_bits: 8}"
    assert "peft" not in yaml.safe_load(exported(ORIGINAL, loftq_bits=None))


def test_a_new_key_is_put_where_axolotls_files_have_it():
    lines = exported(
        ORIGINAL, peft_use_dora=True, optimizer="adamw_torch", peft_layers_to_transform=[0, 1]
    ).splitlines()
    assert lines.index("peft_use_dora: true") == lines.index("lora_dropout: 0.050") + 1
    assert lines.index("optimizer: adamw_torch") == lines.index("learning_rate: 2e-4") - 1
    assert lines.index("peft_layers_to_transform: [0, 1]") == lines.index("#   - o_proj") + 1


def test_windows_line_ends_stay():
    result = exported(ORIGINAL.replace("\n", "\r\n"), lora_r=8, seed=3, lora_target_modules=["a", "b"])
    assert result.count("\n") == result.count("\r\n")


def test_a_merged_setting_is_overruled_and_not_changed_where_it_stands():
    text = "base: &base\n  lora_r: 8\n  seed: 1\n<<: *base\nadapter: lora\n"
    assert changed_lines(text, lora_r=16) == ["+lora_r: 16"]
    assert changed_lines(text, lora_r=None) == ["+lora_r: null"]


@pytest.mark.parametrize(
    "text",
    [
        "{lora_r: 8, seed: 1, mine: [a]}",
        "lora_r:",
        "lora_r: 8",
        "  lora_r: 8\n  seed: 1\n",
        "lora_r: 8\n...\n",
        "? lora_r\n: 8\n",
        "lora_r: |\n  8\nmine: 1\n",
        "lora_r: &a\nmine: *a\n",
        "mine: &a [x]\nlora_target_modules: *a\n",
        "lora_target_modules: &a\n  - x\nmine: *a\n",
        "lora_target_modules:\n- x\n- y\n",
        "lora_target_modules: # names\nmine: .nan\n",
        "lora_rank_pattern:\n  q: 1 # why\n  v: 2\nmine: 1\n",
        "'lora_r': 8 # quoted\n",
    ],
)
def test_every_layout_takes_every_change(text: str):
    exported(text, lora_r=16)
    exported(text, lora_r=None, seed=None)
    exported(text, lora_target_modules=["a", "b: c"], lora_rank_pattern={"k": 3}, loftq_bits=2)
    exported(text, lora_target_modules=None, lora_rank_pattern=None)
    exported(text, lora_target_modules="x # y", lora_rank_pattern={"q": 1})


def test_without_an_original_the_given_settings_are_written_in_the_order_of_the_page():
    recipe = recipe_from({"seed": 1, "lora_r": 8, "base_model": "gpt2", "bf16": True, "lora_dropout": 0.0})
    keys = [key for key in yaml.safe_load(export_axolotl(recipe)) if key != "datasets"]
    assert keys == ["base_model", "lora_r", "lora_dropout", "seed", "bf16"]


def test_a_fresh_file_has_data_because_axolotl_does_not_start_without():
    assert "datasets" in yaml.safe_load(export_axolotl(recipe_from({})))


@pytest.mark.parametrize("text", ["yes", "null", "2e-4", "1_000", "0x1f", "12:30", "", "a: b", "# x", "a\nb", "~", "3"])
def test_text_that_looks_like_something_else_stays_text(text: str):
    written = export_axolotl(recipe_from({"lora_model_dir": text, "lora_modules_to_save": [text]}))
    assert yaml.safe_load(written)["lora_model_dir"] == text
    assert yaml.safe_load(written)["lora_modules_to_save"] == [text]


def test_an_original_that_cannot_be_read_is_refused():
    with pytest.raises(UnreadableYaml):
        export_axolotl(recipe_from({}), "- a\n")
    with pytest.raises(InvalidSettings):
        export_axolotl(recipe_from({}), "lora_r: 0\n")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipes())
def test_a_fresh_export_means_the_same_recipe(recipe: Recipe):
    assert import_axolotl(export_axolotl(recipe)).recipe == recipe


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipes(), recipes(), st.dictionaries(TEXTS.map("x_{}".format), TEXTS, max_size=2))
def test_an_edited_file_means_the_new_recipe_and_keeps_what_is_no_setting(
    old: Recipe, new: Recipe, mine: dict[str, str]
):
    text = export_axolotl(old) + yaml.safe_dump(mine) * bool(mine)
    result = export_axolotl(new, text)
    assert import_axolotl(result).recipe == new
    assert foreign(result) == foreign(text)


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_every_setting_can_be_added_to_a_file_without_touching_another_line(name: str, data: st.DataObject):
    value = data.draw(VALUES[name])
    before = import_axolotl("adapter: lora # why\n\nmine: 1\n").recipe
    result = export_axolotl(before.changed(**{name: value}), "adapter: lora # why\n\nmine: 1\n")
    assert "mine: 1\n" in result
    assert name == "adapter" or "adapter: lora # why\n" in result
    assert import_axolotl(result).recipe == before.changed(**{name: value})
