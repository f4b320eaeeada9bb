"""What transformers' TrainingArguments say by other values than Axolotl's keys, for the programs built on them.

Facts: transformers 5, OptimizerNames, SchedulerType and TrainingArguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lora_explorer.exports.vocabulary import Conversion, Said, Values, otherwise, words
from lora_explorer.settings import SETTINGS, Recipe
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG

# Names that both sides have; Axolotl's others are classes of its own or of other packages.
_OPTIMIZERS = words(
    "adamw_torch_fused adamw_torch adamw_bnb_8bit adamw_8bit paged_adamw_8bit paged_adamw_32bit adamw_torch_8bit "
    "adamw_torch_4bit ademamix ademamix_8bit lion_32bit lion_8bit paged_lion_32bit paged_lion_8bit adafactor sgd "
    "adagrad rmsprop"
)
_SCHEDULERS = words(
    "cosine linear constant constant_with_warmup cosine_with_restarts polynomial inverse_sqrt cosine_with_min_lr "
    "warmup_stable_decay"
)
# transformers itself hands these on to the model; the rest are Axolotl's own kernels.
ATTENTIONS = words("eager sdpa flash_attention_2 flash_attention_3 flash_attention_4 flex_attention")
OPTIMIZER = "adamw_torch_fused"

DEFAULTS: dict[str, Any] = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "learning_rate": 5e-5,
    "num_train_epochs": 3,
    "max_steps": -1,
    "weight_decay": 0,
    "max_grad_norm": 1,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "bf16": False,
    "fp16": False,
}
# A GPTQ checkpoint says itself what it is; fused kernels are Axolotl's way to the same result.
BY_ITSELF = frozenset({"gptq", *ATTENTION_OF_FLAG})
# About data, logging and saving: nothing that a recipe holds.
ASIDE = words(
    "output_dir overwrite_output_dir logging_steps logging_dir logging_strategy logging_first_step report_to run_name "
    "save_steps save_strategy save_total_limit save_only_model save_safetensors eval_strategy eval_steps do_eval "
    "per_device_eval_batch_size eval_accumulation_steps push_to_hub hub_model_id hub_strategy hub_private_repo "
    "dataloader_num_workers dataloader_pin_memory dataloader_prefetch_factor ddp_timeout resume_from_checkpoint "
    "load_best_model_at_end metric_for_best_model greater_is_better disable_tqdm include_num_input_tokens_seen"
)


def optimizers(title: str) -> Conversion:
    return _chosen("optimizer", "optim", _OPTIMIZERS, title, instead=OPTIMIZER)


def schedulers(title: str) -> Conversion:
    return _chosen("lr_scheduler", "lr_scheduler_type", _SCHEDULERS, title, instead="cosine")


def attention(title: str, key: str = "attn_implementation") -> Conversion:
    def write(recipe: Recipe) -> Iterator[Said]:
        chosen = recipe.attn_implementation
        if chosen is None or chosen in ATTENTIONS or "/" in chosen:
            if chosen is not None:
                yield key, chosen
        else:
            message = f"{title} has no attention kernel {chosen}; transformers picks one."
            yield otherwise("attn_implementation", message, "note")

    return Conversion(
        ("attn_implementation",), (key,), write, lambda entries: [("attn_implementation", entries.get(key))]
    )


def _chosen(setting: str, key: str, known: frozenset[str], title: str, *, instead: str) -> Conversion:
    """A choice by name, of which the program has some."""

    def write(recipe: Recipe) -> Iterator[Said]:
        value = getattr(recipe, setting)
        if value in known:
            yield key, value
        else:
            yield key, instead
            yield otherwise(
                setting, f"{title} has no {SETTINGS[setting].label.lower()} {value}; {instead} stands there."
            )

    return Conversion((setting,), (key,), write, lambda entries: [(setting, entries.get(key))])


def _write_steps(recipe: Recipe) -> Iterator[Said]:
    if recipe.max_steps is not None and recipe.max_steps > 0:
        yield "max_steps", recipe.max_steps


def _read_steps(entries: Values) -> Iterator[Said]:
    steps = entries.get("max_steps")
    yield "max_steps", None if steps in (-1, 0) else steps


STEPS = Conversion(("max_steps",), ("max_steps",), _write_steps, _read_steps)


def _write_warmup_as_steps(recipe: Recipe) -> Iterator[Said]:
    """Below 1 it is a share of all steps."""
    yield "warmup_steps", recipe.warmup_steps if recipe.warmup_steps is not None else recipe.warmup_ratio


def _read_warmup_as_steps(entries: Values) -> Iterator[Said]:
    value = entries.get("warmup_steps")
    if not value and entries.get("warmup_ratio"):
        # The older word, which earlier transformers read.
        yield "warmup_ratio", entries["warmup_ratio"]
        return
    share = isinstance(value, float) and 0 < value < 1
    yield "warmup_ratio" if share else "warmup_steps", value


WARMUP_AS_STEPS = Conversion(
    ("warmup_steps", "warmup_ratio"), ("warmup_steps", "warmup_ratio"), _write_warmup_as_steps, _read_warmup_as_steps
)


def _write_warmup(recipe: Recipe) -> Iterator[Said]:
    if recipe.warmup_steps is not None:
        yield "warmup_steps", recipe.warmup_steps
    elif recipe.warmup_ratio is not None:
        yield "warmup_ratio", recipe.warmup_ratio


def _read_warmup(entries: Values) -> Iterator[Said]:
    # Steps win as soon as there are any.
    steps, ratio = entries.get("warmup_steps"), entries.get("warmup_ratio")
    yield ("warmup_ratio", ratio) if ratio and not steps else ("warmup_steps", steps)


WARMUP = Conversion(("warmup_steps", "warmup_ratio"), ("warmup_steps", "warmup_ratio"), _write_warmup, _read_warmup)


def _write_tf32(recipe: Recipe) -> Iterator[Said]:
    if recipe.tf32 is True:
        yield "tf32", True
    elif recipe.tf32 == "auto":
        yield otherwise("tf32", "tf32 auto is left out: transformers does not look at the card.", "note")


TF32 = Conversion(("tf32",), ("tf32",), _write_tf32, lambda entries: [("tf32", entries.get("tf32"))])


def precision(*, dtype_key: str | None = None, default_dtype: str = "float32") -> Conversion:
    """bf16 and fp16, and the dtype of the base weights, which Axolotl derives from them.

    dtype_key: what the program calls that dtype, where it is told.
    """
    keys = ("bf16", "fp16", dtype_key) if dtype_key else ("bf16", "fp16")

    def write(recipe: Recipe) -> Iterator[Said]:
        yield "bf16", recipe.bf16
        yield "fp16", recipe.fp16
        if dtype_key:
            yield dtype_key, base_dtype(recipe)

    def read(entries: Values) -> Iterator[Said]:
        fp16, bf16 = entries.get("fp16"), entries.get("bf16")
        yield "fp16", fp16
        yield "bf16", not fp16 if bf16 is None else bf16
        dtype = entries.get(dtype_key, default_dtype) if dtype_key else None
        wanted = "float16" if fp16 else "bfloat16" if bf16 or bf16 is None else "float32"
        if dtype not in (None, "auto", wanted):
            message = f"{dtype_key} {dtype} holds the base weights otherwise than Axolotl does, which is {wanted}."
            yield otherwise("bf16", message)

    return Conversion(("bf16", "fp16"), keys, write, read)


def base_dtype(recipe: Recipe) -> str:
    """Of the base weights, by torch's name; bf16 is filled in."""
    return "float16" if recipe.fp16 else "bfloat16" if recipe.bf16 else "float32"


def checkpointing(title: str, *, offloads: bool) -> Conversion:
    """gradient_checkpointing, and whether what it keeps moves to host memory, where the program can."""
    keys = ("gradient_checkpointing", "activation_offloading") if offloads else ("gradient_checkpointing",)

    def write(recipe: Recipe) -> Iterator[Said]:
        yield "gradient_checkpointing", bool(recipe.gradient_checkpointing)
        offloading = recipe.activation_offloading
        if offloads and offloading is True:
            yield "activation_offloading", True
        elif offloading:
            shown = str(offloading).lower()
            yield otherwise("activation_offloading", f"{title} has no activation_offloading {shown}.", "note")

    def read(entries: Values) -> Iterator[Said]:
        yield "gradient_checkpointing", entries.get("gradient_checkpointing")
        if offloads:
            yield "activation_offloading", entries.get("activation_offloading")

    return Conversion(("gradient_checkpointing", "activation_offloading"), keys, write, read)


def adapter_dtype(title: str, held: Callable[[Recipe], str], read: Callable[[Values], bool]) -> Conversion:
    """For programs that decide themselves in which dtype they hold A and B.

    held: by torch's name. read: whether a file's adapter is in float32 there.
    """

    def write(recipe: Recipe) -> Iterator[Said]:
        wanted = wanted_adapter_dtype(recipe)
        if recipe.adapter and held(recipe) != wanted:
            message = f"{title} holds this adapter in {held(recipe)}, not in {wanted}."
            yield otherwise("peft_autocast_adapter_dtype", message)

    return Conversion(
        ("peft_autocast_adapter_dtype", "lora_fp32_gradients"),
        (),
        write,
        lambda entries: [("peft_autocast_adapter_dtype", read(entries))],
    )


def always_in_float32(title: str) -> Conversion:
    return adapter_dtype(title, lambda recipe: "float32", lambda entries: True)


def wanted_adapter_dtype(recipe: Recipe) -> str:
    """Of A and B, as Axolotl holds them."""
    in_float32 = recipe.peft_autocast_adapter_dtype or recipe.lora_fp32_gradients
    return "float32" if in_float32 else base_dtype(recipe)
