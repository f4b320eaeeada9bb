"""PEFT's words for an adapter: the fields of LoraConfig. Facts: PEFT 0.21, and what Axolotl hands on to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lora_explorer.exports.target_names import ALL_LINEAR, peft_targets, unnamed
from lora_explorer.exports.vocabulary import Conversion, Said, Values, Vocabulary, otherwise
from lora_explorer.findings import Finding
from lora_explorer.settings import Group, Recipe

_LOFTQ = "loftq"
# What PEFT takes where a field is absent.
DEFAULTS: Mapping[str, Any] = {
    "r": 8,
    "lora_alpha": 8,
    "lora_dropout": 0,
    "fan_in_fan_out": False,
    "bias": "none",
    "use_rslora": False,
    "use_dora": False,
    "init_lora_weights": True,
    "megatron_core": "megatron.core",
    "lora_bias": False,
    "use_qalora": False,
    "qalora_group_size": 16,
    "ensure_weight_tying": False,
    "autocast_adapter_dtype": True,
}
# Fields that change which parameters are trained, or how many, and have no setting.
_COUNTED = ("lora_bias", "use_qalora", "use_bdlora", "kasa_config", "monteclora_config")
# Fields that change how the adapter starts or computes, and not what it trains.
_NOT_COUNTED = (
    "eva_config", "corda_config", "lora_ga_config", "velora_config", "arrow_config", "alora_invocation_tokens",
    "megatron_config", "runtime_config",
)  # fmt: skip
# Fields about the file and the loading of it.
_OF_THE_FILE = ("inference_mode", "peft_version", "auto_mapping", "revision", "megatron_core", "qalora_group_size")


def _write_targets(recipe: Recipe) -> Iterator[Said]:
    yield "target_modules", peft_targets(recipe)
    yield from unnamed(recipe)


def _read_targets(entries: Values) -> Iterator[Said]:
    targets, excluded = entries.get("target_modules"), entries.get("exclude_modules")
    if excluded:
        yield from _without(targets, excluded, entries)
        return
    yield "lora_target_modules", targets
    if not targets and not entries.get("target_parameters"):
        message = "target_modules is empty, so PEFT picks modules by the model's family; name them."
        yield otherwise("lora_target_modules", message)


def _without(targets: Any, excluded: Any, entries: Values) -> Iterator[Said]:
    """Axolotl has no setting for what is left out; one regex can say both, but for a choice of layers."""
    regex = None if entries.get("layers_to_transform") else regex_without(targets, excluded)
    if regex is None:
        yield "lora_target_modules", targets
        message = "exclude_modules has no setting here, and no regex says the same beside these targets and layers."
        yield Finding("lora_target_modules", "error", message)
        return
    yield "lora_target_modules", regex
    message = "exclude_modules has no setting here; one regex in lora_target_modules says what is left."
    yield Finding("lora_target_modules", "note", message)


def regex_without(targets: Any, excluded: Any) -> str | None:
    """A regex for the paths that PEFT adapts with `target_modules` and `exclude_modules`; None where there is none."""
    wanted, unwanted = _as_regex(targets), _as_regex(excluded)
    if wanted is None or unwanted is None or targets == ALL_LINEAR:
        return None
    return rf"(?!(?:{unwanted})\Z){wanted}"


def _as_regex(names: Any) -> str | None:
    """A regex as it is; names as PEFT compares them: a path, or the end of one after a dot."""
    if isinstance(names, str):
        return names
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None
    listed = "|".join(re.escape(name) for name in names)
    return rf"(?:.*\.)?(?:{listed})"


def _write_start(recipe: Recipe) -> Iterator[Said]:
    start = recipe.peft_init_lora_weights
    if recipe.loftq_bits is not None:
        yield "init_lora_weights", start if isinstance(start, str) else _LOFTQ
        yield "loftq_config", {"loftq_bits": recipe.loftq_bits, "loftq_iter": 1}
    elif isinstance(start, str):
        yield "init_lora_weights", start


def _read_start(entries: Values) -> Iterator[Said]:
    start, loftq = entries.get("init_lora_weights"), entries.get("loftq_config")
    bits = loftq.get("loftq_bits", 4) if isinstance(loftq, Mapping) and loftq else None
    yield "loftq_bits", bits
    yield "peft_init_lora_weights", None if start is True or (start == _LOFTQ and bits is not None) else start
    if isinstance(loftq, Mapping) and loftq.get("loftq_iter", 1) != 1:
        yield otherwise("loftq_bits", f"loftq_iter {loftq['loftq_iter']!s:.60} has no setting here; Axolotl's is 1.")


def _read_layers(entries: Values) -> Iterator[Said]:
    layers, pattern = entries.get("layers_to_transform"), entries.get("layers_pattern")
    yield "peft_layers_to_transform", [layers] if isinstance(layers, int) else layers
    yield "peft_layers_pattern", [pattern] if isinstance(pattern, str) and pattern else pattern or None


def _write_layers(recipe: Recipe) -> Iterator[Said]:
    yield "layers_to_transform", list(recipe.peft_layers_to_transform)
    yield "layers_pattern", list(recipe.peft_layers_pattern)


def _read_others(entries: Values) -> Iterator[Said]:
    yield from _departures(entries, _COUNTED, "error", "changes what is trained, and has no setting here")
    yield from _departures(entries, _NOT_COUNTED, "warning", "has no setting here; what is trained does not change")
    bias = entries.get("bias")
    if bias not in (None, "none"):
        message = f"bias {bias!s:.60} trains biases too; Axolotl never does, and no setting here counts them."
        yield Finding("bias", "error", message)
    task = entries.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        message = f"task_type {task!s:.60} may train a head in full; what is counted here is a CAUSAL_LM adapter."
        yield Finding("task_type", "warning", message)
    aside = [key for key in _OF_THE_FILE if entries.get(key) not in (None, False, {}, DEFAULTS.get(key))]
    if aside:
        verb = "is" if len(aside) == 1 else "are"
        yield Finding(aside[0], "note", f"{', '.join(aside)} {verb} about the file, not about what is trained.")


def _departures(entries: Values, keys: Iterable[str], severity: Any, why: str) -> Iterator[Finding]:
    for key in keys:
        if entries.get(key):
            yield Finding(key, severity, f"{key} {why}.")


PEFT = Vocabulary(
    title="PEFT",
    words="peft",
    groups=(Group.ADAPTER, Group.TARGETS),
    defaults=DEFAULTS,
    conversions=(
        Conversion(
            ("lora_target_linear", "lora_target_modules"),
            ("target_modules", "exclude_modules"),
            _write_targets,
            _read_targets,
        ),
        Conversion(
            ("peft_init_lora_weights", "loftq_bits"), ("init_lora_weights", "loftq_config"), _write_start, _read_start
        ),
        Conversion(
            ("peft_layers_to_transform", "peft_layers_pattern"),
            ("layers_to_transform", "layers_pattern"),
            _write_layers,
            _read_layers,
        ),
        Conversion((), ("bias", "task_type", *_COUNTED, *_NOT_COUNTED, *_OF_THE_FILE), lambda recipe: (), _read_others),
    ),
    # Kept in float32 by PEFT as well, unless the cast is off.
    by_itself=frozenset({"adapter", "lora_fp32_gradients"}),
)
