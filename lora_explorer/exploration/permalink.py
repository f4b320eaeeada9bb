"""The whole state of the page as short text for a URL, and back. What comes back is read like a stranger's input.

A link is a version and base64url of: two bytes of a checksum, and JSON compressed with a dictionary. It holds the
settings that are given, as Axolotl tells a given default from an absent key; never a path, a token, or another key.
Where the settings stand in one of the recipes that come with the program, it names that one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lora_explorer import presets
from lora_explorer.base_models import Access, find_preset
from lora_explorer.base_models.model_source import is_hub_id
from lora_explorer.errors import InvalidSettings, UnreadableLink
from lora_explorer.exploration.link_dictionary import DICTIONARY_1
from lora_explorer.findings import Finding
from lora_explorer.memory import cards
from lora_explorer.settings import SETTINGS, Recipe, recipe_from

VERSION = "1"
LONGEST_LINK = 6000
MOST_PINNED = 8
LONGEST_NAME = 80
_MOST_BYTES = 1 << 16
_DEEPEST_VALUE, _DEEPEST_LINK = 12, 16
_CHECK_BYTES = 2
_OWN_MACHINE = Access()
_PATH = re.compile(r"\s*(/|~|\.{1,2}[/\\]|[A-Za-z]:[/\\]|\\\\|file:)")
# Tokens of the Hub, GitHub, GitLab, Slack, OpenAI and AWS, of the web (JWT), and keys in hexadecimal, as Weights &
# Biases gives them.
_TOKEN = re.compile(
    r"\b(hf_[A-Za-z0-9]{30,}|gh[opsu]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abp]-[\w-]{20,}|sk-[\w-]{32,}"
    r"|AKIA[0-9A-Z]{16}|eyJ[\w-]{16,}\.[\w-]{16,}|[0-9a-f]{40,})"
)
_SETTINGS, _CARD, _PLAIN_ALLOCATOR, _PINNED, _TEMPLATE = "s", "c", "a", "p", "t"


@dataclass(frozen=True)
class Pinned:
    """A configuration that is kept for comparison, under a name."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class SharedState:
    """What a link holds. card: a name of presets/gpus.yml, None for the page's own choice.

    template: the name of a recipe in presets/recipes in whose text the settings are written; None for no such text.
    """

    recipe: Recipe = field(default_factory=Recipe)
    card: str | None = None
    expandable_segments: bool = True
    pinned: tuple[Pinned, ...] = ()
    template: str | None = None


@dataclass(frozen=True)
class Permalink:
    """text: safe in a URL. left_out: what it does not hold, one sentence each."""

    text: str
    left_out: tuple[Finding, ...]


@dataclass(frozen=True)
class OpenedLink:
    """left_out: what the link held and is not taken over, one sentence each."""

    state: SharedState
    left_out: tuple[Finding, ...]


def write_permalink(state: SharedState, access: Access = _OWN_MACHINE) -> Permalink:
    """A link to a state. What must not travel, or is too much, is left out and named.

    access: where folders may be used, one that is called like a Hub id is taken for the folder.
    """
    settings, left_out = _shareable(state.recipe, access)
    pinned: list[tuple[str, Mapping[str, Any]]] = []
    for number, each in enumerate(state.pinned[:MOST_PINNED], 1):
        shared, unshared = _shareable(each.recipe, access)
        if problem := _why_secret([each.name]):
            unshared.append(_note("", f"its name {problem}, so the link leaves it out."))
        pinned.append((f"Configuration {number}" if problem else each.name[:LONGEST_NAME], shared))
        left_out += [_of_pinned(finding, each.name) for finding in unshared]
    if len(state.pinned) > MOST_PINNED:
        left_out.append(_note("", f"Only the first {MOST_PINNED} pinned configurations are in the link."))
    content = {
        _SETTINGS: settings,
        _CARD: state.card if state.card in _card_names() else None,
        _PLAIN_ALLOCATOR: None if state.expandable_segments else 1,
        _PINNED: pinned,
        _TEMPLATE: state.template if state.template in presets.recipe_names() else None,
    }
    text, too_much = _short_enough({key: value for key, value in content.items() if value})
    return Permalink(text, (*left_out, *too_much))


def read_permalink(text: str, access: Access = _OWN_MACHINE) -> OpenedLink:
    """What a link says, as far as it is safe and known. Raises UnreadableLink for text that is no link."""
    content = _decoded(text.strip())
    left_out = [
        _note("", f"The link holds {_shown(key)}, which is not known here.") for key in content if key not in _KEYS
    ]
    recipe, unread = _recipe_in(content.get(_SETTINGS, {}), access)
    left_out += unread
    card = content.get(_CARD)
    if card is not None and card not in _card_names():
        left_out.append(_note("", f"The link names the card {_shown(card)}, which is not known here."))
        card = None
    template = content.get(_TEMPLATE)
    if template is not None and template not in presets.recipe_names():
        left_out.append(_note("", f"The link is written in the recipe {_shown(template)}, which is not known here."))
        template = None
    pinned, unpinned = _pinned_in(content.get(_PINNED, []), access)
    state = SharedState(recipe, card, content.get(_PLAIN_ALLOCATOR) != 1, pinned, template)
    return OpenedLink(state, (*left_out, *unpinned))


def _card_names() -> list[str]:
    return [each.name for each in cards()]


_KEYS = {_SETTINGS, _CARD, _PLAIN_ALLOCATOR, _PINNED, _TEMPLATE}


def _shareable(recipe: Recipe, access: Access) -> tuple[dict[str, Any], list[Finding]]:
    """What is given and may travel, and what may not."""
    shared: dict[str, Any] = {}
    left_out: list[Finding] = []
    for name, setting in SETTINGS.items():
        if name not in recipe.model_fields_set:
            continue
        value = getattr(recipe, name)
        problem = _why_private(name, value, access)
        if problem is None and not _survives(name, value):
            problem = "cannot be written in a link"
        if problem:
            left_out.append(_note(setting.key, f"{setting.key} {problem}, so the link leaves it out."))
        else:
            shared[name] = _plain(value)
    return shared, left_out


def _why_private(name: str, value: Any, access: Access) -> str | None:
    """Why a value must not travel, as the end of a sentence."""
    if name == "lora_model_dir" and value:
        return "is a folder of this machine"
    if name == "base_model" and not _is_public(str(value), access):
        return "is neither a preset nor a Hub id"
    return _why_secret(list(_texts(value)))


def _why_secret(texts: Sequence[str]) -> str | None:
    """Why none of these texts may travel, as the end of a sentence."""
    if any(_PATH.match(text) for text in texts):
        return "holds a path"
    return "holds what looks like an access token" if any(_TOKEN.search(text) for text in texts) else None


def _is_public(base_model: str, access: Access) -> bool:
    """Whether everybody finds the same model under this name."""
    if find_preset(base_model):
        return True
    return is_hub_id(base_model) and not (access.folders and Path(base_model).is_dir())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _survives(name: str, value: Any) -> bool:
    """Whether a value comes back bit for bit; dates and keys that are no text do not."""
    if not _is_shallow(value, _DEEPEST_VALUE):
        return False
    try:
        written = json.dumps(_plain(value), ensure_ascii=False).encode()
        back = getattr(recipe_from({name: json.loads(written)}), name)
    except (TypeError, ValueError, RecursionError, InvalidSettings):
        return False
    return repr(back) == repr(value)


def _is_shallow(value: Any, levels: int) -> bool:
    """Whether lists and mappings are nested no deeper than that."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else None
    return items is None or (levels > 0 and all(_is_shallow(item, levels - 1) for item in items))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _short_enough(content: dict[str, Any]) -> tuple[str, list[Finding]]:
    """The text of a link; what makes it too long is left out, the pinned configurations first."""
    left_out: list[Finding] = []
    while len(written := _written(content)) > _MOST_BYTES or len(text := _packed(written)) > LONGEST_LINK:
        if content.pop(_PINNED, None):
            left_out.append(_note("", "The pinned configurations are too long for a link."))
            continue
        settings = dict(content[_SETTINGS])
        longest = max(settings, key=lambda name: len(str(settings[name])))
        del settings[longest]
        content[_SETTINGS] = settings
        key = SETTINGS[longest].key
        left_out.append(_note(key, f"{key} is too long for a link, so the link leaves it out."))
    return text, left_out


def _written(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _packed(written: bytes) -> str:
    compressing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY_1)
    packed = _check(written) + compressing.compress(written) + compressing.flush()
    return VERSION + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _check(written: bytes) -> bytes:
    return zlib.crc32(written).to_bytes(4, "big")[:_CHECK_BYTES]


def _decoded(text: str) -> Mapping[str, Any]:
    if not text or len(text) > LONGEST_LINK:
        raise UnreadableLink(f"A link holds between 1 and {LONGEST_LINK:,} characters, this one {len(text):,}.")
    if text[0] != VERSION:
        raise UnreadableLink("This link is of a version that is not known here; it may be newer than this program.")
    try:
        packed = base64.b64decode(text[1:] + "=" * (-len(text[1:]) % 4), altchars=b"-_", validate=True)
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS, DICTIONARY_1)
        written = unpacking.decompress(packed[_CHECK_BYTES:], _MOST_BYTES + 1)
        is_whole = unpacking.eof and not unpacking.unused_data and _check(written) == packed[:_CHECK_BYTES]
        content = json.loads(written) if is_whole else None
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise UnreadableLink("This link cannot be read; it may have been cut or changed on its way.") from error
    if not isinstance(content, dict) or not _is_shallow(content, _DEEPEST_LINK):
        raise UnreadableLink("This link is not whole; it may have been cut or changed on its way.")
    return content


def _recipe_in(settings: Any, access: Access) -> tuple[Recipe, list[Finding]]:
    """The settings that are known and allowed; what is wrong with the others."""
    given = settings if isinstance(settings, dict) else {}
    taken: dict[str, Any] = {}
    left_out: list[Finding] = []
    for name, value in given.items():
        problem = _why_not_taken(name, value, access)
        if problem is None:
            taken[name] = value
        else:
            left_out.append(problem)
    return recipe_from(taken), left_out


def _why_not_taken(name: str, value: Any, access: Access) -> Finding | None:
    if name not in SETTINGS:
        return _note("", f"The link holds {_shown(name)}, which is not a setting.")
    key = SETTINGS[name].key
    problem = _why_private(name, value, access)
    if problem:
        return _note(key, f"{key} in the link {problem}, and is not taken over.")
    try:
        recipe_from({name: value})
    except InvalidSettings as error:
        return replace(error.findings[0], severity="warning")
    return None


def _pinned_in(listed: Any, access: Access) -> tuple[tuple[Pinned, ...], list[Finding]]:
    given = listed if isinstance(listed, list) else []
    pinned: list[Pinned] = []
    left_out: list[Finding] = []
    for each in given[:MOST_PINNED]:
        if not (isinstance(each, list) and len(each) == 2 and isinstance(each[0], str)):
            left_out.append(_note("", "A pinned configuration in the link cannot be read."))
            continue
        recipe, unread = _recipe_in(each[1], access)
        name = each[0][:LONGEST_NAME]
        pinned.append(Pinned(name, recipe))
        left_out += [_of_pinned(finding, name) for finding in unread]
    return tuple(pinned), left_out


def _of_pinned(finding: Finding, name: str) -> Finding:
    return replace(finding, message=f"{_shown(name)}: {finding.message}")


def _note(setting: str, message: str) -> Finding:
    return Finding(setting, "warning", message)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
