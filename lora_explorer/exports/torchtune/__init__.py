"""torchtune's YAML for its recipe lora_finetune_single_device, both ways."""

from lora_explorer.exports.torchtune.recipe import export_torchtune, read_torchtune

__all__ = ["export_torchtune", "read_torchtune"]
