"""Rules over the values of a file: the same rules as between settings, where keys are concerned that are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lora_explorer.findings import Fix, Severity
from lora_explorer.settings.rules import Rule

# Of the keys that Axolotl reads, with values of their types.
FileValues = Mapping[str, Any]
FileRule = Rule[FileValues]


def refused(
    key: str,
    broken: Callable[[FileValues], object],
    message: str,
    *,
    why: str = "",
    fix: Fix | Callable[[FileValues], Fix] = (),
) -> FileRule:
    """What Axolotl rejects the whole file for."""
    return Rule(key, "error", broken, message, outcome="rejects", why=why, fix=fix)


def warned(
    key: str,
    broken: Callable[[FileValues], object],
    message: str,
    *,
    severity: Severity = "note",
    why: str = "",
    fix: Fix | Callable[[FileValues], Fix] = (),
) -> FileRule:
    """What Axolotl warns of and runs all the same."""
    return Rule(key, severity, broken, message, outcome="warns", why=why, fix=fix)


def without(*keys: str) -> Fix:
    """A fix that takes keys away."""
    return tuple((key, None) for key in keys)


def block(file: FileValues, key: str) -> Mapping[str, Any]:
    """The mapping under a key; an empty one where there is none."""
    value = file.get(key)
    return value if isinstance(value, Mapping) else {}


def number(file: FileValues, key: str, default: float) -> float:
    """The number under a key; the default where there is none, or none but 0."""
    return file.get(key) or default


def any_of(file: FileValues, *keys: str) -> tuple[str, ...]:
    """Those of the keys that are on."""
    return tuple(key for key in keys if file.get(key))


def reentrant(file: FileValues) -> Any:
    """`use_reentrant`, as it is written; None where it is not."""
    return block(file, "gradient_checkpointing_kwargs").get("use_reentrant")


def has_plugin(file: FileValues, name: str) -> bool:
    """Whether a plugin is listed whose path has a part of that name."""
    return any(name in str(plugin).replace(":", ".").split(".") for plugin in file.get("plugins") or ())
