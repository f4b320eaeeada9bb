"""Old keys and values: those that Axolotl 0.21 still reads as something else, and those that it refuses by now.

Facts of its configuration schema and of its validators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from lora_explorer.findings import Finding, Fix
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG

# Read under the new name while that one is not there.
_RENAMED: Mapping[str, str] = {
    "dataset_processes": "dataset_num_proc",
    "dpo_beta": "rl_beta",
    "evaluation_strategy": "eval_strategy",
    "noisy_embedding_alpha": "neftune_noise_alpha",
    "pretrain_multipack_buffer_size": "streaming_multipack_buffer_size",
    "sequence_parallel_degree": "context_parallel_size",
}
# Wins over its old name with 0 and nothing in it too.
_WINS_WITH_ANY_VALUE = ("dataset_num_proc", "eval_strategy")
# Both spellings at once.
_REFUSED_TOGETHER = ("noisy_embedding_alpha", "pretrain_multipack_buffer_size")
# Refused as soon as they hold a value that is not false or 0; and where to write it instead.
_GONE: Mapping[str, str] = {
    "max_packed_sequence_len": "sequence_len and sample_packing",
    "rope_scaling": "it as a key of model_config",
    "s2_attention": "",
    "flash_attn_rms_norm": "",
}
# Refused with any value at all.
_GONE_ENTIRELY = ("dpo_use_logits_to_keep", "dpo_generate_during_eval", "dpo_norm_loss", "rpo_alpha")
_PREFIX = "fsdp_"
_OFFLOADING: Mapping[str, bool | str] = {"offload": True, "offload_disk": "disk"}


def find_old_spellings(values: Mapping[Any, Any]) -> Iterator[Finding]:
    """One finding for each old key or value of a file."""
    yield from _renamed(values)
    yield from _gone(values)
    yield from _attention_flags(values)
    yield from _offloading(values)
    yield from _batch_size(values)
    yield from _fsdp_prefix(values)


def _fsdp_prefix(values: Mapping[Any, Any]) -> Iterator[Finding]:
    config = values.get("fsdp_config")
    if not isinstance(config, dict):
        return
    old = [name for name in config if is_prefixed(name)]
    if old:
        message = f"fsdp_config.{old[0]} is an old spelling; the names in fsdp_config no longer start with fsdp_."
        moves = (moved(f"fsdp_config.{name}", f"fsdp_config.{without_prefix(name)}", config[name]) for name in old)
        fix = tuple(change for each in moves for change in each)
        yield Finding(f"fsdp_config.{old[0]}", "note", message, without_prefix(old[0]), outcome="warns", fix=fix)


def is_prefixed(name: Any) -> bool:
    """Whether a name inside fsdp_config has the prefix that it has no longer."""
    return isinstance(name, str) and name.startswith(_PREFIX) and name != "fsdp_version"


def without_prefix(name: Any) -> Any:
    return name.removeprefix(_PREFIX) if is_prefixed(name) else name


def _renamed(values: Mapping[Any, Any]) -> Iterator[Finding]:
    for old, new in _RENAMED.items():
        value = values.get(old)
        if not value:
            continue
        if values.get(new) is None or (not values[new] and new not in _WINS_WITH_ANY_VALUE):
            message = f"{old} is the old name of {new}; Axolotl reads it as that and warns."
            yield Finding(old, "note", message, new, outcome="warns", fix=moved(old, new, value))
        elif old in _REFUSED_TOGETHER:
            message = f"{old} is the old name of {new}, and Axolotl refuses both together."
            yield Finding(old, "error", message, new, outcome="rejects", fix=((old, None),))
        else:
            message = f"{old} is the old name of {new}, which is there too and wins."
            yield Finding(old, "warning", message, new, outcome="drops", fix=((old, None),))


def moved(old: str, new: str, value: Any) -> Fix:
    """The value of one key under another. A fix holds plain values, and lists of them."""
    if isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value):
        value = tuple(value)
    return ((old, None), (new, value)) if isinstance(value, (str, int, float, tuple)) else ()


def _gone(values: Mapping[Any, Any]) -> Iterator[Finding]:
    for key, instead in _GONE.items():
        if values.get(key):
            message = f"{key} is no longer supported, and Axolotl refuses the file" + (
                f"; write {instead}." if instead else "."
            )
            yield Finding(key, "error", message, outcome="rejects", fix=((key, None),))
    for key in _GONE_ENTIRELY:
        if values.get(key) is not None:
            message = f"{key} is no longer supported, and Axolotl refuses the file."
            yield Finding(key, "error", message, outcome="rejects", fix=((key, None),))


def _attention_flags(values: Mapping[Any, Any]) -> Iterator[Finding]:
    """Alone they are read; beside attn_implementation a rule between settings refuses them."""
    flags = [flag for flag in ATTENTION_OF_FLAG if values.get(flag)]
    if not flags or values.get("attn_implementation"):
        return
    first = flags[0]
    now = f"attn_implementation: {ATTENTION_OF_FLAG[first]}"
    fix = (*((flag, None) for flag in flags), ("attn_implementation", ATTENTION_OF_FLAG[first]))
    message = f"{first} is an old key; Axolotl reads it as {now} and warns."
    yield Finding(first, "note", message, now, outcome="warns", fix=fix)
    for flag in flags[1:]:
        yield Finding(flag, "warning", f"{flag} has no effect beside {first}.", outcome="drops", fix=((flag, None),))


def _offloading(values: Mapping[Any, Any]) -> Iterator[Finding]:
    value = values.get("gradient_checkpointing")
    if not isinstance(value, str) or value not in _OFFLOADING:
        return
    now = _OFFLOADING[value]
    written = "true" if now is True else now
    message = f"gradient_checkpointing: {value} is old; Axolotl reads it as true with activation_offloading: {written}."
    fix = (("gradient_checkpointing", True), ("activation_offloading", now))
    yield Finding("gradient_checkpointing", "note", message, "true", outcome="warns", fix=fix)


def _batch_size(values: Mapping[Any, Any]) -> Iterator[Finding]:
    """The default of gradient_accumulation_steps is in force before batch_size is looked at."""
    total, micro = values.get("batch_size"), values.get("micro_batch_size")
    if not _is_count(total) or not _is_count(micro) or "gradient_accumulation_steps" in values:
        return
    steps = max(total // micro, 1)
    message = f"batch_size has no effect: gradient_accumulation_steps stays 1, where {total} rows need {steps}."
    fix = (("batch_size", None), ("gradient_accumulation_steps", steps))
    yield Finding("batch_size", "warning", message, f"gradient_accumulation_steps: {steps}", outcome="changes", fix=fix)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
