"""Axolotl's YAML, both ways."""

from lora_explorer.exports.axolotl.reading import Imported, import_axolotl
from lora_explorer.exports.axolotl.writing import export_axolotl

__all__ = ["Imported", "export_axolotl", "import_axolotl"]
