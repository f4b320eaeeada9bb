"""Any value under any key that Axolotl reads: findings, fixes and filled-in values are told, and nothing is raised."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_explorer.errors import UnreadableYaml
from lora_explorer.exports.axolotl.checking import findings_in
from lora_explorer.exports.axolotl.filled_in import filled_in
from lora_explorer.exports.axolotl.fixing import with_all_fixes, with_fix
from lora_explorer.exports.axolotl.published_schema import published_schema

SEARCHING = settings.get_current_profile_name() == "search"
PUBLISHED = published_schema()
KEYS = sorted({*PUBLISHED.keys, *PUBLISHED.plugin_of, "fsdp", "unsloth_rope", "lora_rank", "peft.loftq_config"})
WORDS = ("lora", "qlora", "auto", "true", "2", "kto", "dpo", "grpo", "ebft", "strided", "ternary", "steps", "x.y", "")
INSIDE = sorted(
    {name for block in PUBLISHED.blocks.values() for name in block.get("properties", ())} | {"fsdp_version"}
)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 9), st.floats(-1, 3, allow_nan=False), st.sampled_from(WORDS)
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*INSIDE, "x.y", 7, None]), inner, max_size=3)
    ),
    max_leaves=5,
)
LISTED = st.lists(st.sampled_from(sorted(PUBLISHED.plugins)), max_size=3)


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    values = draw(st.dictionaries(st.sampled_from(KEYS), NESTED, max_size=8))
    return {**values, **draw(st.sampled_from([{}, {"plugins": draw(LISTED)}]))}


@settings(max_examples=5000 if SEARCHING else 500, suppress_health_check=[HealthCheck.too_slow])
@given(values=files())
def test_odd_values_raise_nothing(values: dict[str, Any]) -> None:
    text = yaml.safe_dump(values, sort_keys=False)
    found = findings_in(text)
    assert all(finding.message.endswith((".", "?")) and finding.setting for finding in found)
    for finding in found:
        if finding.fix:
            with_fix(text, finding.fix)
    assert all(each.key and each.why.endswith(".") for each in filled_in(values))


@settings(max_examples=600 if SEARCHING else 60, suppress_health_check=[HealthCheck.too_slow])
@given(values=files())
def test_fixing_comes_to_an_end(values: dict[str, Any]) -> None:
    mended, fixed = with_all_fixes(yaml.safe_dump(values, sort_keys=False))
    assert len(fixed) < 100
    try:
        left = findings_in(mended)
    except UnreadableYaml:
        left = ()
    assert {finding.fix for finding in left if finding.fix} <= {finding.fix for finding in fixed}
