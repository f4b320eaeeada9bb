"""The training run: how many tokens a step sees, how long, and how the weights are moved."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from lora_explorer.settings.declaration import Control, Group, InTools, Settings, has_adapter, setting
from lora_explorer.settings.values import Number, WholeNumber

_AXOLOTL = "Axolotl 0.21, configuration schema"
_TRAINER = "transformers, TrainingArguments"

# transformers' OptimizerNames that run on one GPU, then the names Axolotl adds.
OPTIMIZERS = (
    "adamw_torch_fused",
    "adamw_torch",
    "adamw_bnb_8bit",
    "adamw_8bit",
    "paged_adamw_8bit",
    "paged_adamw_32bit",
    "adamw_torch_8bit",
    "adamw_torch_4bit",
    "ademamix",
    "ademamix_8bit",
    "lion_32bit",
    "lion_8bit",
    "paged_lion_32bit",
    "paged_lion_8bit",
    "adafactor",
    "sgd",
    "adagrad",
    "rmsprop",
    "muon",
    "muon_8bit",
    "optimi_adamw",
    "ao_adamw_8bit",
    "ao_adamw_4bit",
    "ao_adamw_fp8",
    "adopt_adamw",
    "adamc",
    "came_pytorch",
    "dion",
    "sinkgd",
    "polora",
    "flash_adamw",
    "flash_lion",
)
# The rest of transformers' OptimizerNames and of Axolotl's CustomSupportedOptimizers, which the menu leaves out.
RARER_OPTIMIZERS = (
    "adalomo",
    "adamw_anyprecision",
    "adamw_torch_npu_fused",
    "adamw_torch_xla",
    "apollo_adamw",
    "apollo_adamw_layerwise",
    "flash_adam",
    "flash_sgd",
    "flash_sgdw",
    "galore_adafactor",
    "galore_adafactor_layerwise",
    "galore_adamw",
    "galore_adamw_8bit",
    "galore_adamw_8bit_layerwise",
    "galore_adamw_layerwise",
    "grokadamw",
    "lomo",
    "paged_ademamix_32bit",
    "paged_ademamix_8bit",
    "q_galore_adamw8bit",
    "rmsprop_bnb",
    "rmsprop_bnb_32bit",
    "rmsprop_bnb_8bit",
    "scao",
    "schedule_free_adamw",
    "schedule_free_radam",
    "schedule_free_sgd",
    "stable_adamw",
)
LR_SCHEDULERS = (
    "cosine",
    "linear",
    "constant",
    "constant_with_warmup",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
    "cosine_with_min_lr",
    "warmup_stable_decay",
    "one_cycle",
    "rex",
)
RARER_LR_SCHEDULERS = ("cosine_warmup_with_min_lr", "greedy", "reduce_lr_on_plateau")


class TrainingSettings(Settings):
    group: ClassVar[Group] = Group.TRAINING

    sequence_len: Annotated[
        WholeNumber,
        Field(ge=1, le=4_194_304),
        Control("slider", 128, 32768, 128),
        InTools(
            trl="max_length",
            llama_factory="cutoff_len",
            unsloth="max_length",
            torchtune="tokenizer.max_seq_len",
            ms_swift="max_length",
            mlx_lm="max_seq_length",
        ),
    ] = setting(
        512,
        label="Sequence length",
        help="Tokens in one row. Activations, and the logits above all, grow in proportion to it.",
        explanation="Longer rows are cut. With sample packing every row is filled to exactly this length.",
        source=_AXOLOTL,
        more=False,
    )
    micro_batch_size: Annotated[
        WholeNumber,
        Field(ge=1, le=4096),
        Control("slider", 1, 64, 1),
        InTools(trainer="per_device_train_batch_size", torchtune="batch_size", mlx_lm="batch_size"),
    ] = setting(
        1,
        label="Micro batch size",
        help="Rows that go through the model at once. Activations grow in proportion to it.",
        explanation="It is counted for each card. What one step of the optimizer sees is this times "
        "`gradient_accumulation_steps`, times the number of cards. Weights and optimizer states do not grow"
        " with it, so twice the rows need less than twice the memory.",
        source=_AXOLOTL,
        more=False,
    )
    gradient_accumulation_steps: Annotated[
        WholeNumber,
        Field(ge=1, le=65536),
        Control("slider", 1, 64, 1),
        InTools(
            trainer="gradient_accumulation_steps",
            torchtune="gradient_accumulation_steps",
            mlx_lm="grad_accumulation_steps",
        ),
    ] = setting(
        1,
        label="Gradient accumulation",
        help="Micro batches added up before the weights move: a larger batch at no memory but the kept gradients.",
        explanation="Gradients stay on the card between the micro batches and are added up. A step takes longer in "
        "proportion, a pass over the data set about as long as before.",
        source=_AXOLOTL,
        more=False,
    )
    learning_rate: Annotated[
        Number | None,
        Field(gt=0, le=10),
        Control("number", step=0.00001),
        InTools(trainer="learning_rate", torchtune="optimizer.lr", mlx_lm="learning_rate"),
    ] = setting(
        None,
        label="Learning rate",
        help="Peak size of a step; LoRA usually wants about ten times that of full fine-tuning. Axolotl requires it.",
        explanation="Of 178 example configurations with an adapter that Axolotl ships, 141 say 0.0002. The scale "
        "multiplies what A and B do to the output, so another alpha or rank can ask for another rate.",
        source=_TRAINER,
        more=False,
    )
    optimizer: Annotated[str, Control("choice", choices=OPTIMIZERS, accepts_other=True)] = setting(
        "adamw_torch_fused",
        label="Optimizer",
        help="How the weights move. AdamW keeps 8 bytes of states for a trainable parameter, its 8-bit form about 2.",
        explanation="States are kept for trained parameters only: with LoRA they are a small part of the memory, in "
        "full fine-tuning the largest. The paged forms may move them to host memory when the card runs "
        "short.",
        source=_AXOLOTL,
        more=False,
    )
    sample_packing: Annotated[
        bool,
        Control("checkbox"),
        InTools(trl="packing", unsloth="packing", torchtune="dataset.packed", ms_swift="packing"),
    ] = setting(
        False,
        label="Sample packing",
        help="Fills each row with several samples up to the sequence length, so that no token is padding.",
        explanation="Without it the rows of a batch are padded to the longest, and the padding is computed for nothing."
        " With it almost every token of a step is a real one, so an epoch has fewer steps, and the memory "
        "is always that of full rows.",
        source=_AXOLOTL,
    )
    pad_to_sequence_len: Annotated[bool | None, Control("choice", choices=("true", "false"))] = setting(
        None,
        label="Pad to the sequence length",
        help="Gives every step the same shape, which keeps the allocator's memory in one piece.",
        explanation="Empty becomes true under sample packing. Without packing it means that short samples cost as much "
        "time and memory as long ones.",
        source=_AXOLOTL,
    )
    num_epochs: Annotated[
        Number, Field(gt=0, le=10_000), Control("number", step=1), InTools(trainer="num_train_epochs")
    ] = setting(
        1.0,
        label="Epochs",
        help="Passes over the data set; the most steps below end the run earlier.",
        explanation="An epoch has as many steps as there are rows, divided by the effective batch. A fraction such as "
        "0.5 ends within the first pass.",
        source=_TRAINER,
    )
    max_steps: Annotated[WholeNumber | None, Field(ge=-1), Control("number", step=1)] = setting(
        None,
        label="Most steps",
        help="Ends the run after this many steps, whatever the epochs say.",
        explanation="These are steps of the optimizer, so each goes through `gradient_accumulation_steps` micro "
        "batches. −1 means no limit.",
        source=_TRAINER,
    )
    lr_scheduler: Annotated[str, Control("choice", choices=LR_SCHEDULERS, accepts_other=True)] = setting(
        "cosine",
        label="Learning rate schedule",
        help="How the learning rate falls after the warm-up. No effect on count or memory.",
        explanation="`cosine` falls along half a cosine to zero, `linear` in a straight line, `constant` stays where it"
        " is. The schedule spans all steps of the run, so another number of epochs gives another curve.",
        source=_TRAINER,
    )
    # Files hold a share here, as transformers takes it and Axolotl does not: a rule says so, and the file can be read.
    warmup_steps: Annotated[WholeNumber | Number | None, Field(ge=0), Control("number", step=1)] = setting(
        None,
        label="Warm-up steps",
        help="Steps in which the learning rate rises to its peak; excludes the warm-up ratio.",
        explanation="Where both warm-up settings are empty, Axolotl warms up for 3 % of the steps and at most 100.",
        source=_AXOLOTL,
    )
    warmup_ratio: Annotated[Number | None, Field(ge=0, le=1), Control("number", step=0.01)] = setting(
        None,
        label="Warm-up ratio",
        help="Share of all steps in which the learning rate rises to its peak; excludes the warm-up steps.",
        explanation="It follows the length of the run, where a number of steps stays as it is. Where both are empty, "
        "Axolotl takes 0.03 and at most 100 steps.",
        source=_AXOLOTL,
    )
    weight_decay: Annotated[
        Number,
        Field(ge=0, le=10),
        Control("number", step=0.01),
        InTools(trainer="weight_decay", torchtune="optimizer.weight_decay"),
    ] = setting(
        0.0,
        label="Weight decay",
        help="Pulls the trained weights towards zero in every step.",
        explanation="With LoRA it pulls at A and B, and so at the change to W; the frozen weights stay as they are. "
        "AdamW takes learning rate × this × weight off in each step.",
        source=_TRAINER,
    )
    max_grad_norm: Annotated[
        Number | None, Field(ge=0), Control("number", step=0.1), InTools(trainer="max_grad_norm")
    ] = setting(
        None,
        label="Gradient clipping",
        help="Scales gradients down when their norm is above this.",
        explanation="The norm is that of all trained gradients together. Empty leaves transformers' 1.0 in force, 0 "
        "turns clipping off.",
        source=_TRAINER,
    )
    loraplus_lr_ratio: Annotated[
        Number | None,
        Field(gt=0, le=10_000),
        Control("number", step=1),
        InTools(llama_factory="loraplus_lr_ratio", ms_swift="lorap_lr_ratio"),
    ] = setting(
        None,
        label="LoRA+ ratio",
        help="Trains B this many times faster than A; 16 is the paper's advice. Count and memory unchanged.",
        explanation="A keeps the learning rate, B gets this many times as much. PEFT advises a somewhat lower learning "
        "rate with it, about half.",
        source="Hayou et al. 2024, LoRA+, arXiv 2402.12354",
        shown_when=has_adapter,
    )
    loraplus_lr_embedding: Annotated[
        Number, Field(gt=0, le=10), Control("number", step=0.000001), InTools(llama_factory="loraplus_lr_embedding")
    ] = setting(
        1e-6,
        label="LoRA+ embedding rate",
        help="Learning rate of adapted embeddings under LoRA+.",
        explanation="Adapters on linear modules do not look at it. Empty means 0.000001, as in PEFT.",
        source="Hayou et al. 2024, LoRA+, arXiv 2402.12354",
        shown_when=lambda recipe: has_adapter(recipe) and recipe.loraplus_lr_ratio is not None,
    )
    seed: Annotated[
        WholeNumber | None,
        Field(ge=0, lt=2**32),
        Control("number", step=1),
        InTools(trainer="seed", torchtune="seed", mlx_lm="seed"),
    ] = setting(
        None,
        label="Seed",
        help="Makes a run repeatable: data order, dropout, and the start of A.",
        explanation="Axolotl draws A from the seed and the name of the module, so the same target starts alike in every"
        " run. GPU kernels that add up in no fixed order can still make two runs differ in the last digits.",
        source=_TRAINER,
    )
