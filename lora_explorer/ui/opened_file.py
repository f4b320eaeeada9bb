"""The file that was opened last: its name and its text as they came. The page keeps them, not the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lora_explorer.exports.yaml_documents.reading import LARGEST_TEXT_BYTES
from lora_explorer.report.yaml_tab.commands import command_lines

DEFAULT_NAME = "lora-explorer.yml"
_SUFFIXES = (".yml", ".yaml")
_LONGEST_NAME = 120


@dataclass(frozen=True)
class OpenedFile:
    """text: None where no file was opened yet."""

    name: str = DEFAULT_NAME
    text: str | None = None

    @classmethod
    def from_page(cls, value: Any) -> OpenedFile:
        """As a page sent it; what is not as it should be is left out."""
        given = value if isinstance(value, Mapping) else {}
        text = given.get("text")
        usable = isinstance(text, str) and len(text) <= LARGEST_TEXT_BYTES
        return cls(_usable_name(uploaded_name(given)), text if usable else None)

    def for_page(self) -> dict[str, Any]:
        """With what is shown of it: the commands that take the file."""
        return asdict(self) | {"said": command_lines(self.name)}


def uploaded_name(value: Any) -> str:
    """The last part of the name that the page sent with an upload; empty where it sent none."""
    name = value.get("name") if isinstance(value, Mapping) else None
    return name.replace("\\", "/").rpartition("/")[2] if isinstance(name, str) else ""


def _usable_name(last: str) -> str:
    """The name, if it is that of a YAML file that a terminal can take."""
    usable = last.isprintable() and last.lower().endswith(_SUFFIXES) and len(last) <= _LONGEST_NAME
    return last if usable else DEFAULT_NAME
