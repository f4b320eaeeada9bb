"""The names a script can rely on, and that importing them costs nothing until they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

import lora_explorer

PUBLIC = {
    "SETTINGS",
    "TOOLS",
    "Access",
    "AdapterPlan",
    "AdapterRefused",
    "Advice",
    "BaseModel",
    "Card",
    "DataChoice",
    "ExplorerError",
    "ExportRefused",
    "Exported",
    "Finding",
    "Imported",
    "InvalidSettings",
    "MeasurementFailed",
    "MemoryEstimate",
    "MemoryUnknown",
    "Pinned",
    "Prediction",
    "PreviewRefused",
    "PreviewRequest",
    "Question",
    "Recipe",
    "Rows",
    "RunEstimate",
    "RunQueue",
    "SetRank",
    "Setting",
    "SharedState",
    "Situation",
    "Skeleton",
    "SpeedEstimate",
    "SpeedUnknown",
    "SweepRefused",
    "SwitchOff",
    "SwitchOn",
    "Tool",
    "UnknownAdapter",
    "UnknownBaseModel",
    "UnreadableLink",
    "UnreadableYaml",
    "__version__",
    "base_model_from_config",
    "cards",
    "count_effects",
    "count_record",
    "edit_map",
    "estimate_memory",
    "estimate_record",
    "estimate_run",
    "estimate_speed",
    "export_axolotl",
    "export_recipe",
    "find_adapter_config",
    "find_advice",
    "find_all_largest",
    "find_base_model",
    "find_card",
    "find_combination",
    "find_problems",
    "finding_records",
    "follow",
    "import_axolotl",
    "import_configuration",
    "inject_adapter",
    "load_skeleton",
    "offers_for",
    "plan_adapter",
    "plan_sweep",
    "predict",
    "preset_models",
    "price_of",
    "rank_advice",
    "read_permalink",
    "recipe_from",
    "run_sweep",
    "with_memory",
    "write_permalink",
}


def test_the_public_names_are_these():
    assert set(lora_explorer.__all__) == PUBLIC
    assert set(dir(lora_explorer)) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_can_be_had(name: str):
    assert getattr(lora_explorer, name) is not None


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        lora_explorer.no_such_name  # noqa: B018 - the access is what is tested


def test_every_error_is_an_explorer_error_with_findings():
    errors = (
        "InvalidSettings UnreadableYaml UnknownBaseModel AdapterRefused MemoryUnknown MeasurementFailed PreviewRefused "
        "ExportRefused UnknownAdapter SweepRefused UnreadableLink"
    )
    for name in errors.split():
        assert issubclass(getattr(lora_explorer, name), lora_explorer.ExplorerError)
    (finding,) = lora_explorer.UnreadableYaml("No.").findings
    assert (finding.message, finding.severity) == ("No.", "error")


def test_the_version_is_the_one_installed():
    assert lora_explorer.__version__ == metadata.version("lora-explorer")


LIGHT = """
import sys
import lora_explorer
recipe = lora_explorer.import_axolotl("adapter: lora").recipe
lora_explorer.find_problems(recipe), lora_explorer.export_axolotl(recipe), lora_explorer.preset_models()
lora_explorer.import_configuration(lora_explorer.export_recipe(recipe, "trl").text)
lora_explorer.cards(), lora_explorer.RunQueue, lora_explorer.PreviewRequest, lora_explorer.follow
lora_explorer.read_permalink(lora_explorer.write_permalink(lora_explorer.SharedState(recipe)).text)
lora_explorer.plan_sweep, lora_explorer.find_all_largest, lora_explorer.find_advice, lora_explorer.count_effects
import lora_explorer.cli
print(sorted({"torch", "transformers", "peft", "gradio", "plotly", "bitsandbytes"} & set(sys.modules)))
"""


def test_reading_checking_and_writing_load_neither_torch_nor_gradio():
    result = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


def test_the_way_from_a_file_to_the_count():
    text = "base_model: gpt2\nadapter: lora\nlora_r: 8\nlora_alpha: 8\nlora_target_modules: [c_attn]\n"
    recipe = lora_explorer.import_axolotl(text).recipe
    skeleton = lora_explorer.load_skeleton(lora_explorer.find_base_model(recipe.base_model))
    plan = lora_explorer.plan_adapter(recipe, skeleton)
    # c_attn is (768, 2304) in each of the 12 layers.
    assert plan.trainable_params == 12 * 8 * (768 + 2304)
