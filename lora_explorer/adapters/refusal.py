"""PEFT's refusals as one sentence at the setting at fault."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from peft.utils.error import NoMatchingPeftModuleError

from lora_explorer.adapters.coverage import ALL_LINEAR, Entry, nearest_names, target_entries
from lora_explorer.base_models.skeleton import BUILD_FAILURES, Skeleton
from lora_explorer.errors import AdapterRefused
from lora_explorer.findings import Fix
from lora_explorer.settings import Recipe

# A word of PEFT's message, and the setting it speaks of; the first that is found decides.
_SPEAKS_OF = (
    ("init_lora_weights", "peft_init_lora_weights"),
    ("fan_in_fan_out", "lora_fan_in_fan_out"),
    ("use_dora", "peft_use_dora"),
    ("DoRA", "peft_use_dora"),
    ("layers attribute", "peft_layer_replication"),
    ("trainable_token", "peft_trainable_token_indices"),
    ("trainable_tokens", "peft_trainable_token_indices"),
    ("weight tying", "peft_ensure_weight_tying"),
    ("modules_to_save", "lora_modules_to_save"),
    ("target_parameters", "lora_target_parameters"),
    ("nn.Parameter", "lora_target_parameters"),
    ("layers_to_transform", "peft_layers_to_transform"),
)
_LONGEST_REASON = 240


@contextmanager
def refusals_as_findings(recipe: Recipe, skeleton: Skeleton) -> Iterator[None]:
    """Turn what PEFT raises into AdapterRefused."""
    try:
        yield
    except NoMatchingPeftModuleError as error:
        raise _nothing_matched(recipe, skeleton) from error
    except BUILD_FAILURES as error:
        raise AdapterRefused(f"PEFT refuses this adapter: {_reason(error)}", setting=_setting(recipe, error)) from error


def _nothing_matched(recipe: Recipe, skeleton: Skeleton) -> AdapterRefused:
    entries = target_entries(recipe, skeleton)
    if not entries:
        return AdapterRefused(
            "lora_target_linear finds no linear module in this model; "
            f"name them in lora_target_modules: {', '.join(_matrices(skeleton))}.",
            setting="lora_target_linear",
        )
    if _is_swallowed(recipe, entries, skeleton):
        return AdapterRefused(
            f"lora_modules_to_save: all that {_written(entries)} could match is trained in full, nothing is adapted.",
            setting="lora_modules_to_save",
        )
    nearest = dict.fromkeys(name for entry in entries for name in nearest_names(entry.text, skeleton))
    hint = f" The nearest here: {', '.join(list(nearest)[:4])}." if nearest else ""
    key = entries[0].key
    matches = "match" if len(entries) > 1 else "matches"
    if recipe.peft_layers_to_transform and not any(entry.is_regex for entry in entries):
        return AdapterRefused(
            f"{key}: {_written(entries)} {matches} nothing in the chosen layers.{hint}",
            setting="peft_layers_to_transform",
        )
    how = " A single string is a regex and must match a whole path." if entries[0].is_regex else ""
    return AdapterRefused(
        f"{key}: {_written(entries)} {matches} nothing in this model.{how}{hint}",
        setting=key,
        fix=_in_its_form(recipe, skeleton),
    )


def _in_its_form(recipe: Recipe, skeleton: Skeleton) -> Fix:
    """Names that stand as a text and would match in a list; all-linear in a list, which has a meaning as a text."""
    written = recipe.lora_target_modules
    if isinstance(written, tuple):
        return (("lora_target_modules", ALL_LINEAR),) if written == (ALL_LINEAR,) else ()
    names = tuple(name for name in re.split(r"[\s,|]+", written or "") if name)
    paths = [path for path, _ in skeleton.model.named_modules()]
    found = names and all(any(f".{path}".endswith(f".{name}") for path in paths) for name in names)
    return (("lora_target_modules", names),) if found else ()


def _matrices(skeleton: Skeleton) -> tuple[str, ...]:
    """Names of the modules in the layers that hold a matrix, whatever their class."""
    inside = (
        path.rpartition(".")[2]
        for path, module in skeleton.model.named_modules()
        if skeleton.layer_of(path) is not None and getattr(getattr(module, "weight", None), "ndim", 0) == 2
    )
    return tuple(dict.fromkeys(inside))


def _written(entries: Sequence[Entry]) -> str:
    # A blank at the end of a name cannot be seen without quotes.
    shown = [entry.text if entry.text and entry.text == entry.text.strip() else repr(entry.text) for entry in entries]
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    return f"{', '.join(shown[:4])}{more}"


def _is_swallowed(recipe: Recipe, entries: Sequence[Entry], skeleton: Skeleton) -> bool:
    """Whether PEFT would have matched something but for the modules that are saved whole."""
    saved = set(recipe.lora_modules_to_save)
    paths = (path for path, _ in skeleton.model.named_modules() if saved.intersection(path.split(".")))
    return any(path.endswith(f".{entry.text}") for path in paths for entry in entries)


def _reason(error: BaseException) -> str:
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    # PEFT prints the module it cannot adapt in full, with all that is inside.
    line = re.sub(r"Target module (\w+)\(.*?is not supported.*", r"it has no layer for a \1 module", line)
    line = re.sub(r"^Target module (\w+)\($", r"it has no layer for a \1 module", line)
    short = line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"
    return short if short.endswith((".", "…")) else f"{short}."


def _setting(recipe: Recipe, error: BaseException) -> str:
    text = str(error)
    spoken_of = next((setting for word, setting in _SPEAKS_OF if word in text), None)
    if spoken_of:
        return spoken_of
    return "lora_target_linear" if recipe.lora_target_linear else "lora_target_modules"
