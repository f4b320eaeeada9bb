"""8-bit states of embeddings, which transformers' Trainer keeps in 32 bits, against the Trainer's own optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from bitsandbytes.optim import GlobalOptimManager
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import Trainer, TrainingArguments

from lora_explorer.base_models.skeleton import model_config
from lora_explorer.memory import estimate_memory
from lora_explorer.memory.measurement.real_step import trainers_optimizer
from lora_explorer.memory.plan.optimizers import trace_optimizer
from lora_explorer.memory.plan.step import Step
from lora_explorer.memory.tracing.prepared_model import trained

from ..models import LLAMA, llama_3_8b, model_of, recipe_of

EIGHT_BIT = ("adamw_bnb_8bit", "lion_8bit", "ademamix_8bit", "rmsprop_bnb_8bit")


def small_model(*, tied: bool, adapted: bool) -> nn.Module:
    from transformers import LlamaForCausalLM

    config = model_config(model_of({**LLAMA, "tie_word_embeddings": tied, "num_hidden_layers": 2}))
    model: nn.Module = LlamaForCausalLM(config)
    if adapted:
        saved = LoraConfig(r=8, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
        model = get_peft_model(model, saved)  # type: ignore[arg-type]
    return model


def stepped(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the states after a step; what several tensors have in common counts once."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    # It remembers places in the lists of parameters, for every optimizer of the process.
    GlobalOptimManager.get_instance().initialize()
    tensors: Iterator[torch.Tensor] = (
        value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)
    )
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


@pytest.mark.parametrize(("tied", "adapted"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("name", EIGHT_BIT)
def test_states_are_those_of_the_trainers_optimizer(name: str, tied: bool, adapted: bool, tmp_path: Path) -> None:
    model = small_model(tied=tied, adapted=adapted)
    trainer = Trainer(model, TrainingArguments(output_dir=str(tmp_path), optim=name, use_cpu=True, report_to=[]))
    real = stepped(model, trainer.create_optimizer())
    measured = stepped(model, trainers_optimizer(model, name, "cpu"))

    tensors = tuple(tensor for _, tensor in trained(model, "model.layers", Step(1, 1)))
    first = trace_optimizer(name, tensors, clips_gradients=False).first
    states = zip(first.sizes_bytes, first.categories, strict=True)
    assert real == measured == sum(size for size, kind in states if kind == "optimizer states")


def test_a_saved_embedding_has_wide_states_and_a_saved_head_has_not() -> None:
    saved = recipe_of(lora_modules_to_save=["embed_tokens", "lm_head"])
    usual, under_loraplus = (
        estimate_memory(recipe, llama_3_8b(), every_card=False)
        for recipe in (
            saved.changed(optimizer="adamw_bnb_8bit"),
            saved.changed(optimizer="adamw_bnb_8bit", loraplus_lr_ratio=16),
        )
    )
    assert [any("32 bits" in said for said in each.assumptions) for each in (usual, under_loraplus)] == [True, False]
    wide, narrow = (dict(each.parts)["optimizer state"] for each in (usual, under_loraplus))
    words = 128_256 * 4096
    # Two moments of four bytes each instead of two of one byte and a float32 maximum for every 256 of them.
    assert wide - narrow == words * 2 * 4 - (words * 2 + words // 256 * 2 * 4)
