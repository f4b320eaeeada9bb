"""Asks MLX-LM, on the CPU: its own reader of files, its own LoRA layers, on a model of its own."""

import json
import sys
import types

import mlx.optimizers as optim
import yaml
from mlx.utils import tree_flatten
from mlx_lm.lora import CONFIG_DEFAULTS, build_parser, yaml_loader
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.tuner.utils import build_schedule, linear_to_lora_layers

with open(sys.argv[1], encoding="utf-8") as file:
    questions = json.load(file)
answers = []
for question in questions:
    with open(question["file"], encoding="utf-8") as file:
        config = yaml.load(file, yaml_loader)
    known = {action.dest for action in build_parser()._actions} | CONFIG_DEFAULTS.keys()
    args = types.SimpleNamespace(**{**CONFIG_DEFAULTS, **config})
    with open(question["model"] + "/config.json", encoding="utf-8") as file:
        model = Model(ModelArgs.from_dict(json.load(file)))
    model.freeze()
    use_dora = args.fine_tune_type == "dora"
    linear_to_lora_layers(model, args.num_layers, args.lora_parameters, use_dora=use_dora)
    optimizer = {"adamw": optim.AdamW, "sgd": optim.SGD}[args.optimizer]
    rate = build_schedule(args.lr_schedule) if args.lr_schedule else args.learning_rate
    optimizer(learning_rate=rate, **args.optimizer_config.get(args.optimizer, {}))
    answers.append(
        {
            "unknown": sorted(config.keys() - known),
            "trainable": sum(value.size for _, value in tree_flatten(model.trainable_parameters())),
            "rates": [float(rate(step)) for step in range(5)] if callable(rate) else rate,
            "scaling": args.lora_parameters["scale"],
            "batch_size": args.batch_size,
            "iters": args.iters,
        }
    )
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(answers, file)
