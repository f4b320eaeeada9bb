"""Rules over a file's values: what Axolotl does with it is told at the key, and a fix takes the reason away."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from broken_files import BROKEN_FILES, FINE_FILE
from broken_settings import BROKEN_SETTINGS

from lora_explorer.exports.axolotl.checking import accepted_by_axolotl, findings_in
from lora_explorer.exports.axolotl.fixing import with_all_fixes, with_fix
from lora_explorer.exports.axolotl.rules import FILE_RULES


def as_file(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe's values under their keys, LoftQ inside its blocks."""
    values = {name: value for name, value in recipe.items() if name != "loftq_bits"}
    return values | ({"peft": {"loftq_config": {"loftq_bits": recipe["loftq_bits"]}}} if "loftq_bits" in recipe else {})


BROKEN = [*BROKEN_FILES, *((as_file(added), key, "") for added, key, _ in BROKEN_SETTINGS)]
IDS = [f"{number}-{key}" for number, (_, key, _) in enumerate(BROKEN)]


def text_of(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False)


def test_a_fine_file_has_no_findings() -> None:
    assert findings_in(text_of(FINE_FILE)) == ()


@pytest.mark.parametrize(("added", "key", "outcome"), BROKEN_FILES, ids=IDS[: len(BROKEN_FILES)])
def test_a_broken_rule_is_told_at_its_key(added: dict[str, Any], key: str, outcome: str) -> None:
    found = findings_in(text_of(FINE_FILE | added))
    told = [finding for finding in found if (finding.setting, finding.outcome) == (key, outcome)]
    assert len(told) == 1, found
    assert told[0].message.endswith(".")
    assert "{" not in told[0].message
    assert accepted_by_axolotl(found) == (outcome != "rejects")


def test_every_rule_is_broken_by_an_example() -> None:
    told = {finding.message for added, _, _ in BROKEN_FILES for finding in findings_in(text_of(FINE_FILE | added))}
    assert [rule.message for rule in FILE_RULES if "{" not in rule.message and rule.message not in told] == []


@pytest.mark.parametrize(("added", "key", "outcome"), BROKEN, ids=IDS)
def test_a_fix_takes_its_finding_away(added: dict[str, Any], key: str, outcome: str) -> None:
    text = text_of(FINE_FILE | added)
    for finding in findings_in(text):
        if finding.fix:
            assert finding.message not in {each.message for each in findings_in(with_fix(text, finding.fix))}


@pytest.mark.parametrize(("added", "key", "outcome"), BROKEN, ids=IDS)
def test_all_fixes_together_leave_none_to_make(added: dict[str, Any], key: str, outcome: str) -> None:
    mended, fixed = with_all_fixes(text_of(FINE_FILE | added))
    assert [finding.fix for finding in findings_in(mended) if finding.fix] == []
    assert len({finding.fix for finding in fixed}) == len(fixed)
