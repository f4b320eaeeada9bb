"""Whatever a file holds: no traceback, no waiting, and nothing of it lost.

`make test` runs 500 documents; `make search` 20,000 new ones.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import yaml
from fuzzed_documents import TEXT_OF_ANY_KIND
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from recipe_values import VALUES

from lora_explorer.errors import InvalidSettings, UnreadableYaml
from lora_explorer.exports.axolotl import export_axolotl, import_axolotl
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.settings import SETTINGS, Recipe

SEARCHING = settings.get_current_profile_name() == "search"
DOCUMENTS = 20_000 if SEARCHING else 500
LONGEST_MS = 2000


def foreign(text: str) -> dict[str, str]:
    """What is no setting; repr, because two values that are not a number are never equal."""
    keys = {setting.path[0] for setting in SETTINGS.values()}
    return {repr(key): repr(value) for key, value in yaml.safe_load(text).items() if key not in keys}


def comment_lines(text: str) -> Counter[str]:
    """Comments on lines of their own; what looks like one inside a text of several lines is none."""
    scalars = [(node.start, node.end) for node in read_document(text).root.walk() if node.kind == "scalar"]
    found = (match for match in re.finditer(r"(?m)(?:^|(?<=\r))[ \ufeff]*(#[^\r\n]*)", text))
    return Counter(
        match.group(1)
        for match in found
        if not any(start <= match.start(1) < end for start, end in scalars if end - start > 1)
    )


def opened(text: str) -> tuple[Recipe | None, list[str]]:
    """The recipe, or every sentence about why there is none."""
    try:
        return import_axolotl(text).recipe, []
    except (UnreadableYaml, InvalidSettings) as error:
        return None, [finding.message for finding in error.findings]


def changed(recipe: Recipe, name: str, value: Any) -> Recipe | None:
    try:
        return recipe.changed(**{name: value})
    except InvalidSettings:
        return None


@settings(
    max_examples=DOCUMENTS,
    deadline=LONGEST_MS,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(TEXT_OF_ANY_KIND, st.data())
def test_any_text_is_refused_in_a_sentence_or_comes_back_whole(text: str, data: st.DataObject) -> None:
    recipe, sentences = opened(text)
    assert all(sentence.endswith((".", "?")) for sentence in sentences)
    if recipe is None:
        return
    assert export_axolotl(recipe, text) == text
    # The values are built from events that were read once, as PyYAML builds them.
    assert repr(read_document(text).values) == repr(yaml.safe_load(text))
    name = data.draw(st.sampled_from(sorted(VALUES)))
    wanted = changed(recipe, name, data.draw(VALUES[name]))
    assume(wanted is not None)
    assert wanted is not None
    result = export_axolotl(wanted, text, comments=data.draw(st.booleans()))
    assert import_axolotl(result).recipe == wanted
    assert foreign(result) == foreign(text)
    assert not comment_lines(text) - comment_lines(result)


# Where the time of an edit could grow faster than the text.
LARGE = {
    "unknown keys": "".join(f"lora_unknown_{number}: 1\n" for number in range(8000)),
    "items": "lora_target_modules:\n" + "".join(f"- module_{number}\n" for number in range(9000)),
    "equal items": "lora_target_modules:\n" + "- q_proj\n" * 9000,
    "anchors": "lora_rank_pattern:\n" + "".join(f"  q{number}: &a{number} 8\n" for number in range(4000)),
    "aliases": "lora_alpha: &a 16\nmine:\n" + "- *a\n" * 9000,
    "comments": "# a\n" * 50_000 + "lora_r: 8\n" + "# b\n" * 10_000,
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE.keys())
def test_a_large_file_is_read_and_changed_in_two_seconds(text: str) -> None:
    times = [time.process_time()]
    recipe = import_axolotl(text).recipe
    times.append(time.process_time())
    names = recipe.lora_target_modules or ("v_proj",)
    wanted = recipe.changed(
        lora_alpha=3, lora_r=4, lora_rank_pattern={"k": 3}, lora_target_modules=[*names[:50], "o", *names[52:]]
    )
    times.append(time.process_time())
    result = export_axolotl(wanted, text)
    times.append(time.process_time())
    assert max(later - earlier for earlier, later in pairwise(times)) < LONGEST_MS / 1000
    assert import_axolotl(result).recipe == wanted
    assert not comment_lines(text) - comment_lines(result)
