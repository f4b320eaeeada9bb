"""Small models trained for a few steps by transformers' Trainer, on a CPU, while one step is watched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from lora_explorer.base_models import base_model_from_config
from lora_explorer.preview.models.adaptation import adapt
from lora_explorer.preview.models.model_loading import load_model
from lora_explorer.preview.plan import PreviewPlan, plan_preview
from lora_explorer.preview.request import Limits, PreviewRequest
from lora_explorer.preview.step_memory.tracked_step import TrackedStep
from lora_explorer.preview.step_memory.trainer_step import preview_step
from lora_explorer.settings import recipe_from

TOKENS = 48
VOCABULARY = 512
TINY = {
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
MIXTRAL = {**TINY, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
QWEN_MOE = {
    **TINY,
    "model_type": "qwen3_moe",
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "head_dim": 16,
}
GEMMA_3 = {
    **TINY,
    "model_type": "gemma3_text",
    "head_dim": 16,
    "num_hidden_layers": 6,
    "sliding_window": 32,
    "_sliding_window_pattern": 6,
}
LORA = {
    "base_model": "tiny",
    "adapter": "lora",
    "lora_r": 4,
    "lora_alpha": 16,
    "lora_target_linear": True,
    "sequence_len": TOKENS,
    "micro_batch_size": 2,
    "learning_rate": 0.01,
    "bf16": False,
}
IGNORED = -100


def plan_of(config: dict[str, Any] = TINY, *, limits: Limits | None = None, **settings: Any) -> PreviewPlan:
    """The plan of a run with random weights, two rows at a time unless the settings say otherwise."""
    values = {**LORA, **settings}
    recipe = recipe_from({name: value for name, value in values.items() if value is not None})
    base_model = base_model_from_config(json.dumps(config), "tiny")
    return plan_preview(
        PreviewRequest(recipe=recipe, base_model=base_model, weights="shape", limits=limits or Limits())
    )


@dataclass
class Run:
    """What a run left: the tracked step, what was logged, the trained weights, and the model as it is now."""

    tracked: TrackedStep
    logs: list[dict[str, float]]
    weights: dict[str, Tensor]
    model: nn.Module


def run(
    plan: PreviewPlan,
    out: Path,
    lengths: Sequence[int] = (TOKENS,),
    *,
    watched_step: int | None = 2,
    callbacks: Sequence[TrainerCallback] = (),
) -> Run:
    """Three steps over rows of these lengths in turn. watched_step: None watches none."""
    step = preview_step(plan)
    torch.manual_seed(0)
    model = adapt(load_model(plan.source, step, "cpu"), plan.start, step)
    with TrackedStep(plan, at_step=watched_step or 2) as tracked:
        trainer = _Trainer(
            model=model,
            args=_arguments(plan, out),
            train_dataset=_rows(lengths, 3 * plan.micro_batch_size * plan.gradient_accumulation_steps),
            data_collator=_collated,
            callbacks=[*callbacks, *([tracked] if watched_step else [])],
        )
        trainer.train()
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    return Run(tracked, trainer.state.log_history, weights, model)


class _Trainer(Trainer):
    """Takes the rows in order."""

    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


def _arguments(plan: PreviewPlan, out: Path) -> TrainingArguments:
    recipe = plan.recipe
    return TrainingArguments(
        output_dir=str(out),
        use_cpu=True,
        max_steps=3,
        optim=recipe.optimizer,
        learning_rate=float(recipe.learning_rate or 0.0),
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0 if recipe.max_grad_norm is None else recipe.max_grad_norm,
        per_device_train_batch_size=plan.micro_batch_size,
        gradient_accumulation_steps=plan.gradient_accumulation_steps,
        bf16=plan.dtype == "bfloat16",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _rows(lengths: Sequence[int], count: int) -> list[dict[str, Tensor]]:
    chance = torch.Generator().manual_seed(1)
    taken = [lengths[number % len(lengths)] for number in range(count)]
    tokens = [torch.randint(0, VOCABULARY, (length,), generator=chance) for length in taken]
    return [{"input_ids": each, "labels": each.clone(), "attention_mask": torch.ones_like(each)} for each in tokens]


def _collated(rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Filled up to the longest."""
    longest = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": 0, "labels": IGNORED, "attention_mask": 0}
    return {
        name: torch.stack([nn.functional.pad(row[name], (0, longest - len(row[name])), value=value) for row in rows])
        for name, value in fill.items()
    }
