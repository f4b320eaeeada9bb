"""Recurrent layers have kernels in packages of their own; the estimate says that it counts without them."""

from __future__ import annotations

import pytest

from lora_explorer.memory.kernels.recurrence import recurrence_words

from ..models import LLAMA, MIXTRAL, skeleton_of
from ..tracing.test_layers import GRANITE_HYBRID, JAMBA, LFM_2, QWEN_3_NEXT


@pytest.mark.parametrize("config", [JAMBA, QWEN_3_NEXT, LFM_2, GRANITE_HYBRID], ids=lambda c: str(c["model_type"]))
def test_recurrent_layers_are_said_to_run_without_their_packages(config: dict[str, object]) -> None:
    (sentence,) = recurrence_words(skeleton_of(config))
    assert "mamba-ssm" in sentence


@pytest.mark.parametrize("config", [LLAMA, MIXTRAL], ids=lambda c: str(c["model_type"]))
def test_attention_alone_needs_no_such_sentence(config: dict[str, object]) -> None:
    assert recurrence_words(skeleton_of(config)) == ()
