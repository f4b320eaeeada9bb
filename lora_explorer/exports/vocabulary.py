"""A program's words for the settings: plain renames from the declarations, and conversions for all the rest.

Saying and hearing are the same table read both ways, so that what was said is heard as it was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lora_explorer.exports.exported import in_one_line
from lora_explorer.findings import Finding, Severity
from lora_explorer.settings import SETTINGS, Group, Recipe, Setting

# An entry for the other side, or a sentence on what cannot be one.
Said: TypeAlias = tuple[str, Any] | Finding
Values: TypeAlias = Mapping[str, Any]

# Beyond it, digits say more than is known.
_LARGEST_WITHOUT_POINT = 2**53


def words(text: str) -> frozenset[str]:
    """Names written one after the other."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Conversion:
    """Settings that a program says by other values or other keys.

    write: entries by the program's dotted keys. read: settings by their names, from the program's entries, defaults
    included; it gets whatever a file holds and leaves what it cannot use to the recipe, which refuses it.
    """

    settings: tuple[str, ...]
    keys: tuple[str, ...]
    write: Callable[[Recipe], Iterable[Said]]
    read: Callable[[Values], Iterable[Said]]


@dataclass(frozen=True)
class Vocabulary:
    """A program's words.

    words: its field of InTools. defaults: what it takes where a key is absent.
    by_itself: settings whose effect it has without being told. aside: keys about data, logging and saving.
    fixed: entries that every file of this kind has. groups: what this form is about; nothing is said of the rest.
    """

    title: str
    words: str
    defaults: Values
    conversions: tuple[Conversion, ...] = ()
    by_itself: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()
    fixed: Values = field(default_factory=dict)
    groups: tuple[Group, ...] = tuple(Group)

    def renames(self) -> Mapping[str, str]:
        """The program's key of every setting that it holds as it is."""
        converted = {name for conversion in self.conversions for name in conversion.settings}
        names = {name: setting.in_tools.of(self.words) for name, setting in self.about().items()}
        return {name: key for name, key in names.items() if key and name not in converted}

    def about(self) -> Mapping[str, Setting]:
        """The settings of its groups, in the order of the page."""
        return {name: setting for name, setting in SETTINGS.items() if setting.group in self.groups}

    def keys(self) -> frozenset[str]:
        """Every key that it can be told a setting with."""
        converted = (key for conversion in self.conversions for key in conversion.keys)
        return frozenset((*self.renames().values(), *converted))


def say(vocabulary: Vocabulary, recipe: Recipe) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """A filled-in recipe as entries by the program's dotted keys, in the order of the page, and what is unsaid.

    An entry that is the program's own default is left out unless the setting was given.
    """
    findings: list[Finding] = []
    entries: dict[str, Any] = dict(vocabulary.fixed)
    for names, said in _said(vocabulary, recipe):
        if isinstance(said, Finding):
            findings.append(said)
            continue
        key, value = said
        if value is None or value in ([], {}):
            continue
        at_rest = key in vocabulary.defaults and vocabulary.defaults[key] == value
        if not at_rest or recipe.model_fields_set.intersection(names):
            entries[key] = value
    return entries, _one_a_setting(findings)


def _said(vocabulary: Vocabulary, recipe: Recipe) -> Iterator[tuple[tuple[str, ...], Said]]:
    renames = vocabulary.renames()
    conversion_of = {name: conversion for conversion in vocabulary.conversions for name in conversion.settings}
    done: set[int] = set()
    for name, setting in vocabulary.about().items():
        conversion = conversion_of.get(name)
        if conversion is not None:
            if id(conversion) not in done:
                done.add(id(conversion))
                for said in conversion.write(recipe):
                    yield conversion.settings, said
        elif not setting.shown_when(recipe):
            continue
        elif name in renames:
            yield (name,), _renamed(vocabulary, setting, renames[name], recipe)
        elif name not in vocabulary.by_itself and is_set(setting, recipe):
            yield (name,), unsaid(vocabulary.title, setting, recipe)


def _renamed(vocabulary: Vocabulary, setting: Setting, key: str, recipe: Recipe) -> Said:
    value = getattr(recipe, setting.name)
    default = vocabulary.defaults.get(key)
    if value is None and default is not None:
        message = f"{setting.key} is empty, and {vocabulary.title} then takes {default}."
        return Finding(setting.key, "warning", message)
    return key, plain(value)


def is_set(setting: Setting, recipe: Recipe) -> bool:
    """Whether a setting does something that its absence would not do: an explicit `false` of what is off is at rest."""
    value = getattr(recipe, setting.name)
    return value != setting.default and bool(value or setting.default)


def unsaid(title: str, setting: Setting, recipe: Recipe) -> Finding:
    """That a program has no word for a setting. What only moves memory and speed is worth a note."""
    severity: Severity = "note" if setting.group is Group.HARDWARE else "warning"
    value = _shown(getattr(recipe, setting.name))
    return Finding(setting.key, severity, f"{title} has nothing for {setting.key}: {value} is left out.")


def otherwise(setting: str, message: str, severity: Severity = "warning") -> Finding:
    """What a program does otherwise than a setting says."""
    return Finding(SETTINGS[setting].key, severity, message)


def _one_a_setting(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    by_setting: dict[str, Finding] = {}
    for finding in findings:
        by_setting.setdefault(finding.setting, finding)
    return tuple(by_setting.values())


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(plain(value))
    text = in_one_line(text)
    return text if len(text) <= 60 else f"{text[:59]}…"


def plain(value: Any) -> Any:
    """A recipe's value in lists and dicts; a whole number without its decimal point."""
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    whole = isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_WITHOUT_POINT
    return int(value) if whole else value


def hear(vocabulary: Vocabulary, values: Mapping[Any, Any]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """The settings that a program's file means, by name, and what of the file is no setting here.

    A setting is named if it is not at Axolotl's default, or if the file says it and departs from the program's own.
    """
    stated, others = _by_dotted_key(values, vocabulary)
    departing = {key for key, value in stated.items() if value != vocabulary.defaults.get(key)}
    entries = {**vocabulary.defaults, **stated}
    findings = [*_told_apart(vocabulary, others), *_unlike_ours(vocabulary, stated)]
    heard: dict[str, Any] = {}
    for keys, said in _heard(vocabulary, entries):
        if isinstance(said, Finding):
            findings.append(said)
            continue
        name, value = said
        empty = value is None or value in ([], {})
        if not empty and (departing & keys or not _is_default(SETTINGS[name], value)):
            heard[name] = value
    return heard, tuple(findings)


def _heard(vocabulary: Vocabulary, entries: Values) -> Iterator[tuple[frozenset[str], Said]]:
    for name, key in vocabulary.renames().items():
        yield frozenset({key}), (name, entries.get(key))
    for conversion in vocabulary.conversions:
        for said in conversion.read(entries):
            yield frozenset(conversion.keys), said


def _is_default(setting: Setting, value: Any) -> bool:
    return bool(plain(value) == plain(setting.default)) or (not value and not setting.default)


def _by_dotted_key(values: Mapping[Any, Any], vocabulary: Vocabulary) -> tuple[dict[str, Any], list[str]]:
    """Entries that are read, and the dotted keys of those that are not. A null is as good as absent."""
    known = vocabulary.keys() | vocabulary.fixed.keys()
    inner = {key[:at] for key in known for at, character in enumerate(key) if character == "."}
    stated: dict[str, Any] = {}
    others: list[str] = []

    def walk(part: Mapping[Any, Any], path: str) -> None:
        for name, value in part.items():
            key = f"{path}{name}"
            if key in known:
                if value is not None:
                    stated[key] = value
            elif key in inner and isinstance(value, Mapping):
                walk(value, f"{key}.")
            elif value is not None:
                others.append(key)

    walk(values, "")
    return stated, others


def _unlike_ours(vocabulary: Vocabulary, stated: Values) -> Iterator[Finding]:
    """Entries that every file written here has alike, where this one has another value."""
    for key in vocabulary.fixed.keys() - vocabulary.keys():
        value = stated.get(key)
        if value is not None and value != vocabulary.fixed[key]:
            message = f"{vocabulary.title}'s {key} is {_shown(value)}, which no setting here says; it is left out."
            yield Finding(key, "warning", message)


def _told_apart(vocabulary: Vocabulary, others: Iterable[str]) -> Iterator[Finding]:
    aside = []
    for key in others:
        if key in vocabulary.aside or key.partition(".")[0] in vocabulary.aside:
            aside.append(key)
        else:
            shown = _shown(key)
            yield Finding(key, "warning", f"{vocabulary.title}'s {shown} has no setting here and is left out.")
    if aside:
        verb = "is" if len(aside) == 1 else "are"
        listed = ", ".join(_shown(key) for key in aside)
        yield Finding(aside[0], "note", f"{listed} {verb} about data, logging or saving, and left out.")
