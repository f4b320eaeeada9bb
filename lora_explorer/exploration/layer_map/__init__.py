"""Editing on the layer × module map, and the shortest settings that say what was drawn."""

from lora_explorer.exploration.layer_map.edits import MapEdit, SetAlpha, SetRank, SwitchOff, SwitchOn, edit_map
from lora_explorer.exploration.layer_map.matrices import AdaptedMatrix, matrices_of
from lora_explorer.exploration.layer_map.rows import MapRow, rows_of
from lora_explorer.exploration.layer_map.wording import Wording, word_assignment

__all__ = [
    "AdaptedMatrix",
    "MapEdit",
    "MapRow",
    "SetAlpha",
    "SetRank",
    "SwitchOff",
    "SwitchOn",
    "Wording",
    "edit_map",
    "matrices_of",
    "rows_of",
    "word_assignment",
]
