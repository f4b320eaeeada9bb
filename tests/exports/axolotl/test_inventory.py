"""Every key of a file has its lines, and somebody who reads it or nobody."""

from __future__ import annotations

import pytest
import yaml

from lora_explorer import presets
from lora_explorer.exports.axolotl.inventory import keys_in
from lora_explorer.exports.axolotl.keys import known_keys
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.settings import SETTINGS

TEXT = """\
# a comment
base_model: some/model
datasets:
  - path: a
    type: alpaca

liger_rope: true
lora_rank: 8
peft:
  loftq_config:
    loftq_bits: 4
  other: 1
learning_rate: 1
"""


def keys() -> dict[str, tuple[int, int, str]]:
    return {key.key: (key.first_line, key.last_line, key.role) for key in keys_in(read_document(TEXT))}


def test_each_key_has_its_lines_and_who_reads_it() -> None:
    assert keys() == {
        "base_model": (2, 2, "setting"),
        "datasets": (3, 5, "read"),
        "liger_rope": (7, 7, "plugin"),
        "lora_rank": (8, 8, "not read"),
        "peft": (9, 12, "read"),
        "peft.loftq_config": (10, 11, "read"),
        "peft.loftq_config.loftq_bits": (11, 11, "setting"),
        "learning_rate": (13, 13, "setting"),
    }


def test_a_setting_means_what_its_help_says_and_a_plugin_is_named() -> None:
    found = {key.key: key for key in keys_in(read_document(TEXT))}
    assert found["base_model"].meaning == SETTINGS["base_model"].help
    assert found["liger_rope"].plugin == "axolotl.integrations.liger.LigerPlugin"
    assert found["datasets"].meaning.endswith(".")


@pytest.mark.parametrize(
    "text", ["{lora_r: 8, adapter: lora}", "a: &x {lora_r: 1}\n<<: *x\nlora_alpha: 2\n", "peft: 3\n"]
)
def test_any_layout_has_an_inventory(text: str) -> None:
    found = keys_in(read_document(text))
    assert found
    assert all(1 <= key.first_line <= key.last_line for key in found)
    assert "<<" not in {key.key for key in found}


def test_meanings_are_of_keys_that_axolotl_reads_and_that_are_no_settings() -> None:
    read = yaml.safe_load((presets.folder() / "axolotl_meanings.yml").read_text(encoding="utf-8"))["meanings"]
    settings = {setting.path[0] for setting in SETTINGS.values()}
    assert set(read) <= known_keys().top - settings
    assert all(meaning.endswith(".") and len(meaning) <= 110 for meaning in read.values())
