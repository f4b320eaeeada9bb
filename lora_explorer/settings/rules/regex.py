"""What is wrong with a regex: it does not compile, or it could be tried for hours on one path of a module."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

# Python's own parser of regexes; it has moved and has no public name.
_parser = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

# About as long as the path of a module gets, in characters.
_PATH_LENGTH = 64
# Five free `.*` one after the other: some seconds over all paths of a large model.
_MOST_WAYS = _PATH_LENGTH**5 * 1000


@dataclass(frozen=True)
class RegexProblem:
    """sentence: its end, after the regex. is_invalid: Python cannot compile it; otherwise it could take too long."""

    sentence: str
    is_invalid: bool


@lru_cache(maxsize=1024)
def find_regex_problem(text: str) -> RegexProblem | None:
    """Why a text cannot serve as a regex; None if it can."""
    try:
        re.compile(text)
        ways = _ways_of_all(_parser.parse(text))
    except (re.error, OverflowError, RecursionError) as error:
        return RegexProblem(f"is not a valid regex: {error}", is_invalid=True)
    if ways > math.log(_MOST_WAYS):
        slow = "could take hours to match: it repeats what already repeats; write .* once instead"
        return RegexProblem(slow, is_invalid=False)
    return None


def _ways_of_all(items: Iterable[tuple[Any, Any]]) -> float:
    """In how many ways a path can be divided among the parts of a regex, at most; the logarithm of it.

    A regex that fails to match has tried all of them.
    """
    return sum(_ways(str(operation), argument) for operation, argument in items)


def _ways(operation: str, argument: Any) -> float:
    count = _WAYS.get(operation)
    return count(argument) if count else 0.0


def _ways_to_repeat(argument: Any) -> float:
    fewest, most, body = int(argument[0]), int(argument[1]), argument[2]
    longest = max(min(most, _PATH_LENGTH), fewest)
    return math.log(longest - fewest + 1) + longest * _ways_of_all(body)


def _ways_to_choose(argument: Any) -> float:
    return math.log(sum(math.exp(min(_ways_of_all(branch), 600.0)) for branch in argument[1]))


_WAYS: Mapping[str, Callable[[Any], float]] = {
    "MAX_REPEAT": _ways_to_repeat,
    "MIN_REPEAT": _ways_to_repeat,
    "POSSESSIVE_REPEAT": _ways_to_repeat,
    "BRANCH": _ways_to_choose,
    "SUBPATTERN": lambda argument: _ways_of_all(argument[-1]),
    "ATOMIC_GROUP": lambda argument: _ways_of_all(argument),
    "ASSERT": lambda argument: _ways_of_all(argument[1]),
    "ASSERT_NOT": lambda argument: _ways_of_all(argument[1]),
    "GROUPREF_EXISTS": lambda argument: sum(_ways_of_all(part) for part in argument[1:] if part),
}
