"""The fewest, shortest endings of paths that name some of them and no others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator


def shortest_endings(wanted: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Endings, cut at dots, that every wanted path has one of and no other path has, in the order of the wanted ones.

    A path that is itself the ending of another one is named by the whole of it.
    """
    return tuple(_endings(tuple(dict.fromkeys(wanted)), tuple(set(others)), 1))


def _endings(wanted: tuple[str, ...], others: tuple[str, ...], length: int) -> Iterator[str]:
    by_ending: dict[str, list[str]] = defaultdict(list)
    for path in wanted:
        by_ending[_ending(path, length)].append(path)
    for ending, group in by_ending.items():
        rivals = tuple(path for path in others if _ending(path, length) == ending)
        if not rivals or ending in group:
            yield ending
            # What is named by the whole of it may leave longer paths to name.
        longer = tuple(path for path in group if path != ending) if rivals else ()
        if longer:
            yield from _endings(longer, rivals, length + 1)


def _ending(path: str, length: int) -> str:
    return ".".join(path.split(".")[-length:])
