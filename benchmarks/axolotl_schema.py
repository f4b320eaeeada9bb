"""Whether presets/axolotl_schema.json says what an installed Axolotl says of its keys.

    python benchmarks/axolotl_schema.py ENVIRONMENT [--write]

ENVIRONMENT is the Python of an environment that Axolotl is installed in, without what it trains with; `make axolotl`
makes one. Kept are names, types, bounds and defaults, none of the descriptions. --write brings the preset up to date.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_explorer import presets

SCRIPT = Path(__file__).parent.parent / "tests" / "exports" / "axolotl" / "real_axolotl.py"
PRESET = presets.folder() / "axolotl_schema.json"
_WORDS = ("description", "title", "deprecated", "help")
# What Axolotl's validators make of a type before or after pydantic looks at it.
_CORRECTED: Mapping[tuple[str, ...], Any] = {
    # Text is turned into a number.
    ("keys", "learning_rate"): {"type": "number"},
    # The numbers of GPUs are keys beside the two words; of tokens, keys.
    ("keys", "max_memory", "anyOf", "0", "propertyNames"): {"anyOf": [{"type": "integer"}, {"enum": ["cpu", "disk"]}]},
    ("keys", "added_tokens_overrides", "anyOf", "0", "propertyNames"): {"type": "integer"},
    # Neither text nor true stands for a number here.
    ("keys", "label_balance_window_optim_steps", "strict"): True,
    ("blocks", "TorchAOQuantDType", "enum"): [
        "int4",
        "int8",
        "float8_e4m3fn",
        "float8",
        "fp8",
        "nvfp4",
        "mxfp4",
        "ternary",
    ],
    # Any case of the three words.
    ("keys", "image_resize_algorithm"): {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
    # One text for several is split at its commas.
    ("blocks", "ExportConfig", "properties", "quantize"): {},
}


def facts_of(published: Mapping[str, Any]) -> dict[str, Any]:
    """The preset from what `real_axolotl.py schema` prints."""
    blocks: dict[str, Any] = {}
    top = _without_words(published["keys"], blocks)
    plugins = {name: _without_words(schema, blocks) for name, schema in published["plugins"].items()}
    for name in published["always_on"]:
        top |= plugins.pop(name)
    for alias, name in published["aliases"].items():
        top[name] = top[alias]
    # A key that Axolotl has itself is no plugin's.
    offered = {name: {key: value for key, value in keys.items() if key not in top} for name, keys in plugins.items()}
    facts = {"axolotl": published["version"], "keys": top, "plugins": offered, "blocks": blocks}
    for path, value in _CORRECTED.items():
        _correct(facts, path, value)
    return facts


def _without_words(schema: Mapping[str, Any], blocks: dict[str, Any]) -> dict[str, Any]:
    """The keys of a schema; the blocks it refers to are put with the others."""
    blocks |= {name: _plain(block) for name, block in schema.get("$defs", {}).items()}
    return {key: _plain(each) for key, each in schema.get("properties", {}).items()}


def _plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema.removeprefix("#/$defs/") if isinstance(schema, str) else schema
    kept = {name: value for name, value in schema.items() if name not in _WORDS or not isinstance(value, (str, bool))}
    return {name: value if name in ("default", "enum") else _plain(value) for name, value in kept.items()}


def _correct(facts: Any, path: tuple[str, ...], value: Any) -> None:
    *blocks, last = path
    for name in blocks:
        facts = facts[int(name)] if isinstance(facts, list) else facts[name]
    before = facts.get(last)
    kept = {"default": before["default"]} if isinstance(before, dict) and "default" in before else {}
    facts[last] = {**value, **kept} if kept else value


def as_text(facts: Mapping[str, Any]) -> str:
    """JSON with one key a line, so that a change of one is a change of its line."""
    parts = [f'"axolotl": {json.dumps(facts["axolotl"])}']
    for name in ("keys", "blocks"):
        parts.append(f'"{name}": {{\n{_lines(facts[name])}\n}}')
    plugins = ",\n".join(
        f"{json.dumps(name)}: {{\n{_lines(keys)}\n}}" for name, keys in sorted(facts["plugins"].items())
    )
    parts.append(f'"plugins": {{\n{plugins}\n}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(entries: Mapping[str, Any]) -> str:
    return ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(entries.items()))


def published_by(python: Path | str) -> dict[str, Any]:
    """What the Axolotl of an environment says."""
    answer = subprocess.run([str(python), str(SCRIPT), "schema"], capture_output=True, check=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("python", type=Path, metavar="ENVIRONMENT")
    arguments.add_argument("--write", action="store_true", help="bring the preset up to date")
    given = arguments.parse_args()
    text = as_text(facts_of(published_by(given.python)))
    same = PRESET.is_file() and PRESET.read_text(encoding="utf-8") == text
    if given.write:
        PRESET.write_text(text, encoding="utf-8")
    print(
        "The preset is up to date." if same else "The preset was brought up to date." if given.write else "It differs."
    )
    sys.exit(0 if same or given.write else 1)


if __name__ == "__main__":
    main()
