"""Asks ms-swift: its command line reads each file, and its own code puts the adapter on the model."""

import json
import sys

from swift.arguments import SftArguments
from swift.cli.main import parse_yaml_args
from swift.model import get_model_processor
from swift.pipelines.train.tuner import prepare_adapter
from swift.utils import parse_args

with open(sys.argv[1], encoding="utf-8") as file:
    questions = json.load(file)
answers = []
for question in questions:
    arguments = [question["file"]]
    parse_yaml_args(arguments)
    # A folder does not say which of its families a model belongs to.
    here = ["--model_type", "llama", "--template", "default", "--use_cpu", "true"]
    args, unknown = parse_args(SftArguments, [*arguments, *here])
    training_args = args.training_args
    answer = {
        "unknown": unknown,
        "learning_rate": training_args.learning_rate,
        "per_device_train_batch_size": training_args.per_device_train_batch_size,
        "gradient_accumulation_steps": training_args.gradient_accumulation_steps,
        "num_train_epochs": training_args.num_train_epochs,
        "max_steps": training_args.max_steps,
        "optim": str(getattr(training_args.optim, "value", training_args.optim)),
        "lr_scheduler_type": str(getattr(training_args.lr_scheduler_type, "value", training_args.lr_scheduler_type)),
        "warmup": training_args.warmup_steps,
        "weight_decay": training_args.weight_decay,
        "max_grad_norm": training_args.max_grad_norm,
        "bf16": training_args.bf16,
        "max_length": args.max_length,
        "packing": args.packing,
        "gradient_checkpointing": training_args.gradient_checkpointing,
        "use_reentrant": (training_args.gradient_checkpointing_kwargs or {}).get("use_reentrant", True),
        "bits": args.quant_bits,
        "double_quantization": args.bnb_4bit_use_double_quant,
    }
    if question["build"]:
        model, _ = get_model_processor(question["model"], model_type="llama", load_model=True)
        model = prepare_adapter(args, model)
        answer["trainable"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
        answer["scaling"] = next(m.scaling["default"] for m in model.modules() if hasattr(m, "lora_A"))
    answers.append(answer)
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(answers, file)
