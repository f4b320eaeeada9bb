"""How a configuration for another program is laid out as Python."""

from __future__ import annotations

import math
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any


class Code(str):
    """An expression, written as it is."""


def call(function: str, arguments: Mapping[str, Any], *leading: str) -> str:
    """A call with one argument a line. leading: expressions without a name. Raises ValueError for an odd name."""
    odd = [name for name in arguments if not is_argument(name)]
    if odd:
        raise ValueError(f"{odd[0]!r} is no name of an argument.")
    lines = [*leading, *(f"{name}={literal(value)}" for name, value in arguments.items())]
    return f"{function}(\n" + "".join(f"    {_indented(line)},\n" for line in lines) + ")"


def is_argument(name: str) -> bool:
    """Whether an argument can have this name."""
    return name.isidentifier() and not iskeyword(name)


def _indented(expression: str) -> str:
    return expression.replace("\n", "\n    ")


def literal(value: Any) -> str:
    """A value as Python reads it back."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{literal(key)}: {literal(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(literal(item) for item in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return _in_double_quotes(value) if isinstance(value, str) else repr(value)


def _in_double_quotes(text: str) -> str:
    # repr prefers single quotes; a text with neither quotes nor backslashes reads the same in double ones.
    plain = text.isprintable() and not {'"', "\\", "'"} & set(text)
    return f'"{text}"' if plain else repr(text)
