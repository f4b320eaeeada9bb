"""Pressing a saving: the draft then holds exactly the recipe that was traced, and Axolotl takes it."""

from __future__ import annotations

import pytest

from lora_explorer.base_models import base_model_from_config
from lora_explorer.memory.savings import Saving
from lora_explorer.memory.switches import switches
from lora_explorer.settings import errors_among, find_problems
from lora_explorer.ui.draft import Draft
from lora_explorer.ui.savings_press import touches_of

MODEL = base_model_from_config('{"model_type": "llama", "hidden_size": 64, "vocab_size": 128, "num_hidden_layers": 2}')
LORA = "base_model: llama\nadapter: lora\nlora_r: 8\nlora_alpha: 8\nlora_target_linear: true\n"


@pytest.mark.parametrize(
    "more",
    ["", "bf16: auto\n", "fp16: true\nbf16: false\n", "micro_batch_size: 4\nlora_dropout: 0.1\npeft_use_dora: true\n"],
)
def test_what_is_pressed_is_what_was_traced(more: str) -> None:
    draft = Draft(LORA + more)
    offered = list(switches(draft.recipe, MODEL, expandable_segments=True))
    assert {"cut_cross_entropy", "load_in_4bit"} <= {switch.setting for switch in offered}
    for switch in offered:
        saving = Saving(switch.setting, switch.value, switch.changes, 1, 1)
        pressed = Draft(draft.text, touches_of(draft.recipe)(saving)).recipe
        assert pressed == draft.recipe.changed(**switch.changes), switch
        assert not errors_among(find_problems(pressed)), switch
