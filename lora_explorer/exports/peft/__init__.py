"""PEFT's own forms: the adapter_config.json beside an adapter, both ways, and Python."""

from lora_explorer.exports.peft.adapter_config import export_adapter_config, read_adapter_config
from lora_explorer.exports.peft.snippet import export_peft_python
from lora_explorer.exports.peft.source import find_adapter_config

__all__ = ["export_adapter_config", "export_peft_python", "find_adapter_config", "read_adapter_config"]
