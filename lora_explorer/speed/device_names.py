"""Which card of presets/gpus.yml a device is, by what it calls itself."""

from __future__ import annotations

import re

from lora_explorer.memory import Card, cards

# What drivers add to a card's name and what gpus.yml adds to it: maker, family, bus, memory, edition.
_BESIDES = re.compile(
    r"nvidia|geforce|tesla|amd|instinct|generation|workstation|server|edition|pcie|sxm\d?|nvl|hbm\d?e?|\d+gb",
    re.IGNORECASE,
)
_SAME_MEMORY = 0.1


def known_card(name: str, memory_bytes: int) -> Card | None:
    """The card that calls itself so and has about this much memory; None for one that is not in the table."""
    words = _words(name)
    alike = [card for card in cards() if _model(card.name) == _model(name)]
    near = [card for card in alike if abs(card.memory_bytes / memory_bytes - 1) < _SAME_MEMORY]
    # Cards of one chip and size differ in their bus: one for PCIe says so, one for SXM may say what its memory is.
    return max(near, key=lambda card: (len(words & _words(card.name)), "pcie" not in _words(card.name)), default=None)


def _words(name: str) -> set[str]:
    return {re.sub(r"^sxm\d$", "sxm", word) for word in re.split(r"[\s\-]+", name.casefold())}


def _model(name: str) -> tuple[str, ...]:
    """The words that tell one chip from another, in order."""
    return tuple(word for word in re.split(r"[\s\-]+", name.casefold()) if word and not _BESIDES.fullmatch(word))
