"""pydantic's errors as sentences for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lora_explorer.findings import Finding
from lora_explorer.settings.declaration import Setting

_WANTED: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "greater_than_equal": lambda context: f"must be at least {_plain(context['ge'])}",
    "greater_than": lambda context: f"must be above {_plain(context['gt'])}",
    "less_than_equal": lambda context: f"must be at most {_plain(context['le'])}",
    "less_than": lambda context: f"must be below {_plain(context['lt'])}",
    "int_from_float": lambda context: "must be a whole number",
    "int_parsing": lambda context: "must be a whole number",
    "int_parsing_size": lambda context: "is too large a number",
    "int_type": lambda context: "must be a whole number",
    "float_parsing": lambda context: "must be a number",
    "float_type": lambda context: "must be a number",
    "finite_number": lambda context: "must be a finite number",
    "bool_parsing": lambda context: "must be true or false",
    "bool_type": lambda context: "must be true or false",
    "string_type": lambda context: "must be text",
    "tuple_type": lambda context: "must be a list",
    "list_type": lambda context: "must be a list",
    "dict_type": lambda context: "must be a mapping of names to values",
    "model_type": lambda context: "must be a mapping of keys to values",
    "too_long": lambda context: f"must have {context.get('max_length')} parts",
    "too_short": lambda context: f"must have {context.get('min_length')} or more items",
    "missing": lambda context: "must have 2 parts",
    "extra_forbidden": lambda context: "is not a setting",
    "string_unicode": lambda context: "must be readable text",
    "literal_error": lambda context: f"must be {context['expected']}",
    "value_error": lambda context: str(context["error"]),
}


def _plain(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else str(bound)


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _wanted(problem: ErrorDetails) -> str:
    if problem["type"] == "missing" and isinstance(problem["loc"][-1], str):
        return f"needs {problem['loc'][-1]}"
    describe = _WANTED.get(problem["type"])
    return describe(problem.get("ctx", {})) if describe else problem["msg"].lower()


def sentence_about(key: str, problems: Sequence[ErrorDetails]) -> str:
    """What is wrong with the value of a key, from pydantic's errors about that value alone."""
    # A union reports once for each member. The member that got furthest into the value is the one that was meant;
    # among equals the ways to be right are joined, and the value is said once.
    deepest = max(problems, key=lambda problem: len(_items(problem)))
    alike = [problem for problem in problems if _items(problem) == _items(deepest)]
    wanted = list(dict.fromkeys(_wanted(problem) for problem in alike))
    first, rest = wanted[0], [item.removeprefix("must be ") for item in wanted[1:]]
    place = f": item {_items(deepest)[0]!r}" if _items(deepest) else ""
    return f"{key}{place} {' or '.join([first, *rest])}, got {_shown(deepest['input'])}."


def _items(problem: ErrorDetails) -> list[int | str]:
    """Which item of a list or mapping is at fault, outermost first."""
    return [part for part in problem["loc"] if not isinstance(part, str) or not _is_union_member(part)]


def _is_union_member(part: str) -> bool:
    return part in ("int", "str", "bool", "float") or any(mark in part for mark in "[(-")


def sentences_for(error: ValidationError, settings: Mapping[str, Setting]) -> tuple[Finding, ...]:
    """One finding for each setting at fault, in the order of the settings."""
    by_name: dict[str, list[ErrorDetails]] = {}
    for problem in error.errors():
        name, *place = problem["loc"] or ("",)
        by_name.setdefault(str(name), []).append({**problem, "loc": tuple(place)})
    keys = {name: settings[name].key if name in settings else name for name in by_name}
    return tuple(Finding(keys[name], "error", sentence_about(keys[name], by_name[name])) for name in by_name)
