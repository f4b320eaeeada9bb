"""The one way in which data are refused."""

from __future__ import annotations

from lora_explorer.errors import PreviewRefused


def refusal(sentence: str, *, suggestion: str | None = None) -> PreviewRefused:
    """One sentence at `datasets`."""
    return PreviewRefused(sentence, setting="datasets", suggestion=suggestion)


def quoted(values: list[str] | tuple[str, ...], most: int = 8) -> str:
    """Names for a sentence, no more than can be read: `a, b and 3 more`."""
    first = ", ".join(shown(value, 40) for value in values[:most])
    return f"{first} and {len(values) - most:,} more" if len(values) > most else first


def shown(name: str, most: int = 120) -> str:
    """A name somebody else chose, for a sentence: one line, and not too long."""
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return printable if len(printable) <= most else f"{printable[: most - 1]}…"
