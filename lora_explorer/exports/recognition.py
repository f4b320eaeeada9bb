"""Reading a file of any program: which one it belongs to is told from its keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lora_explorer.errors import InvalidSettings, UnreadableYaml
from lora_explorer.exports.axolotl import Imported, export_axolotl, import_axolotl
from lora_explorer.exports.axolotl.keys import known_keys
from lora_explorer.exports.peft.adapter_config import FILE_NAME
from lora_explorer.exports.tools import TOOLS, Tool
from lora_explorer.exports.yaml_documents.reading import DEEPEST_NESTING, LARGEST_TEXT_BYTES, MOST_NODES, read_document
from lora_explorer.findings import Finding, Fix
from lora_explorer.settings import SETTINGS, recipe_from

# Axolotl's own, and no other program's.
_AXOLOTL = frozenset({"base_model", "adapter", "lora_target_linear", "micro_batch_size", "sequence_len"})
# Words of transformers' trainer and of Hub models, which several programs share; TRL has nothing else of its own.
_SHARED = frozenset({"model_name_or_path", "per_device_train_batch_size", "num_train_epochs"})
_MOST_SHOWN = 4


def recognise(values: Mapping[Any, Any]) -> Tool | None:
    """The program a file belongs to, from its keys; None if no program here reads any of them."""
    keys = {str(key) for key in values} | {f"{key}.{inner}" for key, block in values.items() for inner in _inner(block)}
    if "peft_type" in keys:
        return TOOLS["peft"]
    if keys & _AXOLOTL:
        return TOOLS["axolotl"]
    marked = [tool for tool in TOOLS.values() if keys & tool.marks]
    if marked:
        return max(marked, key=lambda tool: len(keys & tool.marks))
    if keys & _SHARED:
        return TOOLS["trl"]
    known = known_keys()
    return TOOLS["axolotl"] if not keys or keys & (known.top | known.plugin_of.keys()) else None


def is_for_axolotl(text: str, file_name: str = "") -> bool:
    """Whether a text is read as Axolotl's own. Raises UnreadableYaml for what cannot be read at all."""
    values = _values(text, file_name)
    tool = recognise(values)
    return tool is not None and tool.read is None


def _values(text: str, file_name: str) -> Mapping[Any, Any]:
    values = _json(text, must_be=file_name.endswith(".json"))
    return read_document(text).values if values is None else values


def _inner(block: Any) -> list[Any]:
    return list(block) if isinstance(block, Mapping) else []


def import_configuration(text: str, file_name: str = "") -> Imported:
    """Read a file of any program in TOOLS that has one: Axolotl's as `import_axolotl` does, all others through it.

    file_name: where it is known; it tells JSON from YAML that is none yet. Of another program's file, the text of the
    result is that of an Axolotl YAML that means the same.
    Raises UnreadableYaml and InvalidSettings, in one sentence each.
    """
    return import_foreign(text, file_name) or import_axolotl(text)


def import_foreign(text: str, file_name: str = "") -> Imported | None:
    """Read a file of any program but Axolotl, as `import_configuration` does; None for a file of Axolotl's."""
    values = _values(text, file_name)
    tool = recognise(values)
    if tool is None:
        raise UnreadableYaml(_of_nobody(values))
    return None if tool.read is None else _imported(tool, values)


def find_foreign(values: Mapping[Any, Any]) -> tuple[Finding, ...]:
    """What to say of another program's file where Axolotl's is wanted; empty for one of Axolotl's, or of nobody's.

    The first finding's fix writes the Axolotl YAML that means the same in its place. Raises InvalidSettings.
    """
    tool = recognise(values)
    if tool is None or tool.read is None:
        return ()
    imported = _imported(tool, values)
    meant = read_document(imported.text).values
    fix: Fix = (*meant.items(), *((str(key), None) for key in values if key not in meant))
    message = f"This is a file of {tool.title}, which means something else or nothing to Axolotl."
    why = "The fix writes the settings of Axolotl that mean the same."
    return (Finding(str(next(iter(values))), "error", message, why=why, fix=fix), *imported.findings[1:])


def _imported(tool: Tool, values: Mapping[Any, Any]) -> Imported:
    if tool.read is None:
        raise TypeError(f"{tool.name} has no reader.")
    settings, findings = tool.read(values)
    told = Finding("", "note", f"This is a file of {tool.title}, read as the settings of Axolotl that mean the same.")
    try:
        recipe = recipe_from(settings)
    except InvalidSettings as error:
        raise InvalidSettings((*(_in_its_words(each, tool) for each in error.findings), *findings)) from error
    return Imported(recipe, export_axolotl(recipe), (told, *findings))


def _in_its_words(finding: Finding, tool: Tool) -> Finding:
    """The sentence about a value, with the file's own key where that is another one."""
    named = [setting.in_tools.of(tool.words) for setting in SETTINGS.values() if setting.key == finding.setting]
    if not named or not named[0] or named[0] == finding.setting:
        return finding
    message = f"{finding.message.removesuffix('.')}, as {named[0]} in the file."
    return Finding(finding.setting, finding.severity, message, finding.suggestion)


def _of_nobody(values: Mapping[Any, Any]) -> str:
    keys = [str(key)[:40] for key in values]
    shown = ", ".join(keys[:_MOST_SHOWN]) + (f" and {len(keys) - _MOST_SHOWN} more" if len(keys) > _MOST_SHOWN else "")
    readers = ", ".join(tool.title for tool in TOOLS.values() if tool.read)
    return f"Nothing here reads these keys: {shown}. Files of Axolotl, {readers} can be read."


def _json(text: str, *, must_be: bool) -> dict[str, Any] | None:
    """The values of a JSON object; None for what may be YAML. Raises UnreadableYaml for what cannot be read at all."""
    if not must_be and not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return None
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_TEXT_BYTES:
        raise UnreadableYaml(
            f"The file is larger than {LARGEST_TEXT_BYTES // 1024} KiB, more than a configuration needs."
        )
    try:
        values = json.loads(text.removeprefix("\ufeff"))
    except RecursionError as error:
        raise UnreadableYaml(f"The JSON is nested more than {DEEPEST_NESTING} deep.") from error
    except ValueError as error:
        if not must_be:
            return None
        raise UnreadableYaml(f"{FILE_NAME if must_be else 'The file'} is not valid JSON: {_reason(error)}.") from error
    if not isinstance(values, dict):
        raise UnreadableYaml("The JSON must hold one object of keys and values.")
    _check_nesting(values)
    return values


def _reason(error: ValueError) -> str:
    return str(error)[:100]


def _check_nesting(values: Mapping[str, Any]) -> None:
    level: list[Any] = [values]
    total = 0
    for _ in range(DEEPEST_NESTING):
        level = [inner for value in level for inner in _parts(value)]
        total += len(level)
        if total > MOST_NODES:
            raise UnreadableYaml(f"The JSON holds more than {MOST_NODES:,} values.")
        if not level:
            return
    raise UnreadableYaml(f"The JSON is nested more than {DEEPEST_NESTING} deep.")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []
