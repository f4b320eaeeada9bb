"""Asks LLaMA-Factory: its own parser reads each file, and its own code puts the adapter on the model."""

import json
import sys

from llamafactory.hparams import get_train_args
from llamafactory.model.adapter import _setup_lora_tuning
from transformers import AutoModelForCausalLM

with open(sys.argv[1], encoding="utf-8") as file:
    questions = json.load(file)
answers, written = [], sys.argv[2]
for question in questions:
    # Its command line takes a file, then entries that win over it.
    sys.argv = ["llamafactory-cli", question["file"], "use_cpu=true"]
    model_args, data_args, training_args, finetuning_args, _ = get_train_args()
    answer = {
        "learning_rate": training_args.learning_rate,
        "per_device_train_batch_size": training_args.per_device_train_batch_size,
        "gradient_accumulation_steps": training_args.gradient_accumulation_steps,
        "num_train_epochs": training_args.num_train_epochs,
        "max_steps": training_args.max_steps,
        "optim": str(getattr(training_args.optim, "value", training_args.optim)),
        "lr_scheduler_type": str(getattr(training_args.lr_scheduler_type, "value", training_args.lr_scheduler_type)),
        "warmup": training_args.warmup_ratio or training_args.warmup_steps,
        "weight_decay": training_args.weight_decay,
        "max_grad_norm": training_args.max_grad_norm,
        "bf16": training_args.bf16,
        "max_length": data_args.cutoff_len + bool(data_args.packing),
        "packing": bool(data_args.neat_packing),
        "gradient_checkpointing": not model_args.disable_gradient_checkpointing,
        "use_reentrant": model_args.use_reentrant_gc,
        "bits": model_args.quantization_bit,
        "double_quantization": model_args.double_quantization,
    }
    if question["build"]:
        model = AutoModelForCausalLM.from_pretrained(question["model"])
        model.requires_grad_(False)
        options = {"is_trainable": True, "cast_trainable_params_to_fp32": True}
        model = _setup_lora_tuning(model.config, model, model_args, finetuning_args, **options)
        answer["trainable"] = model.get_nb_trainable_parameters()[0]
        answer["scaling"] = next(m.scaling["default"] for m in model.modules() if hasattr(m, "lora_A"))
    answers.append(answer)
with open(written, "w", encoding="utf-8") as file:
    json.dump(answers, file)
