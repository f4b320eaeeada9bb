"""Verdicts, filled-in values and counts, held against the real release of Axolotl.

Our verdict is that Axolotl rejects a file if a finding says so; an error that Axolotl accepts and then fails on is
accepted here too, as is what only we refuse. Skipped only where the package registry cannot be reached.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from axolotl_environment import RegistryUnreachable, ask, examples, python_for
from broken_files import BROKEN_FILES, FINE_FILE, HELD_FILES
from broken_settings import BROKEN_SETTINGS, CUT
from counted_pairs import ENDED, PAIRS, Pair
from generated_files import BASE, LORA, generated
from test_file_rules import as_file

from lora_explorer import presets
from lora_explorer.adapters import plan_adapter
from lora_explorer.base_models import base_model_from_config
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.exports.axolotl import checking as ours
from lora_explorer.exports.axolotl import import_axolotl
from lora_explorer.exports.axolotl.filled_in import filled_in
from lora_explorer.exports.axolotl.fixing import with_all_fixes, with_fix
from lora_explorer.exports.axolotl.following import FOLLOWS
from lora_explorer.exports.axolotl.rules import FILE_RULES
from lora_explorer.exports.axolotl.types import as_typed
from lora_explorer.exports.axolotl.values_read import without_old_prefix
from lora_explorer.findings import Finding
from lora_explorer.settings import SETTINGS, errors_among
from lora_explorer.settings.rules import RULES, Rule

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from axolotl_schema import PRESET, as_text, facts_of, published_by

GENERATED = 800
LLAMA = {**BASE, **LORA, "lora_dropout": 0.05}


@dataclass(frozen=True)
class Difference:
    """Where our verdict differs from Axolotl's, and why it should. example: one that must still differ."""

    name: str
    reason: str
    example: dict[str, Any]
    holds: Callable[[Mapping[str, Any]], object]


DIFFERENCES = (
    Difference(
        "merge_lora in a file",
        "merge_lora is what the command merge-lora sets for itself; a file that is to be trained needs load_in_4bit.",
        {**BASE, **LORA, "adapter": "qlora", "merge_lora": True},
        lambda values: values.get("adapter") == "qlora" and values.get("merge_lora"),
    ),
    Difference(
        "two things wrong with lora_dropout",
        "It is out of bounds, and not 0 beside lora_target_parameters: the first is told, the second after it.",
        {**BASE, **LORA, "adapter": "lora", "lora_dropout": 7, "lora_target_parameters": ["mlp.experts.down_proj"]},
        lambda values: values.get("lora_target_parameters") and values.get("lora_dropout") == 7,
    ),
    Difference(
        "an empty text as attention",
        "Axolotl takes it beside gemma4_hybrid_attn_impl only, which is no setting; as a setting it is refused.",
        {**BASE, "attn_implementation": "", "gemma4_hybrid_attn_impl": True},
        lambda values: values.get("attn_implementation") == "" and values.get("gemma4_hybrid_attn_impl"),
    ),
    Difference(
        "an empty text as base model",
        "Axolotl's schema takes it, and there is no model to load; it is told as what it is, a missing base_model.",
        {**BASE, "base_model": ""},
        lambda values: values.get("base_model") == "",
    ),
    Difference(
        "a plugin that rewrites the file",
        "The diffusion plugin mends old spellings before anything is checked; diffusion models are not covered here.",
        {
            **BASE,
            "plugins": ["axolotl.integrations.diffusion.DiffusionPlugin"],
            "diffusion": {"mask_token_id": 1},
            "warmup_steps": 0.1,
        },
        lambda values: any("diffusion" in str(plugin) for plugin in values.get("plugins") or ()),
    ),
)

REJECTING: tuple[Rule[Any], ...] = tuple(rule for rule in (*RULES, *FILE_RULES) if rule.outcome == "rejects")

# What the reference says of Axolotl's verdicts, by running it: name, values, accepted.
TABLE: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("lora on 8 bits", {**LLAMA, "adapter": "lora", "load_in_8bit": True}, True),
    ("lora", {**LLAMA, "adapter": "lora"}, True),
    ("qlora", {**LLAMA, "adapter": "qlora", "load_in_4bit": True}, True),
    ("qlora without 4 bits", {**LLAMA, "adapter": "qlora"}, False),
    ("4 bits without an adapter", {**BASE, "load_in_4bit": True}, False),
    ("a kernel on 8 bits", {**LLAMA, "adapter": "lora", "load_in_8bit": True, "lora_mlp_kernel": True}, False),
    (
        "dropout on target parameters",
        {**LLAMA, "adapter": "lora", "lora_target_parameters": ["mlp.experts.down_proj"]},
        False,
    ),
    ("a pattern of layers alone", {**LLAMA, "adapter": "lora", "peft_layers_pattern": ["layers"]}, False),
    (
        "a broken regex in a list",
        {**LLAMA, "adapter": "lora", "lora_target_linear": None, "lora_target_modules": ["q_proj("]},
        False,
    ),
    ("half a rank", {**LLAMA, "adapter": "lora", "lora_r": 0.5}, False),
    ("adapter dora", {**LLAMA, "adapter": "dora"}, False),
    ("no rank", {**LLAMA, "adapter": "lora", "lora_r": None}, True),
    ("rank -4 and dropout 7", {**LLAMA, "adapter": "lora", "lora_r": -4, "lora_dropout": 7}, True),
    (
        "two dropped keys",
        {**LLAMA, "adapter": "lora", "lora_rank": 64, "lora_exclude_modules": ["down_proj"]},
        True,
    ),
    ("alpha 16.5", {**LLAMA, "adapter": "lora", "lora_alpha": 16.5}, False),
    ("alpha 16.0", {**LLAMA, "adapter": "lora", "lora_alpha": 16.0}, True),
    ("one layer that is no list", {**LLAMA, "adapter": "lora", "peft_layers_to_transform": 3}, False),
    ("modules to save as text", {**LLAMA, "adapter": "lora", "lora_modules_to_save": "lm_head"}, False),
    ("rank 0 for a module", {**LLAMA, "adapter": "lora", "lora_rank_pattern": {"q_proj": 0}}, False),
    ("three layers in a range", {**LLAMA, "adapter": "lora", "peft_layer_replication": [[0, 1, 2]]}, False),
    ("a start nobody knows", {**LLAMA, "adapter": "lora", "peft_init_lora_weights": "foo"}, True),
    ("a broken regex as text", {**LLAMA, "adapter": "lora", "lora_target_modules": "q_proj("}, True),
    ("a rank of true", {**LLAMA, "adapter": "lora", "lora_r": True}, True),
    ("a start in quotes", {**LLAMA, "adapter": "lora", "peft_init_lora_weights": "true"}, True),
    ("an old flag that is a number", {**LLAMA, "adapter": "lora", "eager_attention": 2}, True),
    ("warm-up steps that are empty text", {**LLAMA, "adapter": "lora", "warmup_steps": ""}, False),
    ("a plugin without its path", {**LLAMA, "adapter": "lora", "plugins": ["LigerPlugin"]}, False),
    (
        "a plugin that is not there",
        {**LLAMA, "adapter": "lora", "plugins": ["axolotl.integrations.no.NoPlugin"]},
        False,
    ),
    ("several cards for each matrix", {**LLAMA, "adapter": "lora", "tensor_parallel_size": 2}, True),
    ("lora with 4 bits", {**LLAMA, "adapter": "lora", "load_in_4bit": True}, True),
)


@cache
def findings_in(text: str) -> tuple[Finding, ...]:
    return ours.findings_in(text)


def accepts(text: str) -> bool:
    """Our verdict."""
    return ours.accepted_by_axolotl(findings_in(text))


def text_of(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False)


def _there(kind: str) -> None:
    try:
        python_for(kind)
        examples()
    except RegistryUnreachable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def checking() -> Callable[[list[str]], list[dict[str, Any]]]:
    """Axolotl's verdicts on texts."""
    _there("checking")
    return lambda texts: ask("checking", "verdicts", ({"text": text} for text in texts))


@pytest.fixture(scope="session")
def judged(checking: Callable[[list[str]], list[dict[str, Any]]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every file of all sources by a name of its own: its text, and Axolotl's verdict."""
    texts = dict(_files())
    return {
        name: (text, answer) for (name, text), answer in zip(texts.items(), checking([*texts.values()]), strict=True)
    }


def _files() -> Iterator[tuple[str, str]]:
    folder = examples()
    for file in sorted(folder.rglob("*.y*ml")):
        yield f"example {file.relative_to(folder)}", file.read_text(encoding="utf-8")
    for file in sorted((presets.folder() / "recipes").glob("*.yml")):
        yield f"recipe {file.stem}", file.read_text(encoding="utf-8")
    yield from ((f"table {name}", text_of(values)) for name, values, _ in TABLE)
    yield from ((f"difference {each.name}", text_of(each.example)) for each in DIFFERENCES)
    yield from ((f"generated {number}", text) for number, text in enumerate(generated(GENERATED)))
    yield from ((f"rule {number}", text_of(FINE_FILE | added)) for number, added in enumerate(_broken()))
    yield from ((f"held {number}", text_of(FINE_FILE | added)) for number, added in enumerate(HELD_FILES))
    yield "fine", text_of(FINE_FILE)


def _broken() -> list[dict[str, Any]]:
    return [*(added for added, _, _ in BROKEN_FILES), *(as_file(added) for added, _, _ in BROKEN_SETTINGS)]


def _agrees(text: str, answer: Mapping[str, Any]) -> bool:
    return accepts(text) == answer["accepted"]


def _difference(text: str) -> Difference | None:
    values = yaml.safe_load(text)
    return next((each for each in DIFFERENCES if each.holds(values)), None)


def test_every_file_gets_axolotls_verdict(judged: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    unexplained = [
        (name, answer["accepted"], answer["errors"])
        for name, (text, answer) in judged.items()
        if not _agrees(text, answer) and _difference(text) is None
    ]
    assert unexplained == []


def test_a_listed_difference_still_is_one(judged: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    assert [each.name for each in DIFFERENCES if _agrees(*judged[f"difference {each.name}"])] == []
    assert all(_difference(text_of(each.example)) is each for each in DIFFERENCES)


def test_the_files_are_many_and_of_both_kinds(judged: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    kinds: dict[str, list[bool]] = {}
    for name, (_, answer) in judged.items():
        kinds.setdefault(name.split()[0], []).append(answer["accepted"])
    with_adapter = [name for name, (text, _) in judged.items() if name.startswith("example") and "\nadapter:" in text]
    assert len(with_adapter) >= 200
    assert all(kinds["recipe"])
    assert min(sum(kinds["generated"]), GENERATED - sum(kinds["generated"])) > 300


@pytest.mark.parametrize(("name", "values", "accepted"), TABLE, ids=[name for name, _, _ in TABLE])
def test_the_table_says_what_axolotl_says(
    judged: Mapping[str, tuple[str, dict[str, Any]]], name: str, values: dict[str, Any], accepted: bool
) -> None:
    assert judged[f"table {name}"][1]["accepted"] == accepted


def test_every_rule_is_met_on_both_sides(judged: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    """Broken in a file that Axolotl rejects; held in one that it accepts and that has the rule's key."""
    broken, held = set(), set()
    for text, answer in judged.values():
        told = {(finding.setting, finding.message) for finding in findings_in(text)}
        values = yaml.safe_load(text)
        for rule in REJECTING:
            start = rule.message.partition("{")[0]
            if any(setting == rule.setting and message.startswith(start) for setting, message in told):
                broken.update([rule] if not answer["accepted"] else [])
            elif answer["accepted"] and rule.setting.partition(".")[0] in values:
                held.add(rule)
    assert [rule.message for rule in REJECTING if rule not in broken] == []
    assert [rule.setting for rule in REJECTING if rule not in held] == []


def test_a_fix_is_what_makes_the_difference(
    judged: Mapping[str, tuple[str, dict[str, Any]]], checking: Callable[[list[str]], list[dict[str, Any]]]
) -> None:
    """Rejected with one rule broken, accepted as soon as that rule's own fix is in."""
    mended = {}
    for name, (text, answer) in judged.items():
        refusing = [finding for finding in findings_in(text) if finding.outcome == "rejects"]
        if not answer["accepted"] and len(refusing) == 1 and refusing[0].fix:
            mended[name] = with_fix(text, refusing[0].fix)
    answers = zip(mended, checking([*mended.values()]), strict=True)
    # A fix may bring up the next reason, as a new adapter does that needs other weights.
    wrong = [name for name, answer in answers if not _agrees(mended[name], answer) and not _difference(mended[name])]
    assert wrong == []
    assert sum(accepts(text) for text in mended.values()) > 0.9 * len(mended) > 100


def test_a_file_with_all_its_fixes_is_accepted_unless_an_error_is_left(
    judged: Mapping[str, tuple[str, dict[str, Any]]], checking: Callable[[list[str]], list[dict[str, Any]]]
) -> None:
    mended = {
        name: with_all_fixes(text)[0]
        for name, (text, answer) in judged.items()
        if not answer["accepted"] and _difference(text) is None and not name.endswith(("1", "2", "3", "4", "5", "6"))
    }
    answers = dict(zip(mended, checking([*mended.values()]), strict=True))
    fine = {name for name, text in mended.items() if not errors_among(findings_in(text))}
    accepted = {name for name in fine if accepts(mended[name])}
    assert [(name, answers[name]["errors"]) for name in accepted if not answers[name]["accepted"]] == []
    assert len(accepted) > len(mended) / 2


def test_what_warns_here_warns_there(judged: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    usual = set(judged["fine"][1]["warnings"])
    silent = [
        added
        for number, added in enumerate(_broken())
        if {"warns"} == {finding.outcome for finding in findings_in(judged[f"rule {number}"][0])}
        and not set(judged[f"rule {number}"][1]["warnings"]) - usual
    ]
    assert silent == []


def test_a_dropped_key_is_not_there_afterwards(judged: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    for name, (text, answer) in judged.items():
        dropped = [each.setting for each in findings_in(text) if "silently drops" in each.message]
        assert [key for key in dropped if _at(answer["values"], key) is not None] == [], name


def test_filled_in_values_are_those_of_the_release(judged: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    wrong = [
        (name, each.key, each.value, _at(answer["values"], each.key))
        for name, (text, answer) in judged.items()
        if answer["accepted"]
        for each in filled_in(yaml.safe_load(text))
        if _at(answer["values"], each.key) != each.value
    ]
    assert wrong == []


# Defaults without an effect, and values that depend on the machine or only move to another key.
_NOT_SHOWN = {
    "context_parallel_size": "1 means that nothing is shared",
    "dataset_num_proc": "as many as the machine has cores",
    "type_of_model": "the name that model_type has inside",
    "nf4_backend": "shown with 4-bit weights",
    "loraplus_lr_embedding": "shown with LoRA+",
    "lora_dropout": "shown with an adapter",
    **dict.fromkeys(
        (
            "xformers_attention",
            "sage_attention",
            "flex_attention",
            "flash_attention",
            "sdp_attention",
            "eager_attention",
        ),
        "gone once attn_implementation is there",
    ),
}


def test_nothing_that_is_filled_in_is_left_out(judged: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    keys = {*(setting.key for setting in SETTINGS.values()), *(each.key for each in FOLLOWS)} - set(_NOT_SHOWN)
    silent = []
    for name, (text, answer) in judged.items():
        if not answer["accepted"] or "DiffusionPlugin" in text:
            continue
        values = yaml.safe_load(text)
        written, said = as_typed(without_old_prefix(values)), {each.key for each in filled_in(values)}
        for key in {key for key in keys - said if not any(each.startswith(f"{key}.") for each in said)}:
            before, after = _at(written, key), _at(answer["values"], key)
            if before != after and (before, after) not in ((None, False), (False, None)):
                silent.append((name, key, before, after))
    assert silent == []


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def test_the_preset_says_what_the_installed_release_says() -> None:
    _there("checking")
    assert PRESET.read_text(encoding="utf-8") == as_text(facts_of(published_by(python_for("checking"))))


@pytest.fixture(scope="session")
def trained(judged: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str | Pair, dict[str, Any]]:
    """What Axolotl with all that it trains with says of pairs, and of some of the files; all in one process."""
    _there("counting")
    pairs = (*PAIRS, *ENDED)
    names = [name for name in judged if name.startswith(("recipe", "table", "generated", "rule"))][::3]
    # What these need is not installed, which Axolotl finds out by itself.
    names = [name for name in names if not any(word in judged[name][0] for word in (CUT, "fp8", "mistral_common"))]
    counted = [{"text": pair.text, "config": pair.config} for pair in pairs]
    answers = ask("counting", "counts", [*counted, *({"text": judged[name][0]} for name in names)])
    return dict(zip((*pairs, *names), answers, strict=True))


def test_stand_ins_make_no_difference(
    judged: Mapping[str, tuple[str, dict[str, Any]]], trained: Mapping[str | Pair, dict[str, Any]]
) -> None:
    """With torch, transformers and PEFT for real, verdicts and values are the same."""
    names = [name for name in trained if isinstance(name, str)]
    assert len(names) > 200
    for name in names:
        assert _comparable(trained[name]) == _comparable(judged[name][1]), name


def _comparable(answer: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Without the path of a file that Axolotl writes, which is another each time."""
    return answer["accepted"], {key: value for key, value in answer["values"].items() if key != "deepspeed"}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.model.rpartition('/')[2]}-{pair.settings}")
def test_a_count_is_that_of_axolotls_own_loader(trained: Mapping[str | Pair, dict[str, Any]], pair: Pair) -> None:
    skeleton = load_skeleton(base_model_from_config(json.dumps(pair.config), pair.model))
    plan = plan_adapter(import_axolotl(pair.text).recipe, skeleton)
    assert trained[pair] == {"accepted": True, "trainable_params": plan.trainable_params}


@pytest.mark.parametrize("pair", ENDED, ids=lambda pair: f"{pair.model.rpartition('/')[2]}-{pair.settings}")
def test_what_fails_at_load_is_accepted_before_and_fails_there(
    trained: Mapping[str | Pair, dict[str, Any]], pair: Pair
) -> None:
    assert {finding.outcome for finding in errors_among(findings_in(pair.text))} <= {"fails at load"}
    assert trained[pair]["accepted"]
    assert trained[pair]["error"]
