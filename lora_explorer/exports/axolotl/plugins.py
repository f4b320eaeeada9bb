"""The plugins a file lists: Axolotl imports each before it looks at any key, and ends where there is none of the name.

Facts: PluginManager of Axolotl 0.21, and the packages in axolotl/integrations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_explorer.exports.axolotl.misspelling import is_slip, vocabulary
from lora_explorer.exports.axolotl.published_schema import FULL_PATH, published_schema, whole_name
from lora_explorer.findings import Finding, Fix

# Those that bring no key of their own.
_WITHOUT_KEYS = (
    f"{FULL_PATH}context_parallel.ContextParallelPlugin",
    f"{FULL_PATH}expert_parallel.ExpertParallelPlugin",
    f"{FULL_PATH}fla_sm120_shim.FlaSm120ShimPlugin",
    f"{FULL_PATH}mixlora.MixLoraPlugin",
    f"{FULL_PATH}nebius.completion.NebiusCompletionPlugin",
)


def find_unknown_plugins(values: Mapping[Any, Any]) -> Iterator[Finding]:
    """One finding for each listed plugin that is not Axolotl's own."""
    listed = values.get("plugins")
    if not isinstance(listed, list):
        return
    own = (*published_schema().plugins, *_WITHOUT_KEYS)
    known = {_package_and_class(name) for name in own}
    for name in listed:
        # Which modules a package has inside is not looked at.
        if isinstance(name, str) and _package_and_class(whole_name(name)) not in known:
            yield _unknown(name, listed, own)


def _package_and_class(name: str) -> tuple[str, str]:
    inside = name.removeprefix(FULL_PATH)
    return inside.partition(".")[0], inside.rpartition(".")[2]


def _unknown(name: str, listed: list[Any], own: tuple[str, ...]) -> Finding:
    shown = name if len(name) <= 80 else f"{name[:79]}…"
    if not name.startswith(FULL_PATH) and ("." in name or ":" in name):
        message = f"plugins: {shown} is none of Axolotl's own; its keys and what it does are not known here."
        return Finding("plugins", "note", message)
    nearest = _nearest(name, own)
    guess = f"; did you mean {nearest}?" if nearest else "."
    message = f"plugins: Axolotl has no {shown} and ends there{guess}"
    fix: Fix = (("plugins", tuple(nearest if each == name else each for each in listed)),) if nearest else ()
    return Finding("plugins", "error", message, nearest, outcome="rejects", fix=fix)


def _nearest(name: str, own: tuple[str, ...]) -> str | None:
    """By the name of the class, which is all that some people write."""
    by_class = {each.rpartition(".")[2]: each for each in own}
    written = name.rpartition(".")[2]
    nearest = vocabulary(tuple(by_class)).nearest(written)
    return by_class[nearest] if nearest and is_slip(written, nearest) else None
