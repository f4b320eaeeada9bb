"""Which known name a misspelt one was meant to be, in a time that a file of nothing but strange keys can bear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from heapq import nlargest
from itertools import chain

_LONGEST = 100
# difflib compares slowly, so only the names that share the most pairs of letters are compared at all.
_COMPARED = 6
_LEAST_SHARED = 0.3
# A slip of the hand, such as lora_alhpa; not a name with a word more or less, which may stand for something else.
_SLIP = 0.85


class Vocabulary:
    """Names, found by the pairs of letters in them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names_with: dict[str, list[str]] = {}
        for name in sorted(set(names)):
            for pair in _pairs(name):
                self._names_with.setdefault(pair, []).append(name)

    def nearest(self, word: str) -> str | None:
        """The known name that is most like a word, or None where none is like it."""
        word = word[:_LONGEST]
        pairs = _pairs(word)
        shared = Counter(chain.from_iterable(self._names_with.get(pair, ()) for pair in pairs))
        # Long names share many pairs with anything.
        likeness = {name: 2 * count / (len(name) + len(word)) for name, count in shared.items()}
        likely = [name for name in likeness if likeness[name] > _LEAST_SHARED]
        compared = nlargest(_COMPARED, likely, key=likeness.__getitem__)
        return next(iter(get_close_matches(word, compared, n=1, cutoff=0.6)), None)


def is_slip(word: str, name: str) -> bool:
    """Whether a word is so near a known name that it can be put right unasked."""
    return SequenceMatcher(None, word[:_LONGEST], name).ratio() >= _SLIP


def _pairs(word: str) -> set[str]:
    framed = f" {word} "
    return {framed[at : at + 2] for at in range(len(framed) - 1)}


@lru_cache(maxsize=32)
def vocabulary(names: tuple[str, ...]) -> Vocabulary:
    return Vocabulary(names)
