"""A run from its request to its adapter: data, model and adapter loaded, trained and told step by step.

Only the worker loads this module.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase, Trainer, set_seed

from lora_explorer.errors import AdapterRefused, MemoryUnknown
from lora_explorer.preview.data import EncodedData, encode, load_rows
from lora_explorer.preview.device import device_words, environment
from lora_explorer.preview.events import Event, Log, Sample, Stage, Started
from lora_explorer.preview.measured_speed import keep_efficiency
from lora_explorer.preview.models.adaptation import adapt
from lora_explorer.preview.models.model_loading import load_model, load_tokenizer
from lora_explorer.preview.plan import PreviewPlan, plan_preview
from lora_explorer.preview.run_folder import RunFolder
from lora_explorer.preview.step_memory.tracked_step import TrackedStep
from lora_explorer.preview.step_memory.trainer_step import preview_step
from lora_explorer.preview.training.callbacks import Positions, StepEvents, StopAsked, stoppable
from lora_explorer.preview.training.model_card import name_base_model, write_model_card
from lora_explorer.preview.training.samples import (
    Prompt,
    answers,
    answers_of_base,
    base_is_reachable,
    choose_prompts,
    text,
)
from lora_explorer.preview.training.trainer import loggers, make_trainer

# The second finds the optimizer's states made.
_MEASURED_STEP = 2


def train(folder: RunFolder, emit: Callable[[Event], None], stopping: threading.Event) -> None:
    """Train what the folder's request asks for, from its newest checkpoint where there is one.

    Returns when the steps are done, or soon after `stopping` is set. Raises PreviewRefused, LossNotFinite and whatever
    the libraries raise; how it ended is told by who calls it.
    """
    plan = plan_preview(folder.request())
    emit(
        Started(
            run=folder.id,
            steps=plan.request.steps,
            device=device_words(plan.device),
            notes=(*plan.notes, *_logging_notes(plan)),
        )
    )
    folder.write("environment", environment(plan.device))
    folder.write("plan", plan.record())
    run = _Run(plan, folder, emit, stopping)
    try:
        run.load()
        run.train()
    except StopAsked:
        run.keep()


@dataclass
class _Run:
    """What is loaded for a run, and what is done with it."""

    plan: PreviewPlan
    folder: RunFolder
    emit: Callable[[Event], None]
    stopping: threading.Event
    tokenizer: PreTrainedTokenizerBase = field(init=False)
    data: EncodedData = field(init=False)
    model: Any = field(init=False, default=None)
    trainer: Trainer | None = field(init=False, default=None)
    positions: Positions = field(init=False, default_factory=Positions)

    def load(self) -> None:
        """Data, model and adapter. Raises PreviewRefused, and StopAsked between two of them."""
        plan = self.plan
        self._tell("Reading the data")
        self.tokenizer = load_tokenizer(plan.source, tell=self._tell)
        rows = load_rows(plan.request.data, access=plan.request.access)
        self.data = encode(rows, self.tokenizer, plan.sequence_len, seed=plan.seed)
        for note in (*rows.notes, *self.data.notes):
            self.emit(Log(message=note))
        step = preview_step(plan)
        base = load_model(plan.source, step, plan.device, tell=self._tell)
        self._tell("Adding the adapter" if plan.recipe.adapter else "Making every parameter trainable")
        set_seed(plan.seed)
        self.model = adapt(base, plan.start, step)

    def train(self) -> None:
        """The steps that are left, and what comes after them. Raises StopAsked."""
        checkpoint = self.folder.newest_checkpoint()
        left = self.plan.request.steps - self.folder.kept_steps()
        if left < 1:
            return
        with stoppable(self.model, self.stopping), self.positions.counted(self.model):
            prompts, before = self._answers_before()
            with TrackedStep(self.plan, at_step=min(_MEASURED_STEP, left)) as tracked:
                self.trainer = make_trainer(
                    self.plan, self.model, self.tokenizer, self.data, self.folder, [self._step_events(), tracked]
                )
                self._tell("Training")
                self.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            self.keep()
            self._keep_speed()
            if not self.stopping.is_set():
                self._tell_memory(tracked)
                self._tell_samples(prompts, before)

    def keep(self) -> None:
        """Save the adapter, and a checkpoint where the last step has none yet."""
        trainer = self.trainer
        if trainer is None or not trainer.state.global_step:
            return
        if self.folder.kept_steps() < trainer.state.global_step:
            # The Trainer saves only between steps, and a stop comes in the middle of one.
            trainer._save_checkpoint(self.model, trial=None)
        if self.plan.recipe.adapter:
            self._keep_adapter(trainer.state.global_step)

    def _keep_adapter(self, steps: int) -> None:
        """Complete or not at all, as who stops a run does not wait for long."""
        draft = self.folder.adapter.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        self.model.save_pretrained(draft)
        name_base_model(draft, self.plan.source.base_model.name)
        write_model_card(draft, self.folder, self.plan, steps)
        shutil.rmtree(self.folder.adapter, ignore_errors=True)
        draft.replace(self.folder.adapter)

    def _tell(self, message: str) -> None:
        if self.stopping.is_set():
            raise StopAsked
        self.emit(Stage(message=message))

    def _step_events(self) -> StepEvents:
        shows_loss = self.plan.weights != "shape"
        return StepEvents(self.emit, self.stopping, self.plan.device, self.positions, shows_loss=shows_loss)

    def _answers_before(self) -> tuple[list[Prompt], list[str] | None]:
        """Prompts, and answers to them where the base model cannot be had back after training."""
        plan = self.plan
        if plan.weights == "shape":
            return [], None
        prompts = choose_prompts(self.data, plan.request.samples)
        if base_is_reachable(self.model, plan.recipe.peft_init_lora_weights) and not plan.start.is_continued:
            return prompts, None
        self._tell("Writing samples before training")
        return prompts, answers(self.model, self.tokenizer, prompts)

    def _tell_memory(self, tracked: TrackedStep) -> None:
        try:
            measured = tracked.event()
        except (MemoryUnknown, AdapterRefused) as unknown:
            self.emit(Log(message=str(unknown)))
            return
        if measured is not None:
            self.emit(measured)

    def _keep_speed(self) -> None:
        if self.plan.device != "cuda":
            return
        # A model that cannot be traced has told so already, where its memory was to be predicted.
        with suppress(MemoryUnknown, AdapterRefused):
            keep_efficiency(self.folder, self.plan)

    def _tell_samples(self, prompts: list[Prompt], before: list[str] | None) -> None:
        if not prompts:
            return
        self._tell("Writing samples")
        after = answers(self.model, self.tokenizer, prompts)
        found = before if before is not None else answers_of_base(self.model, self.tokenizer, prompts)
        for prompt, old, new in zip(prompts, found, after, strict=True):
            said = text(self.tokenizer, prompt.tokens)
            self.emit(Sample(prompt=said, before=old, after=new, expected=text(self.tokenizer, prompt.expected)))


def _logging_notes(plan: PreviewPlan) -> tuple[str, ...]:
    name = plan.request.logging
    if name == "none" or loggers(plan):
        return ()
    return (f"Nothing is logged to {name}: the package is not installed (pip install {name}).",)
