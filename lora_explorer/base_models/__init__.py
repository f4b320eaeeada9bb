"""Where an architecture comes from, and its skeleton: the model on the meta device with an index of its modules.

Importing this package loads neither torch nor transformers; building a skeleton does.
"""

from lora_explorer.base_models.model_source import (
    Access,
    BaseModel,
    base_model_from_config,
    find_base_model,
)
from lora_explorer.base_models.preset import PresetModel, find_preset, preset_models

__all__ = [
    "Access",
    "BaseModel",
    "PresetModel",
    "base_model_from_config",
    "find_base_model",
    "find_preset",
    "preset_models",
]
