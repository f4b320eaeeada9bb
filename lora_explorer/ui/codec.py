"""Between a setting's value and what its widget holds. Nothing here knows what a setting means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import yaml

from lora_explorer.errors import InvalidSettings
from lora_explorer.findings import Finding
from lora_explorer.report.words import spans
from lora_explorer.settings import Recipe, Setting
from lora_explorer.settings.declaration import ControlKind
from lora_explorer.settings.values import Indices

Shown = str | float | bool | list[str] | None
"""What a widget holds: the text of a field, a number, a tick, or the entries of a list."""

REGEX = "regex:"
"""Marks the one entry that stands for a single string: a regex, or `all-linear`."""

_LONGEST_TEXT = 10_000
_MOST_LAYERS = 10_000


@dataclass(frozen=True)
class Codec:
    """encode: value to widget. decode: widget to value, None meaning that the key is absent."""

    encode: Callable[[Any], Shown]
    decode: Callable[[Any, Setting], Any]


def to_shown(setting: Setting, value: Any) -> Shown:
    """What the widget of a setting shows for a value."""
    return _codec_of(setting).encode(value)


def to_value(setting: Setting, shown: Shown) -> Any:
    """The value that a widget's content stands for. Raises InvalidSettings if the text cannot be read at all."""
    return _codec_of(setting).decode(shown, setting)


def is_shown(setting: Setting, shown: Any) -> bool:
    """Whether the widget of a setting could hold this; what comes from outside may be anything."""
    if isinstance(shown, list):
        return setting.control.kind == "names" and all(isinstance(entry, str) for entry in shown)
    # A tick is no number, though Python counts with it.
    return shown is None or type(shown) in _HELD[setting.control.kind]


def _codec_of(setting: Setting) -> Codec:
    annotation = Recipe.model_fields[setting.name].annotation
    if annotation == Indices:
        return _INDICES
    if setting.control.kind == "text" and str not in get_args(annotation):
        return _YAML
    return _CODECS[setting.control.kind]


def _same(value: Any) -> Any:
    return value


def _given(shown: Any, setting: Setting) -> Any:
    """A cleared field is an absent key."""
    return None if shown is None or shown == "" else shown


def _ticked(shown: Any, setting: Setting) -> bool:
    return bool(shown)


def _choice_shown(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choice(shown: Any, setting: Setting) -> Any:
    text = str(shown).strip() if shown is not None else ""
    return {"true": True, "false": False, "": None}.get(text.lower(), text)


def _text_shown(value: Any) -> str:
    return "" if value is None else str(value)


def _text(shown: Any, setting: Setting) -> str | None:
    return str(shown).strip() or None if shown is not None else None


def _names_shown(value: Any) -> list[str]:
    if value is None:
        return []
    return [f"{REGEX} {value}"] if isinstance(value, str) else [str(name) for name in value]


def _names(shown: Any, setting: Setting) -> tuple[str, ...] | str | None:
    entries = _entries(shown)
    single = [entry for entry in entries if entry.startswith(REGEX)]
    if single and len(entries) > 1:
        raise _unreadable(setting, "a regex stands alone; remove the other entries.")
    if single:
        return single[0].removeprefix(REGEX).strip()
    return tuple(entries) or None


def _indices_shown(value: Any) -> list[str]:
    return spans(tuple(value)).replace("–", "-").split(", ") if value else []


def _indices(shown: Any, setting: Setting) -> tuple[int | str, ...] | None:
    return tuple(index for entry in _entries(shown) for index in _span(entry)) or None


def _span(entry: str) -> Iterable[int | str]:
    """`3` or `0-15`; anything else is left for the setting's own check to refuse."""
    first, dash, last = entry.partition("-")
    if dash and first.strip().isdecimal() and last.strip().isdecimal() and int(last) - int(first) < _MOST_LAYERS:
        return range(int(first), int(last) + 1)
    return (int(entry),) if entry.isdecimal() else (entry,)


def _entries(shown: Any) -> list[str]:
    """The entries of a list; several may be typed or pasted as one, with commas between them."""
    listed = shown if isinstance(shown, list) else [] if shown is None else [shown]
    parts = (part for entry in listed for part in ([entry] if _is_whole(entry) else str(entry).split(",")))
    return [part.strip() for part in parts if str(part).strip()]


def _is_whole(entry: object) -> bool:
    # A regex may hold commas of its own.
    return str(entry).startswith(REGEX)


def _yaml_shown(value: Any) -> str:
    if not value:
        return ""
    return yaml.safe_dump(_plain(value), default_flow_style=True, sort_keys=False, width=10**6).strip()


def _yaml(shown: Any, setting: Setting) -> Any:
    text = str(shown).strip() if shown is not None else ""
    if len(text) > _LONGEST_TEXT:
        raise _unreadable(setting, f"must be shorter than {_LONGEST_TEXT:,} characters.")
    example = f", such as {setting.control.placeholder}" if setting.control.placeholder else ""
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise _unreadable(setting, "must not hold YAML aliases.")
        return yaml.safe_load(text) if text else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _unreadable(setting, f"cannot be read as YAML{example}.") from error


def _plain(value: Any) -> Any:
    """Tuples and frozen mappings as the lists and mappings that YAML knows."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _unreadable(setting: Setting, complaint: str) -> InvalidSettings:
    return InvalidSettings((Finding(setting.key, "error", f"{setting.key} {complaint}"),))


_YAML = Codec(_yaml_shown, _yaml)
_INDICES = Codec(_indices_shown, _indices)
_CODECS: Mapping[ControlKind, Codec] = {
    "slider": Codec(_same, _given),
    "number": Codec(_same, _given),
    "text": Codec(_text_shown, _text),
    "checkbox": Codec(_same, _ticked),
    "choice": Codec(_choice_shown, _choice),
    "names": Codec(_names_shown, _names),
    "mapping": _YAML,
}
# A number field takes text, and what is wrong with it is told beside it.
_HELD: Mapping[ControlKind, tuple[type, ...]] = {
    "slider": (int, float, str),
    "number": (int, float, str),
    "text": (str,),
    "checkbox": (bool,),
    "choice": (str,),
    "names": (),
    "mapping": (str,),
}
