"""transformers' Trainer for a plan, with the arguments that Axolotl would give its own subclass of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from peft.optimizers import create_loraplus_optimizer
from torch import nn
from torch.optim import Optimizer
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from lora_explorer.preview.data import EncodedData
from lora_explorer.preview.plan import PreviewPlan
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.settings import Recipe

# Of all the rows kept aside; an evaluation must not take longer than the steps between two.
EVALUATION_ROWS = 32
# Axolotl fills rows up to a multiple of it, for the sake of GPU kernels (axolotl/core/builders/causal.py).
_PADDING_TOKENS = 64
# axolotl/core/builders/base.py, where neither warmup_steps nor warmup_ratio is set.
_WARMUP_RATIO, _MOST_WARMUP_STEPS = 0.03, 100


def make_trainer(
    plan: PreviewPlan,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    data: EncodedData,
    folder: RunFolder,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trainer:
    """The trainer of an adapted model on its device."""
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.path / "tensorboard")
    evaluation = data.evaluation[:EVALUATION_ROWS] if plan.weights != "shape" and plan.request.eval_every else ()
    arguments = training_arguments(plan, folder, evaluates=bool(evaluation))
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=data.train,
        eval_dataset=evaluation or None,
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True, pad_to_multiple_of=_padding_tokens(plan)),
        optimizers=(loraplus_optimizer(plan.recipe, model, arguments), None),
        callbacks=list(callbacks),
    )


def training_arguments(plan: PreviewPlan, folder: RunFolder, *, evaluates: bool) -> TrainingArguments:
    """The recipe as the Trainer's arguments. The loss is logged every step, raw."""
    recipe, request = plan.recipe, plan.request
    arguments = TrainingArguments(
        output_dir=str(folder.checkpoints),
        max_steps=request.steps,
        per_device_train_batch_size=recipe.micro_batch_size,
        per_device_eval_batch_size=recipe.micro_batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        learning_rate=float(recipe.learning_rate or 0.0),
        lr_scheduler_type=recipe.lr_scheduler,
        warmup_steps=warmup_steps(recipe, request.steps),
        weight_decay=recipe.weight_decay,
        optim=recipe.optimizer,
        bf16=plan.dtype == "bfloat16",
        fp16=plan.dtype == "float16",
        seed=plan.seed,
        use_cpu=plan.device == "cpu",
        logging_steps=1,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        average_tokens_across_devices=False,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=request.eval_every,
        prediction_loss_only=True,
        save_strategy="no",
        save_total_limit=1,
        report_to=list(loggers(plan)),
        run_name=folder.id,
        project="lora-explorer",
        disable_tqdm=True,
        dataloader_pin_memory=plan.device == "cuda",
        **_given(recipe, plan),
    )
    if arguments.n_gpu > 1:
        # Of several GPUs the Trainer would use all at once, which no prediction here is about.
        arguments._n_gpu = 1
    return arguments


def warmup_steps(recipe: Recipe, steps: int) -> int:
    """Axolotl's, for a run of so many steps (axolotl/core/builders/base.py)."""
    if recipe.warmup_steps is not None:
        warmup = int(recipe.warmup_steps)
    elif recipe.warmup_ratio is not None:
        warmup = int(recipe.warmup_ratio * steps)
    else:
        warmup = min(int(_WARMUP_RATIO * steps), _MOST_WARMUP_STEPS)
    return 2 if warmup == 1 else warmup


def loraplus_optimizer(recipe: Recipe, model: nn.Module, arguments: TrainingArguments) -> Optimizer | None:
    """PEFT's optimizer with another rate for B, as Axolotl makes it; None without LoRA+, for the Trainer to make."""
    if recipe.loraplus_lr_ratio is None or not recipe.adapter:
        return None
    kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
    made: Optimizer = create_loraplus_optimizer(
        model,
        kind,
        loraplus_lr_ratio=recipe.loraplus_lr_ratio,
        loraplus_lr_embedding=recipe.loraplus_lr_embedding,
        loraplus_weight_decay=recipe.weight_decay,
        **options,
    )
    return made


def loggers(plan: PreviewPlan) -> tuple[str, ...]:
    """The trainer's own integrations that are asked for and installed."""
    name = plan.request.logging
    return (name,) if name != "none" and find_spec(name) else ()


def _given(recipe: Recipe, plan: PreviewPlan) -> Mapping[str, Any]:
    """Arguments whose default stands where the recipe says nothing."""
    given: dict[str, Any] = {} if recipe.max_grad_norm is None else {"max_grad_norm": recipe.max_grad_norm}
    return given | ({"tf32": recipe.tf32 is True} if plan.device == "cuda" else {})


def _padding_tokens(plan: PreviewPlan) -> int | None:
    """Rows are filled up to a multiple of it; None fills them up to the longest of the batch."""
    if plan.recipe.pad_to_sequence_len:
        return plan.sequence_len
    # Rows on a CPU gain nothing from a round length.
    return _PADDING_TOKENS if plan.device != "cpu" and plan.recipe.pad_to_sequence_len is None else None
