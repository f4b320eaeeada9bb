"""A fix changes its own lines and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lora_explorer.errors import UnreadableYaml
from lora_explorer.exports.axolotl.fixing import with_all_fixes, with_fix
from lora_explorer.findings import Fix

TEXT = """\
# kept
base_model: some/model  # kept too
lora_rank: 64
adapter: lora
load_in_4bit: true
fsdp:
  - full_shard
peft: {loftq_config: {loftq_bits: 4}}
"""


@pytest.mark.parametrize(
    ("fix", "changes"),
    [
        ((("adapter", "qlora"),), {"adapter": "qlora"}),
        ((("lora_rank", None), ("lora_r", 64)), {"lora_rank": None, "lora_r": 64}),
        ((("fsdp", None),), {"fsdp": None}),
        (
            (("lora_modules_to_save", ("embed_tokens", "lm_head")),),
            {"lora_modules_to_save": ["embed_tokens", "lm_head"]},
        ),
        ((("peft.loftq_config.loftq_bits", 8),), {"peft": {"loftq_config": {"loftq_bits": 8}}}),
        ((("fsdp_config.fsdp_version", 2),), {"fsdp_config": {"fsdp_version": 2}}),
        ((("absent", None),), {}),
    ],
)
def test_the_values_are_those_wanted_and_comments_stay(fix: Fix, changes: dict[str, Any]) -> None:
    mended = with_fix(TEXT, fix)
    wanted = {**yaml.safe_load(TEXT), **changes}
    assert yaml.safe_load(mended) == {key: value for key, value in wanted.items() if value is not None}
    assert "# kept\n" in mended
    assert "# kept too\n" in mended
    untouched = [line for line in TEXT.splitlines() if line.split(":")[0] not in changes and not line.startswith(" ")]
    assert [line for line in untouched if line not in mended.splitlines()] == []


def test_a_key_that_goes_leaves_the_comment_behind_it() -> None:
    text = "lora_rank: 64 # mine\nadapter: lora # its\n"
    assert with_fix(text, (("lora_rank", None), ("lora_r", 64))) == "# mine\nadapter: lora # its\nlora_r: 64\n"


def test_a_key_that_comes_in_its_place_stands_above_that_comment() -> None:
    text = "base_model: x\n\nflash_attention: true # why\n\ncontext_parallel_size: 2\n"
    mended = with_fix(text, (("flash_attention", None), ("attn_implementation", "flash_attention_2")))
    new = "attn_implementation: flash_attention_2\n# why"
    assert mended == text.replace("flash_attention: true # why", new)


def test_names_with_rows_are_written_as_a_mapping_of_lists() -> None:
    mended = with_fix(TEXT, (("peft_trainable_token_indices", {"embed_tokens": (1, 2)}),))
    assert yaml.safe_load(mended)["peft_trainable_token_indices"] == {"embed_tokens": [1, 2]}
    assert "# kept too\n" in mended


@pytest.mark.parametrize("text", ["{}", "{}  # nothing yet\n", "# nothing yet\n{}\n"])
def test_a_fix_is_written_into_empty_braces(text: str) -> None:
    mended = with_fix(text, (("lora_r", 8), ("lora_target_modules", ("q_proj",))))
    assert yaml.safe_load(mended) == {"lora_r": 8, "lora_target_modules": ["q_proj"]}
    assert mended.count("# nothing yet") == text.count("# nothing yet")


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(UnreadableYaml):
        with_fix("- a\n", (("lora_r", 8),))


def test_a_misspelt_key_beside_the_right_one_stays_unless_both_say_the_same() -> None:
    other = "base_model: x\nlora_dropout: 0.1\nlora_dropuot: 0.2\n"
    assert with_all_fixes(other)[0].count("lora_dropuot: 0.2\n") == 1
    same = with_all_fixes(other.replace("0.2", "0.1"))[0]
    assert (same.count("lora_dropout: 0.1\n"), "lora_dropuot" in same) == (1, False)
