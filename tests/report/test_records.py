"""Records are plain JSON that adds up."""

from __future__ import annotations

import json

import pytest

from lora_explorer.adapters import plan_adapter
from lora_explorer.adapters.result import AdapterPlan
from lora_explorer.base_models import find_base_model
from lora_explorer.base_models.skeleton import load_skeleton
from lora_explorer.findings import Finding
from lora_explorer.memory import CardFit, MemoryEstimate
from lora_explorer.report.records import count_record, estimate_record, finding_records
from lora_explorer.settings import recipe_from

ESTIMATE = MemoryEstimate(
    allocated_after_load_bytes=10,
    peak_forward_bytes=20,
    peak_backward_bytes=30,
    peak_optimizer_bytes=25,
    peak_allocated_bytes=30,
    peak_reserved_bytes=40,
    process_bytes=50,
    parts=(("base weights", 10), ("logits and loss", 20)),
    peak_phase="backward",
    peak_layer=None,
    assumptions=("One GPU.", ""),
    fits=(CardFit("Small", 45, False, -5), CardFit("Large", 60, True, 10)),
    method="By hand.",
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


def test_the_parts_of_an_estimate_add_up_to_the_peak():
    record = json.loads(json.dumps(estimate_record(ESTIMATE)))
    assert sum(record["parts"].values()) == record["peak_allocated_bytes"]
    assert record["assumptions"] == ["One GPU."]
    assert [fit["gpu"] for fit in record["fits"]] == ["Small", "Large"]


def test_one_card_can_be_asked_for_and_several_are_an_assumption():
    record = estimate_record(ESTIMATE, gpu="Large", n_gpus=4)
    assert record["fits"] == [{"gpu": "Large", "capacity_bytes": 60, "fits": True, "headroom_bytes": 10}]
    assert "4 GPUs" in record["assumptions"][-1]


def test_a_finding_is_a_record_of_its_four_words():
    assert finding_records([Finding("lora_r", "error", "No.", "8")]) == [
        {"setting": "lora_r", "severity": "error", "message": "No.", "suggestion": "8"}
    ]
