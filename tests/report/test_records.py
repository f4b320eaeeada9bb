"""Records are plain JSON that adds up."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lora_explorer.adapters import plan_adapter
from lora_explorer.adapters.result import AdapterPlan
from lora_explorer.base_models import find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.findings import Finding
from lora_explorer.memory import CardFit
from lora_explorer.memory.lower_bound import LowerBound
from lora_explorer.memory.savings import Saving
from lora_explorer.report.records import (
    count_record,
    estimate_record,
    finding_records,
    lower_bound_record,
    saving_records,
)
from lora_explorer.settings import recipe_from
from report.estimates import GIB, estimate

ESTIMATE = replace(
    estimate(), fits=(CardFit("Small", 45, False, -5, "does not fit"), CardFit("Large", 60, True, 10, "fits"))
)


@pytest.fixture(scope="module")
def plan() -> AdapterPlan:
    recipe = recipe_from(
        {
            "adapter": "lora",
            "lora_r": 4,
            "lora_alpha": 8,
            "lora_target_modules": ["c_attn"],
            "lora_modules_to_save": ["wpe"],
        }
    )
    return plan_adapter(recipe, load_skeleton(find_base_model("gpt2")))


def test_a_count_is_json_whose_modules_add_up(plan: AdapterPlan):
    record = json.loads(json.dumps(count_record(plan)))
    assert record["trainable_params"] == sum(module["trainable_params"] for module in record["modules"])
    assert record["trainable_percent"] == pytest.approx(100 * record["trainable_params"] / record["all_params"])
    assert set(record) == {
        "trainable_params",
        "all_params",
        "trainable_percent",
        "adapter_file_bytes",
        "modules",
        "coverage",
    }


def test_every_module_says_how_and_why_it_is_trained(plan: AdapterPlan):
    modules = count_record(plan)["modules"]
    adapted = next(module for module in modules if module["kind"] == "c_attn")
    assert {"path", "kind", "shape", "r", "alpha", "scaling", "trainable_params", "via"} <= set(adapted)
    assert (adapted["r"], adapted["alpha"], adapted["scaling"]) == (4, 8, 2.0)
    assert adapted["via"] == "lora_target_modules"
    saved = next(module for module in modules if module["kind"] == "wpe")
    assert (saved["r"], saved["via"]) == (None, "lora_modules_to_save")


def test_coverage_names_its_key_and_entry(plan: AdapterPlan):
    coverage = count_record(plan)["coverage"]
    assert {(entry["key"], entry["entry"], entry["matched"]) for entry in coverage} == {
        ("lora_target_modules", "c_attn", 12),
        ("lora_modules_to_save", "wpe", 1),
    }


def test_the_parts_of_an_estimate_add_up_to_the_peak_and_with_what_is_beyond_to_the_process():
    record = json.loads(json.dumps(estimate_record(ESTIMATE)))
    assert sum(record["parts"].values()) == record["peak_allocated_bytes"]
    assert sum([*record["parts"].values(), *record["beyond_peak"].values()]) == record["process_bytes"]
    assert record["assumptions"] == ["It is assumed."]
    assert [fit["gpu"] for fit in record["fits"]] == ["Small", "Large"]


def test_one_card_can_be_asked_for():
    record = estimate_record(ESTIMATE, gpu="Large")
    (fit,) = record["fits"]
    contract = {"gpu": "Large", "capacity_bytes": 60, "fits": True, "headroom_bytes": 10, "verdict": "fits"}
    assert fit.items() >= contract.items()


def test_a_card_that_is_too_small_says_where_the_run_ends():
    (fit,) = estimate_record(estimate(reserved_bytes=40 * GIB))["fits"]
    assert (fit["verdict"], fit["failed_in"]) == ("does not fit", "backward pass, layer 3 of 4")


def test_the_moment_of_the_peak_is_given_in_words_and_in_pieces():
    peak = estimate_record(ESTIMATE)["peak"]
    assert peak["words"] == "backward pass, output head and loss"
    assert (peak["phase"], peak["place"], peak["layer"]) == ("backward", "head", None)


def test_savings_are_json_with_every_setting_that_changes():
    saving = Saving("load_in_4bit", True, {"load_in_4bit": True, "adapter": "qlora"}, 100, 50)
    (record,) = json.loads(json.dumps(saving_records([saving])))
    assert record == {
        "setting": "load_in_4bit",
        "value": True,
        "changes": {"load_in_4bit": True, "adapter": "qlora"},
        "peak_reserved_bytes": 100,
        "saved_bytes": 50,
        "makes_fit": False,
    }


def test_a_lower_bound_is_never_called_by_the_name_of_an_estimate():
    bound = LowerBound(
        (("base weights", 10), ("optimizer states", 4), ("saved copies", 1), ("adapter", 2)), "loss", "Why."
    )
    record = json.loads(json.dumps(lower_bound_record(bound)))
    assert (record["lower_bound_bytes"], record["why"]) == (17, "Why.")
    assert record["lower_bound_parts"] == {"base weights": 10, "adapter": 3, "optimizer state": 4}
    assert not set(record) & set(estimate_record(ESTIMATE))


def test_a_finding_is_a_record_of_what_it_says():
    finding = Finding("lora_r", "error", "No.", "8", "rejects", "It is so.", (("lora_r", 8), ("peft.r", None)))
    assert json.loads(json.dumps(finding_records([finding]))) == [
        {
            "setting": "lora_r",
            "severity": "error",
            "message": "No.",
            "suggestion": "8",
            "outcome": "rejects",
            "why": "It is so.",
            "fix": [["lora_r", 8], ["peft.r", None]],
        }
    ]
