"""Every program that a recipe can be written for, and whose files can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lora_explorer.exports import llama_factory, ms_swift, trl
from lora_explorer.exports.axolotl import export_axolotl
from lora_explorer.exports.exported import Exported
from lora_explorer.exports.llama_factory import export_llama_factory, read_llama_factory
from lora_explorer.exports.mlx_lm import export_mlx_lm, read_mlx_lm
from lora_explorer.exports.mlx_lm.configuration import MARKS as MLX_LM_MARKS
from lora_explorer.exports.ms_swift import export_ms_swift, read_ms_swift
from lora_explorer.exports.peft import export_adapter_config, export_peft_python, read_adapter_config
from lora_explorer.exports.torchtune import export_torchtune, read_torchtune
from lora_explorer.exports.trl import export_trl, read_trl
from lora_explorer.exports.unsloth import export_unsloth
from lora_explorer.exports.yaml_documents.reading import read_document
from lora_explorer.findings import Finding
from lora_explorer.settings import SETTINGS, Recipe

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

Write = Callable[[Recipe, "Skeleton | None"], Exported]
# Settings by name, and findings on the rest, from the values of a file.
Read = Callable[[Mapping[Any, Any]], tuple[dict[str, Any], tuple[Finding, ...]]]


@dataclass(frozen=True)
class Tool:
    """A program.

    name: on the command line. title: for people. file_name, language: of what is written (yaml, json or python).
    read: None where it has no file that can be read, or where reading it is another module's work.
    marks: keys by any of which its files are recognised.
    """

    name: str
    title: str
    file_name: str
    language: str
    write: Write
    read: Read | None = None
    marks: frozenset[str] = frozenset()

    @property
    def words(self) -> str:
        """Its field of InTools."""
        return self.name.replace("-", "_")


AXOLOTL = "axolotl"


def _axolotl(recipe: Recipe, skeleton: Skeleton | None) -> Exported:
    return Exported(export_axolotl(recipe))


_ALL = (
    Tool(AXOLOTL, "Axolotl", "axolotl.yml", "yaml", _axolotl),
    Tool(
        "peft", "PEFT", "adapter_config.json", "json",
        export_adapter_config, read_adapter_config, frozenset({"peft_type"}),
    ),
    Tool("peft-python", "PEFT, as Python", "adapter.py", "python", export_peft_python),
    Tool("trl", "TRL", "trl.yml", "yaml", export_trl, read_trl, trl.MARKS),
    Tool(
        "llama-factory", "LLaMA-Factory", "llama-factory.yml", "yaml",
        export_llama_factory, read_llama_factory, llama_factory.MARKS,
    ),
    Tool("unsloth", "Unsloth, as Python", "unsloth_sft.py", "python", export_unsloth),
    Tool(
        "torchtune", "torchtune", "torchtune.yml", "yaml",
        export_torchtune, read_torchtune, frozenset({"model._component_"}),
    ),
    Tool("ms-swift", "ms-swift", "ms-swift.yml", "yaml", export_ms_swift, read_ms_swift, ms_swift.MARKS),
    Tool("mlx-lm", "MLX-LM", "mlx-lm.yml", "yaml", export_mlx_lm, read_mlx_lm, MLX_LM_MARKS),
)  # fmt: skip
TOOLS: Mapping[str, Tool] = MappingProxyType({tool.name: tool for tool in _ALL})
"""Every program by its name, Axolotl first."""

_DATA = ("datasets", "pretraining_dataset", "test_datasets")


def export_recipe(recipe: Recipe, tool: str, skeleton: Skeleton | None = None, *, original: str = "") -> Exported:
    """Write a recipe for a program of TOOLS, with what the program cannot be told.

    skeleton: of the base model; without it, some programs' names for modules cannot be found, which is then said.
    original: the Axolotl YAML the recipe came from. Axolotl gets it back with its changes; for every other program
    its keys that are no settings are named as unsaid.
    Raises ExportRefused where there is nothing to write, and what the writing of such a file raises.
    """
    if tool == AXOLOTL:
        return Exported(export_axolotl(recipe, original))
    written = TOOLS[tool].write(recipe, skeleton)
    return Exported(written.text, (*written.unsaid, *_keys_left_out(original)))


def _keys_left_out(original: str) -> tuple[Finding, ...]:
    """Keys of a file that are no settings; data are the user's to fill in."""
    settings = {setting.path[0] for setting in SETTINGS.values()}
    values = read_document(original).values if original.strip() else {}
    keys = [str(key) for key in values if key not in settings and key not in _DATA and values[key] is not None]
    if not keys:
        return ()
    verb = "is no setting" if len(keys) == 1 else "are no settings"
    return (Finding(keys[0], "note", f"{', '.join(keys)} {verb} here and not in the file."),)
