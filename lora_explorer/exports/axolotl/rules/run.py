"""Rules about a run's batches, schedule, checkpoints, evaluation and data. Facts: Axolotl 0.21's validators."""

from __future__ import annotations

from typing import Any

from lora_explorer.exports.axolotl.rules.file_rule import (
    FileRule,
    FileValues,
    any_of,
    block,
    number,
    refused,
    warned,
    without,
)
from lora_explorer.findings import Fix
from lora_explorer.settings.hardware import ATTENTION_OF_FLAG

_METRICS = frozenset(("sacrebleu", "comet", "ter", "chrf", "perplexity"))
_NOT_WITH_MISTRAL_COMMON = ("added_tokens_overrides", "special_tokens", "tokens", "chat_template", "processor_kwargs")
_NAMES_LOOKED_AT = ("base_model_config", "tokenizer_config")
ROWS_OF_ANY_LENGTH = (
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
    "flash_attention_torch",
    "flex_attention",
    "xformers",
    "sage",
    "varlen",
)


def _steps_fit(file: FileValues) -> bool:
    save, evaluate = file.get("save_steps"), file.get("eval_steps")
    return not (save and evaluate) or save % evaluate == 0


def _steps_for_both(file: FileValues) -> Fix:
    """The steps of one where only the other has none."""
    steps = file.get("save_steps") or file.get("eval_steps")
    return (("save_steps", steps), ("eval_steps", steps)) if steps else ()


def names_magistral(file: FileValues) -> bool:
    names = (file.get(key) for key in ("base_model", *_NAMES_LOOKED_AT))
    return any("magistral" in name.lower() for name in names if isinstance(name, str))


def _mistral_common(file: FileValues) -> Any:
    return file.get("tokenizer_use_mistral_common")


def _packs_evaluation(file: FileValues) -> Any:
    written = file.get("eval_sample_packing")
    return written if written is not None else file.get("sample_packing") and not file.get("eval_table_size")


def _never_empty(key: str) -> FileRule:
    """Axolotl looks for a word in the name, whether there is one or not."""
    return refused(
        key,
        lambda file: key in file and file[key] is None and _mistral_common(file) is None,
        f"{key} is empty, which ends Axolotl with an error of its own; leave the line out.",
        fix=without(key),
    )


def _names_its_type(file: FileValues) -> bool:
    sets = file.get("datasets") or ()
    return any(str(each.get("type")).startswith("sharegpt") for each in sets if isinstance(each, dict))


def _evaluated(file: FileValues) -> bool:
    """Whether there is data to evaluate on; do_bench_eval brings an empty set along."""
    return (
        "val_set_size" not in file or file["val_set_size"] != 0 or bool(any_of(file, "test_datasets", "do_bench_eval"))
    )


RUN_FILE_RULES: tuple[FileRule, ...] = (
    refused(
        "batch_size",
        lambda file: file.get("batch_size") and not any_of(file, "micro_batch_size", "gradient_accumulation_steps"),
        "batch_size needs micro_batch_size beside it.",
        fix=lambda file: (("batch_size", None), ("gradient_accumulation_steps", file["batch_size"])),
    ),
    refused(
        "batch_size",
        lambda file: file.get("batch_size") and file.get("gradient_accumulation_steps"),
        "batch_size and gradient_accumulation_steps exclude each other.",
        fix=without("batch_size"),
    ),
    warned(
        "eval_batch_size",
        lambda file: (
            file.get("eval_batch_size")
            and file.get("micro_batch_size")
            and file["eval_batch_size"] != file["micro_batch_size"]
        ),
        "eval_batch_size differs from micro_batch_size, which makes memory less steady.",
        fix=without("eval_batch_size"),
    ),
    refused(
        "save_steps",
        lambda file: file.get("save_steps") and file.get("save_strategy") not in (None, "", "steps"),
        "save_steps needs save_strategy: steps, or none at all.",
        fix=without("save_strategy"),
    ),
    refused(
        "saves_per_epoch",
        lambda file: file.get("saves_per_epoch") and file.get("save_steps"),
        "saves_per_epoch and save_steps exclude each other.",
        fix=without("saves_per_epoch"),
    ),
    refused(
        "save_strategy",
        lambda file: file.get("save_strategy") == "best" and not file.get("metric_for_best_model"),
        "save_strategy best needs metric_for_best_model.",
        fix=(("metric_for_best_model", "eval_loss"),),
    ),
    refused(
        "save_safetensors",
        lambda file: file.get("save_safetensors") is False,
        "save_safetensors: false is no longer possible.",
        fix=without("save_safetensors"),
    ),
    warned(
        "hub_model_id",
        lambda file: file.get("hub_model_id") and file.get("save_strategy") not in ("steps", "epoch", None),
        "hub_model_id has no effect while save_strategy saves nothing.",
        severity="warning",
        fix=without("save_strategy"),
    ),
    refused(
        "eval_steps",
        lambda file: file.get("eval_steps") and file.get("eval_strategy") not in (None, "", "steps"),
        "eval_steps needs eval_strategy: steps, or none at all.",
        fix=without("eval_strategy"),
    ),
    refused(
        "eval_steps",
        lambda file: (
            any_of(file, "eval_steps", "eval_strategy") and file.get("eval_strategy") != "no" and not _evaluated(file)
        ),
        "eval_steps and eval_strategy need data to evaluate on; val_set_size is 0.",
        fix=without("eval_steps", "eval_strategy"),
    ),
    refused(
        "evals_per_epoch",
        lambda file: file.get("evals_per_epoch") and file.get("eval_steps"),
        "evals_per_epoch and eval_steps exclude each other.",
        fix=without("evals_per_epoch"),
    ),
    refused(
        "evals_per_epoch",
        lambda file: file.get("evals_per_epoch") and file.get("eval_strategy") not in (None, "", "steps"),
        "evals_per_epoch needs eval_strategy: steps, or none at all.",
        fix=without("eval_strategy"),
    ),
    refused(
        "do_bench_eval",
        lambda file: file.get("do_bench_eval") and not any_of(file, "evals_per_epoch", "eval_steps"),
        "do_bench_eval needs evals_per_epoch or eval_steps.",
    ),
    refused(
        "do_causal_lm_eval",
        lambda file: file.get("do_causal_lm_eval") and _packs_evaluation(file),
        "do_causal_lm_eval does not go with eval_sample_packing, which follows sample_packing.",
        fix=(("eval_sample_packing", False),),
    ),
    refused(
        "eval_causal_lm_metrics",
        lambda file: set(file.get("eval_causal_lm_metrics") or ()) - _METRICS,
        f"eval_causal_lm_metrics knows {', '.join(sorted(_METRICS))} only.",
    ),
    refused(
        "eval_table_size",
        lambda file: (
            file.get("sample_packing") and file.get("eval_table_size") and file.get("eval_sample_packing") is not False
        ),
        "eval_table_size with sample_packing needs eval_sample_packing: false.",
        fix=(("eval_sample_packing", False),),
    ),
    refused(
        "early_stopping_patience",
        lambda file: file.get("early_stopping_patience") and not (file.get("save_steps") and file.get("eval_steps")),
        "early_stopping_patience needs save_steps and eval_steps.",
        why="It looks at evaluations, and goes back to a saved step.",
        fix=_steps_for_both,
    ),
    refused(
        "early_stopping_patience",
        lambda file: file.get("early_stopping_patience") and not _steps_fit(file),
        "early_stopping_patience needs save_steps to be a multiple of eval_steps.",
        fix=lambda file: (("save_steps", file["eval_steps"]),),
    ),
    refused(
        "test_datasets",
        lambda file: file.get("test_datasets") and file.get("val_set_size"),
        "test_datasets and val_set_size exclude each other.",
        fix=(("val_set_size", 0),),
    ),
    refused(
        "datasets",
        _names_its_type,
        "datasets: the type sharegpt is gone; write type: chat_template.",
    ),
    refused(
        "push_dataset_to_hub",
        lambda file: file.get("push_dataset_to_hub") and file.get("hf_use_auth_token") is not True,
        "push_dataset_to_hub needs hf_use_auth_token: true.",
        fix=(("hf_use_auth_token", True),),
    ),
    refused(
        "max_steps",
        lambda file: any_of(file, "pretraining_dataset", "streaming") and not file.get("max_steps"),
        "pretraining_dataset and streaming need max_steps, because nobody knows how many rows there are.",
    ),
    refused(
        "val_set_size",
        lambda file: any_of(file, "pretraining_dataset", "streaming") and file.get("val_set_size"),
        "val_set_size does not go with pretraining_dataset or streaming; name test_datasets.",
        fix=(("val_set_size", 0),),
    ),
    refused(
        "include_tokens_per_second",
        lambda file: file.get("pretraining_dataset") and file.get("include_tokens_per_second"),
        "include_tokens_per_second does not go with pretraining_dataset.",
        fix=without("include_tokens_per_second"),
    ),
    refused(
        "streaming",
        lambda file: file.get("streaming") and file.get("sample_packing") and len(file.get("datasets") or ()) > 1,
        "streaming with sample_packing takes one data set only.",
    ),
    warned(
        "pretraining_dataset",
        lambda file: file.get("pretraining_dataset") and not file.get("streaming"),
        "pretraining_dataset streams without being told to; a later release wants streaming: true.",
        fix=(("streaming", True),),
    ),
    refused(
        "dataset_exact_deduplication",
        lambda file: (
            file.get("dataset_exact_deduplication")
            and any_of(file, "streaming", "pretraining_dataset", "skip_prepare_dataset")
        ),
        "dataset_exact_deduplication goes neither with streaming nor with skip_prepare_dataset.",
        fix=without("dataset_exact_deduplication"),
    ),
    refused(
        "chat_template",
        lambda file: file.get("chat_template") == "jinja" and not file.get("chat_template_jinja"),
        "chat_template jinja needs chat_template_jinja.",
    ),
    refused(
        "tokenizer_use_mistral_common",
        lambda file: (
            (_mistral_common(file) or (_mistral_common(file) is None and names_magistral(file)))
            and any_of(file, *_NOT_WITH_MISTRAL_COMMON)
        ),
        "mistral-common's tokenizer takes none of tokens, special_tokens, chat_template and the like.",
        fix=lambda file: without(*any_of(file, *_NOT_WITH_MISTRAL_COMMON)),
    ),
    *(_never_empty(key) for key in _NAMES_LOOKED_AT),
    refused(
        "processor_kwargs",
        lambda file: {"revision", "trust_remote_code"} & set(block(file, "processor_kwargs")),
        "processor_kwargs takes neither revision nor trust_remote_code; they are keys of the top.",
        fix=without("processor_kwargs.revision", "processor_kwargs.trust_remote_code"),
    ),
    refused(
        "neftune_noise_alpha",
        lambda file: number(file, "neftune_noise_alpha", 1) < 0 or file.get("neftune_noise_alpha") == 0,
        "neftune_noise_alpha must be above 0.",
        fix=without("neftune_noise_alpha"),
    ),
    refused(
        "batch_flattening",
        lambda file: (
            file.get("batch_flattening") is True
            and (file.get("sample_packing") or file.get("attn_implementation") not in ROWS_OF_ANY_LENGTH)
        ),
        "batch_flattening needs an attention kernel for rows of any length, and no sample_packing.",
        fix=lambda file: (("batch_flattening", None),),
    ),
    refused(
        "scaling_softmax",
        lambda file: file.get("scaling_softmax") and file.get("attn_implementation") != "flex_attention",
        "scaling_softmax needs attn_implementation: flex_attention.",
        fix=(("attn_implementation", "flex_attention"),),
    ),
    refused(
        "gemma4_hybrid_attn_impl",
        lambda file: (
            file.get("gemma4_hybrid_attn_impl")
            and file.get("attn_implementation") not in (None, "", "flash_attention_2")
            and not any_of(file, *ATTENTION_OF_FLAG)
        ),
        "gemma4_hybrid_attn_impl needs attn_implementation: flash_attention_2.",
        fix=(("attn_implementation", "flash_attention_2"),),
    ),
    refused(
        "large_head_attention",
        lambda file: str(file.get("large_head_attention") or "auto").lower() not in ("auto", "sdpa", "triton_flash"),
        "large_head_attention must be auto, sdpa or triton_flash.",
        fix=(("large_head_attention", "auto"),),
    ),
    refused(
        "balance_labels",
        lambda file: number(file, "label_balance_window_optim_steps", 1) > 1 and not file.get("balance_labels"),
        "label_balance_window_optim_steps needs balance_labels.",
        fix=without("label_balance_window_optim_steps"),
    ),
    refused(
        "balance_labels",
        lambda file: (
            file.get("balance_labels")
            and (
                any_of(file, "sample_packing_sequentially", "curriculum_sampling", "diffusion_lm", "rl")
                or any_of(file, "reward_model", "process_reward_model")
                or (
                    not file.get("sample_packing")
                    and any_of(file, "streaming", "pretraining_dataset", "group_by_length")
                )
                or block(file, "accelerator_config").get("split_batches")
            )
        ),
        "balance_labels needs rows that can be put in any order.",
        fix=(("balance_labels", False),),
    ),
)
