"""Asks torchtune: its own validation of each file, and its own builder of the model, on meta."""

import json
import sys

import torch
from omegaconf import OmegaConf
from torchtune import config
from torchtune.config._utils import _get_component_from_path
from torchtune.modules.peft import get_adapter_params

# The recipe reads these without a default.
ASKED = {
    *("device", "dtype", "output_dir", "epochs", "max_steps_per_epoch", "resume_from_checkpoint", "seed", "compile"),
    *("gradient_accumulation_steps", "model", "tokenizer", "checkpointer", "dataset", "shuffle", "batch_size"),
    *("optimizer", "lr_scheduler", "loss", "metric_logger"),
}

with open(sys.argv[1], encoding="utf-8") as file:
    questions = json.load(file)
answers = []
for question in questions:
    read = OmegaConf.load(question["file"])
    config.validate(read)
    with torch.device("meta"):
        # Quantizing needs weights; what is trained does not change.
        model = config.instantiate(OmegaConf.merge(read.model, {"quantize_base": False}))
    parameters = get_adapter_params(model)
    components = (read.dataset, read.tokenizer, read.checkpointer, read.loss, read.lr_scheduler, read.metric_logger)
    answers.append(
        {
            "missing": [key for key in ASKED if key not in read],
            "components": [callable(_get_component_from_path(part["_component_"])) for part in components],
            "trainable": sum(parameter.numel() for parameter in parameters.values()),
            "quantized": read.model.quantize_base,
            "batch": read.batch_size * read.gradient_accumulation_steps,
        }
    )
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(answers, file)
