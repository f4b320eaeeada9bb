"""A file's values under the names and with the types that Axolotl's validators find them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lora_explorer.exports.axolotl.old_spellings import without_prefix
from lora_explorer.exports.axolotl.rules import REMOVED_KEYS
from lora_explorer.exports.axolotl.types import as_typed
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG

# Looked at although the schema does not have them, or not without their plugin.
_LOOKED_AT = (*REMOVED_KEYS, "lora_exclude_modules", "cut_cross_entropy", "liger_fused_linear_cross_entropy")


def without_old_prefix(values: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The values with the names inside fsdp_config as they are now: without fsdp_ before them."""
    config = values.get("fsdp_config")
    if not isinstance(config, dict):
        return values
    return {**values, "fsdp_config": {without_prefix(name): value for name, value in config.items()}}


def values_read(values: Mapping[Any, Any]) -> dict[str, Any]:
    """What rules look at: keys that Axolotl reads, values of their types, old spellings under their new names."""
    read = as_typed(without_old_prefix(values))
    read |= {key: values[key] for key in _LOOKED_AT if key in values}
    # Whatever an old flag holds, it is on or off.
    read |= {flag: bool(values[flag]) for flag in ATTENTION_OF_FLAG if flag in values}
    for key, value in _COMES_TO.items():
        read[key] = value(read)
    return {key: value for key, value in read.items() if value is not None or key in values}


def _attention(read: Mapping[str, Any]) -> Any:
    flags = (kernel for flag, kernel in ATTENTION_OF_FLAG.items() if read.get(flag))
    hybrid = "flash_attention_2" if read.get("gemma4_hybrid_attn_impl") else None
    return read.get("attn_implementation") or next(flags, hybrid)


def _context_parallel_size(read: Mapping[str, Any]) -> Any:
    block = read.get("context_parallel")
    inside = block.get("size") if isinstance(block, dict) else None
    size = inside if isinstance(inside, int) else None
    return read.get("context_parallel_size") or size or read.get("sequence_parallel_degree")


def _remove_unused_columns(read: Mapping[str, Any]) -> Any:
    written = read.get("remove_unused_columns")
    return False if written is None and read.get("skip_prepare_dataset") else written


_COMES_TO: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "attn_implementation": _attention,
    "context_parallel_size": _context_parallel_size,
    "remove_unused_columns": _remove_unused_columns,
    "eval_strategy": lambda read: _first_of(read, "eval_strategy", "evaluation_strategy"),
    "neftune_noise_alpha": lambda read: read.get("noisy_embedding_alpha") or read.get("neftune_noise_alpha"),
}


def _first_of(read: Mapping[str, Any], *keys: str) -> Any:
    """The first value that is there."""
    return next((read[key] for key in keys if read.get(key) is not None), None)
