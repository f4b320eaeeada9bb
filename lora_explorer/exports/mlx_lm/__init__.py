"""MLX-LM's YAML for `mlx_lm.lora --config`, both ways."""

from lora_explorer.exports.mlx_lm.configuration import export_mlx_lm, read_mlx_lm

__all__ = ["export_mlx_lm", "read_mlx_lm"]
