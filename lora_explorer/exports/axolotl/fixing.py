"""Mending a file: what findings want changed, written into its text, whether their keys are settings or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from lora_explorer.errors import UnreadableYaml
from lora_explorer.exports.axolotl.checking import findings_in
from lora_explorer.exports.axolotl.old_spellings import is_prefixed, without_prefix
from lora_explorer.exports.axolotl.order import usual_order
from lora_explorer.exports.yaml_documents.editing import Removed, edited, with_value
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.exports.yaml_documents.text import entries_as_text
from lora_explorer.findings import Finding, Fix

# One fix may be the reason of the next; so many in a row would go round in a circle.
_MOST_FIXES = 200


def with_fix(text: str, fix: Fix) -> str:
    """The text with a fix in it; only the lines of its keys change. Raises UnreadableYaml."""
    document = read_document(text)
    fix = (*_old_spellings_gone(fix, document.values), *fix)
    changes = {
        _path(key, document.values): Removed(entirely=True) if value is None else _plain(value) for key, value in fix
    }
    wanted: dict[Any, Any] = dict(document.values)
    for path, value in changes.items():
        wanted = with_value(wanted, path, value)
    proposal = edited(document, _once_for_each_block(changes, wanted), (usual_order(),))
    return proposal if _says(proposal, wanted) else entries_as_text(wanted) or "{}\n"


def _old_spellings_gone(fix: Fix, values: Mapping[Any, Any]) -> Fix:
    """A key inside fsdp_config may stand there under its old name."""
    config = values.get("fsdp_config")
    old = (
        {f"fsdp_config.{without_prefix(name)}": f"fsdp_config.{name}" for name in config if is_prefixed(name)}
        if isinstance(config, dict)
        else {}
    )
    changed = {key for key, _ in fix}
    return tuple((name, None) for key, name in old.items() if key in changed and name not in changed)


def _path(key: str, values: Mapping[Any, Any]) -> tuple[str, ...]:
    """A key of the top may have a dot of its own."""
    return (key,) if key in values else tuple(key.split("."))


def _once_for_each_block(changes: Mapping[tuple[str, ...], Any], wanted: Mapping[Any, Any]) -> dict[Any, Any]:
    """Several changes inside one block are one change of the block."""
    within = Counter(path[0] for path in changes)
    single = {path: value for path, value in changes.items() if within[path[0]] == 1}
    return single | {(key,): wanted.get(key, Removed()) for key, count in within.items() if count > 1}


def with_all_fixes(text: str) -> tuple[str, tuple[Finding, ...]]:
    """The text with every fix in it that its findings have, one after the other, and the findings that are mended.

    Errors first, because what they change may be all there is to say. Raises UnreadableYaml.
    """
    mended: list[Finding] = []
    done: set[Fix] = set()
    for _ in range(_MOST_FIXES):
        waiting = [finding for finding in findings_in(text) if finding.fix and finding.fix not in done]
        if not waiting:
            break
        finding = min(waiting, key=lambda each: ("error", "warning", "note").index(each.severity))
        done.add(finding.fix)
        mended.append(finding)
        text = with_fix(text, finding.fix)
    return text, tuple(mended)


def _says(text: str, wanted: Mapping[Any, Any]) -> bool:
    try:
        # repr, because two values that are not a number (.nan) are never equal.
        return repr(sorted(read_document(text).values.items(), key=repr)) == repr(sorted(wanted.items(), key=repr))
    except UnreadableYaml:
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
