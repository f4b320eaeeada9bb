"""Every setting changes its own lines only, whatever a file looks like."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lora_explorer.errors import InvalidSettings
from lora_explorer.exports.axolotl import export_axolotl, import_axolotl
from lora_explorer.settings import SETTINGS

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import axolotl_files

# The usual one: every group of settings, with comments in all places.
USUAL = """\
# A run of ours; what a file says at its head stays there.
# It has two lines.
base_model: "NousResearch/Meta-Llama-3-8B"   # the base
model_type: LlamaForCausalLM

load_in_8bit: false
load_in_4bit:   true  # with qlora

datasets:
  - path: ours/rows   # two columns
    type: alpaca
  # - path: ours/more
dataset_prepared_path:
val_set_size: 0.05
output_dir: ./out

adapter: qlora
lora_model_dir:
sequence_len: 2048
sample_packing: true

# the width
lora_r: 32
lora_alpha: &alpha 16
lora_dropout: 0.050
lora_target_modules:
  # attention first
  - q_proj   # query
  - 'v_proj'
#  - gate_proj
#  - up_proj
lora_rank_pattern:
  q_proj: 64  # wider
  "v_proj": 8
own_key: {alpha: *alpha, "keep": [me]}

gradient_accumulation_steps: 4
micro_batch_size: 2
optimizer: paged_adamw_32bit
learning_rate: 2e-4

bf16: auto
gradient_checkpointing: true
gradient_checkpointing_kwargs:
  use_reentrant: false   # faster
peft:
  # starts close to the quantized weights
  loftq_config: {loftq_bits: 4}
plugins:
- axolotl.integrations.liger.LigerPlugin

note: |
  # no comment
  lora_r: 1
special_tokens:
  pad_token: <|endoftext|>
"""
LAYOUTS = {
    "usual": USUAL,
    "windows": USUAL.replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + USUAL,
    "open end": USUAL.rstrip(),
    "document marks": "%YAML 1.1\n--- # ours\n" + USUAL + "...\n",
    "wide": USUAL.replace("    type", "        type").replace("  - ", "      - "),
    "blank lines": USUAL.replace("\n", "\n\n").replace("|\n\n  # no comment\n", "|\n  # no comment\n"),
    "tabs in comments": USUAL.replace("# ", "#\t"),
    "unicode": USUAL.replace("own_key", "größe").replace("# the width", "# 幅 — 😀"),
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_an_untouched_file_comes_back_as_it_was(text: str) -> None:
    assert export_axolotl(import_axolotl(text).recipe, text) == text


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_setting_changes_its_own_lines_only(text: str, tmp_path: Path) -> None:
    file = tmp_path / "ours.yml"
    file.write_bytes(text.encode("utf-8"))
    result = axolotl_files.tried(file)
    assert (result.refused, result.whole) == ("", True)
    assert [change for change in result.changes if change.odd] == []
    assert {change.setting for change in result.changes} == set(SETTINGS)


def test_what_belongs_to_another_key_is_found_odd() -> None:
    """The script that measures real files would see a fault."""
    before = "lora_r: 8 # why\n# mine\nother: 1\n"
    wanted = import_axolotl(before).recipe.changed(lora_r=16)
    odd = {
        text: axolotl_files.what_is_odd(before, text, wanted, "lora_r")[0]
        for text in (
            "lora_r: 16 # why\n# mine\nother: 1\n",
            "lora_r: 16\n# mine\nother: 1\n",
            "lora_r: 16 # why\nother: 1\n",
            "lora_r: 16 # why\n# mine\nother:  1\n",
            "lora_r: 8 # why\n# mine\nother: 1\n",
            "lora_r: [\n",
        )
    }
    assert [bool(found) for found in odd.values()] == [False, True, True, True, True, True]


def test_new_keys_are_explained_where_that_is_wanted() -> None:
    text = "adapter: lora # why\nlora_r: 8\n"
    recipe = import_axolotl(text).recipe.changed(lora_alpha=16, lora_r=4, seed=1)
    explained = export_axolotl(recipe, text, comments=True).splitlines()
    assert explained[:2] == ["adapter: lora # why", "lora_r: 4"]
    assert explained[explained.index("lora_alpha: 16") - 1] == f"# {SETTINGS['lora_alpha'].help}"
    assert explained[explained.index("seed: 1") - 1] == f"# {SETTINGS['seed'].help}"
    assert export_axolotl(recipe, text).splitlines() == [line for line in explained if not line.startswith("# ")]
    fresh = export_axolotl(recipe, comments=True)
    assert f"# {SETTINGS['lora_r'].help}\nlora_r: 4\n" in fresh
    assert import_axolotl(fresh).recipe == recipe


@pytest.mark.parametrize(
    ("text", "name", "value", "result"),
    [
        ('base_model: "a"\n', "base_model", 'b "c" \\', 'base_model: "b \\"c\\" \\\\"\n'),
        ("base_model: 'a'\n", "base_model", "it's", "base_model: 'it''s'\n"),
        ("{lora_r: 8, mine: 1}", "lora_alpha", 4, "{lora_r: 8, lora_alpha: 4, mine: 1}"),
        ("{mine: 1, lora_r: 8}", "lora_alpha", 4, "{mine: 1, lora_r: 8, lora_alpha: 4}"),
        ("# only\nlora_r: 8\n# last", "lora_r", None, "# only\nlora_r: null\n# last"),
        ("lora_r: &r 8\nmine: [*r]\n", "lora_r", 4, "lora_r: 4\nmine: [8]\n"),
        (
            "lora_target_modules: &names\n  - a\nmine: *names\n# last\n",
            "lora_target_modules",
            ["a", "b"],
            "lora_target_modules: &names\n  - a\n  - b\nmine: [a]\n# last\n",
        ),
        ("# the base\nbase_model: a\n# rank\nlora_r: 8\n", "adapter", "lora", None),
    ],
)
def test_the_way_something_is_written_stays(text: str, name: str, value: object, result: str | None) -> None:
    written = export_axolotl(import_axolotl(text).recipe.changed(**{name: value}), text)
    assert written == (result or text.replace("# rank", "adapter: lora\n# rank"))


def test_several_changes_at_once_are_each_where_they_belong() -> None:
    recipe = import_axolotl(USUAL).recipe.changed(
        lora_r=8, lora_alpha=8, lora_target_linear=True, lora_target_modules=None, seed=3, peft_use_dora=True
    )
    result = export_axolotl(recipe, USUAL)
    assert import_axolotl(result).recipe == recipe
    gone, come = axolotl_files.changed_lines(USUAL, result)
    owners = {owner for owner, _ in (*gone, *come)}
    assert owners == {"lora_r", "lora_alpha", "lora_target_linear", "lora_target_modules", "seed", "peft_use_dora"} | {
        "own_key"
    }


def test_a_share_where_steps_belong_can_be_read_and_is_refused_by_a_rule() -> None:
    from lora_explorer.settings import find_problems

    recipe = import_axolotl("warmup_steps: 0.1\n").recipe
    assert [finding.severity for finding in find_problems(recipe) if finding.setting == "warmup_steps"] == ["error"]
    assert export_axolotl(recipe, "warmup_steps: 0.1\n") == "warmup_steps: 0.1\n"
    with pytest.raises(InvalidSettings):
        import_axolotl("warmup_steps: soon\n")
