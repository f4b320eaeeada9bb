"""Recipes that hypothesis makes from the declarations: any setting, any value its type takes."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, get_args, get_origin

from hypothesis import strategies as st

from lora_explorer.settings import SETTINGS, Recipe, Setting, recipe_from

TEXTS = st.one_of(
    st.sampled_from(["yes", "null", "2e-4", "0x1f", "1:30", "- a", "a: b", "# c", "*a", "q_proj", "[x", ".*_proj", ""]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
PLAIN = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), TEXTS)
FIELD_TYPES = typing.get_type_hints(Recipe, include_extras=True)


def _numbers(kind: type, setting: Setting) -> st.SearchStrategy[Any]:
    low = setting.minimum if setting.minimum is not None else 0
    high = setting.maximum if setting.maximum is not None else min(setting.below or 10**6, 10**6)
    if kind is int:
        return st.integers(int(low), int(high))
    # A bound may be open (above 0, below 1): staying inside either way.
    inside = st.floats(0, 1, exclude_min=True, exclude_max=True, allow_subnormal=False)
    return inside.map(lambda share: min(max(low + share * (high - low), low + 1e-9), high * (1 - 1e-9)))


def _values(kind: Any, setting: Setting) -> st.SearchStrategy[Any]:
    origin = get_origin(kind)
    if origin is typing.Annotated:
        return _values(get_args(kind)[0], setting)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(_values(member, setting) for member in get_args(kind)))
    if origin is Literal:
        return st.sampled_from(get_args(kind))
    if origin is tuple:
        items = get_args(kind)
        if items[-1] is Ellipsis:
            return st.lists(_values(items[0], setting), max_size=3)
        return st.tuples(*(_values(item, setting) for item in items)).map(list)
    if origin is dict:
        value = PLAIN if get_args(kind)[1] is Any else _values(get_args(kind)[1], setting)
        return st.dictionaries(TEXTS, value, max_size=3)
    by_type = {bool: st.booleans(), str: TEXTS, type(None): st.none()}
    if kind in by_type:
        return by_type[kind]
    return st.integers(1, 200) if kind is int and setting.control.kind == "mapping" else _numbers(kind, setting)


VALUES = {name: _values(FIELD_TYPES[name], setting) for name, setting in SETTINGS.items()}


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Up to a dozen settings with values of their types; rules between settings may be broken."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=12))
    return recipe_from({name: draw(VALUES[name]) for name in names})
