"""Rules that need keys which are no settings, over the values of a file.

Facts: the validators of Axolotl 0.21's configuration schema and those of its plugins that concern LoRA, losses and
sharing a step. Where one asks for the machine, it is taken to have one CUDA card of compute capability 9.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_explorer.exports.axolotl.rules.adapter import ADAPTER_FILE_RULES, REMOVED_KEYS
from lora_explorer.exports.axolotl.rules.checkpointing import CHECKPOINTING_FILE_RULES
from lora_explorer.exports.axolotl.rules.distributed import DISTRIBUTED_FILE_RULES, FSDP1_KEYS
from lora_explorer.exports.axolotl.rules.file_rule import FileRule, FileValues
from lora_explorer.exports.axolotl.rules.objective import OBJECTIVE_FILE_RULES
from lora_explorer.exports.axolotl.rules.run import RUN_FILE_RULES
from lora_explorer.findings import Finding
from lora_explorer.settings.rules import broken_among

__all__ = ["FILE_RULES", "FSDP1_KEYS", "REMOVED_KEYS", "FileRule", "FileValues", "find_broken_rules"]

FILE_RULES: tuple[FileRule, ...] = (
    *ADAPTER_FILE_RULES,
    *DISTRIBUTED_FILE_RULES,
    *CHECKPOINTING_FILE_RULES,
    *RUN_FILE_RULES,
    *OBJECTIVE_FILE_RULES,
)


def find_broken_rules(values: FileValues) -> Iterator[Finding]:
    """A finding for each rule that the values break, which are those Axolotl reads, with the types it gives them."""
    return broken_among(FILE_RULES, values, _Shown(values))


class _Shown(dict[str, Any]):
    """Values for a sentence; a key that is not there reads as empty."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)

    def __missing__(self, key: str) -> str:
        return "empty"
