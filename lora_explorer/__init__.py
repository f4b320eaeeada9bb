"""See what a LoRA configuration trains and needs.

    import lora_explorer as lx

    imported = lx.import_axolotl(open("my.yml").read())
    skeleton = lx.load_skeleton(lx.find_base_model(imported.recipe.base_model))
    plan = lx.plan_adapter(imported.recipe, skeleton)
    print(plan.trainable_params, plan.all_params)

Names are loaded at their first use: `import lora_explorer` loads neither torch nor gradio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_explorer.adapters import AdapterPlan, inject_adapter, plan_adapter
    from lora_explorer.base_models import Access, BaseModel, base_model_from_config, find_base_model, preset_models
    from lora_explorer.base_models.skeleton import Skeleton, load_skeleton
    from lora_explorer.errors import (
        AdapterRefused,
        ExplorerError,
        ExportRefused,
        InvalidSettings,
        MeasurementFailed,
        MemoryUnknown,
        PreviewRefused,
        SpeedUnknown,
        SweepRefused,
        UnknownAdapter,
        UnknownBaseModel,
        UnreadableLink,
        UnreadableYaml,
    )
    from lora_explorer.exploration.advice import Advice, Situation, find_advice, find_combination, rank_advice
    from lora_explorer.exploration.card_offers import offers_for
    from lora_explorer.exploration.effects import count_effects, with_memory
    from lora_explorer.exploration.layer_map import SetRank, SwitchOff, SwitchOn, edit_map
    from lora_explorer.exploration.permalink import Pinned, SharedState, read_permalink, write_permalink
    from lora_explorer.exploration.prediction import Prediction, Question, predict
    from lora_explorer.exploration.search import find_all_largest
    from lora_explorer.exploration.sweep import plan_sweep, run_sweep
    from lora_explorer.exports.axolotl import Imported, export_axolotl, import_axolotl
    from lora_explorer.exports.exported import Exported
    from lora_explorer.exports.peft import find_adapter_config
    from lora_explorer.exports.recognition import import_configuration
    from lora_explorer.exports.tools import TOOLS, Tool, export_recipe
    from lora_explorer.findings import Finding
    from lora_explorer.memory import MemoryEstimate, estimate_memory
    from lora_explorer.memory.cards import Card, cards, find_card
    from lora_explorer.preview.following import follow
    from lora_explorer.preview.request import DataChoice, PreviewRequest
    from lora_explorer.preview.supervision.queue import RunQueue
    from lora_explorer.report.records import count_record, estimate_record, finding_records
    from lora_explorer.settings import SETTINGS, Recipe, Setting, find_problems, recipe_from
    from lora_explorer.speed import Rows, RunEstimate, SpeedEstimate, estimate_run, estimate_speed, price_of

__version__ = "0.1.0"

_MODULE_OF = {
    name: module
    for module, names in {
        "adapters": "AdapterPlan inject_adapter plan_adapter",
        "base_models": "Access BaseModel base_model_from_config find_base_model preset_models",
        "base_models.skeleton": "Skeleton load_skeleton",
        "errors": "AdapterRefused ExplorerError ExportRefused InvalidSettings MeasurementFailed MemoryUnknown "
        "PreviewRefused SpeedUnknown SweepRefused UnknownAdapter UnknownBaseModel UnreadableLink UnreadableYaml",
        "exploration.advice": "Advice Situation find_advice find_combination rank_advice",
        "exploration.card_offers": "offers_for",
        "exploration.effects": "count_effects with_memory",
        "exploration.layer_map": "SetRank SwitchOff SwitchOn edit_map",
        "exploration.permalink": "Pinned SharedState read_permalink write_permalink",
        "exploration.prediction": "Prediction Question predict",
        "exploration.search": "find_all_largest",
        "exploration.sweep": "plan_sweep run_sweep",
        "exports.axolotl": "Imported export_axolotl import_axolotl",
        "exports.exported": "Exported",
        "exports.peft": "find_adapter_config",
        "exports.recognition": "import_configuration",
        "exports.tools": "TOOLS Tool export_recipe",
        "findings": "Finding",
        "memory": "Card MemoryEstimate cards estimate_memory find_card",
        "preview.following": "follow",
        "preview.supervision.queue": "RunQueue",
        "preview.request": "DataChoice PreviewRequest",
        "report.records": "count_record estimate_record finding_records",
        "settings": "SETTINGS Recipe Setting find_problems recipe_from",
        "speed": "Rows RunEstimate SpeedEstimate estimate_run estimate_speed price_of",
    }.items()
    for name in names.split()
}

__all__ = [
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
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULE_OF[name]}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
