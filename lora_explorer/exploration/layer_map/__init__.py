"""Editing on the layer × module map, and the shortest settings that say what was drawn."""

from lora_explorer.exploration.layer_map.edits import MapEdit, SetRank, SwitchOff, SwitchOn, edit_map
from lora_explorer.exploration.layer_map.wording import Wording, word_assignment

__all__ = ["MapEdit", "SetRank", "SwitchOff", "SwitchOn", "Wording", "edit_map", "word_assignment"]
