"""HTML that cannot be injected into: every text is escaped unless it is already Html."""

from __future__ import annotations

from html import escape


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(element: str, *children: object, **attributes: object) -> Html:
    """One element. Attributes: `class_` for class, `_` for `-`; None and False leave one out, True writes it bare."""
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    return Html(f"<{element}{written}>{join(*children)}</{element}>")


def join(*children: object) -> Html:
    """The children one after another; None is left out."""
    return Html("".join(_escaped(child) for child in children if child is not None))


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{escape(str(value))}"'


def _escaped(child: object) -> str:
    return child if isinstance(child, Html) else escape(str(child))
