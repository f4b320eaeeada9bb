"""Listed plugins: Axolotl's own under each of their spellings, and names that it cannot import."""

from __future__ import annotations

import pytest

from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.exports.axolotl.fixing import with_fix
from lora_explorer.findings import Finding

LIGER = "axolotl.integrations.liger.LigerPlugin"
FILE = "base_model: x\ndatasets: [{{path: x}}]\nliger_rope: true\nplugins:\n  - {plugin}\n"


def found(plugin: str) -> tuple[Finding, ...]:
    return import_axolotl(FILE.format(plugin=plugin)).findings


@pytest.mark.parametrize("plugin", [LIGER, "liger.LigerPlugin", "axolotl.integrations.liger:LigerPlugin"])
def test_a_plugin_is_known_under_each_name_that_axolotl_finds_it_by(plugin: str) -> None:
    assert [finding for finding in found(plugin) if finding.outcome] == []
    assert "liger_rope" in {finding.setting for finding in found(plugin)}


@pytest.mark.parametrize("plugin", ["LigerPlugin", "axolotl.integrations.ligerr.LigerPlugin", f"{LIGER[:-2]}ni"])
def test_a_name_that_axolotl_cannot_import_is_refused_and_put_right(plugin: str) -> None:
    (refused,) = (finding for finding in found(plugin) if finding.outcome == "rejects")
    assert refused.setting == "plugins"
    assert with_fix(FILE.format(plugin=plugin), refused.fix) == FILE.format(plugin=LIGER)


def test_a_name_like_none_is_refused_without_a_guess() -> None:
    (refused,) = (finding for finding in found("axolotl.integrations.zz.Zz") if finding.outcome == "rejects")
    assert refused.fix == ()


def test_somebody_elses_plugin_is_named_and_not_judged() -> None:
    (noted,) = (finding for finding in found("mine.Plugin") if finding.setting == "plugins")
    assert (noted.severity, noted.outcome) == ("note", None)
