"""Values as YAML text that YAML 1.1 readers, Axolotl among them, read back as the same values."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import yaml

_SMALLEST_PLAIN = 1e-9
_LARGEST_PLAIN = 1e15


class _Dumper(yaml.SafeDumper):
    """Names one a line, numbers in one line, nothing folded and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001 - PyYAML's signature
        # PyYAML would put the dashes of a list under its key.
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    if any(not character.isprintable() for character in value):
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"')
    # YAML 1.1 reads 2e-4 as text and 1.2 as a number: quotes leave no doubt.
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if _looks_like_a_number(value) else None)


def _looks_like_a_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _number(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    # 2e-4 is text in YAML 1.1, and 2.0e-4 is hard on the eye.
    if _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN:
        return dumper.represent_scalar("tag:yaml.org,2002:float", format(Decimal(repr(value)), "f"))
    return dumper.represent_float(value)


def _list(dumper: yaml.SafeDumper, value: list[Any] | tuple[Any, ...]) -> yaml.Node:
    names = any(isinstance(item, str) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=None if names else True)


def _mapping(dumper: yaml.SafeDumper, value: Mapping[Any, Any]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=None if value else True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)
_Dumper.add_representer(list, _list)
_Dumper.add_representer(tuple, _list)
_Dumper.add_representer(dict, _mapping)
_Dumper.add_multi_representer(dict, _mapping)


def _dumped(values: Mapping[Any, Any], *, one_line: bool) -> str:
    text: str = yaml.dump(
        dict(values), Dumper=_Dumper, sort_keys=False, default_flow_style=one_line, width=1 << 30, allow_unicode=True
    )
    return text


def entries_as_text(values: Mapping[Any, Any]) -> str:
    """The entries of a mapping as block YAML, in their order, each ending its line."""
    return _dumped(values, one_line=False) if values else ""


def value_as_text(value: Any) -> str:
    """One value as it can stand in one line behind its key."""
    return _dumped({"k": value}, one_line=True).strip().removeprefix("{k: ").removesuffix("}")
