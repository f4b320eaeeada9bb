"""Short regexes for sets of layer numbers and of names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator


def number_regex(numbers: Iterable[int]) -> str:
    """A regex that fully matches these whole numbers, from 0 on, and no others: (\\d|1[0-5]) for 0 to 15."""
    return _alternatives(_branches({str(number) for number in numbers}))


def name_regex(names: Iterable[str]) -> str:
    """A regex for names, with the ending that all of them share written once: (q|v)_proj."""
    listed = list(dict.fromkeys(names))
    shared = _shared_ending(listed)
    stems = [name.removesuffix(shared) for name in listed]
    return f"{_alternatives(stems)}{shared}" if shared and all(stems) else _alternatives(listed)


def _shared_ending(names: list[str]) -> str:
    endings = {name[name.rindex("_") :] if "_" in name else "" for name in names}
    return endings.pop() if len(endings) == 1 and len(names) > 1 else ""


def _alternatives(branches: Iterable[str]) -> str:
    listed = list(branches)
    return listed[0] if len(listed) == 1 else f"({'|'.join(listed)})"


def _branches(texts: set[str]) -> Iterator[str]:
    """Numbers of one length together; those that differ in the last digit only become one branch."""
    by_length: dict[int, set[str]] = defaultdict(set)
    for text in texts:
        by_length[len(text)].add(text)
    for length in sorted(by_length):
        yield from _of_one_length(by_length[length])


def _of_one_length(texts: set[str]) -> Iterator[str]:
    last_digits: dict[str, set[str]] = defaultdict(set)
    for text in texts:
        last_digits[text[:-1]].add(text[-1])
    heads: dict[str, set[str]] = defaultdict(set)
    for head, digits in sorted(last_digits.items()):
        heads[_digit_class(digits)].add(head)
    for digit_class, before in heads.items():
        head = "" if before == {""} else _alternatives(_of_one_length(before))
        yield f"{head}{digit_class}"


def _digit_class(digits: set[str]) -> str:
    ordered = sorted(digits)
    if len(ordered) == 10:
        return "\\d"
    if len(ordered) == 1:
        return ordered[0]
    return f"[{''.join(_runs(ordered))}]"


def _runs(digits: list[str]) -> Iterator[str]:
    """Three or more digits in a row as a span."""
    start = 0
    for end in range(1, len(digits) + 1):
        if end == len(digits) or int(digits[end]) != int(digits[end - 1]) + 1:
            run = digits[start:end]
            yield f"{run[0]}-{run[-1]}" if len(run) > 2 else "".join(run)
            start = end
