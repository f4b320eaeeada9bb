"""Trace a training step of every causal language model type of transformers, and say why where it cannot be done.

    python benchmarks/architectures.py [TYPE...] [--tokens 32] [--json]

Each type is taken with its default config, cut to few layers, LoRA on all linear layers. What PEFT cannot adapt is left
out and named. A type whose step cannot be traced is given its reason and a computed lower bound.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn
from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D

from lora_explorer.base_models import BaseModel, base_model_from_config
from lora_explorer.base_models.skeleton import BUILD_FAILURES, Skeleton, load_skeleton, with_layers
from lora_explorer.errors import AdapterRefused, ExplorerError, UnknownBaseModel
from lora_explorer.memory import count_lower_bound
from lora_explorer.memory.plan.run_plan import step_from
from lora_explorer.memory.replay.timeline import replay
from lora_explorer.memory.runs.traced_run import RecipeAdapter, timeline_of, trace_run
from lora_explorer.settings import Recipe, recipe_from

MODEL_TYPES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
# Some architectures need at least one layer of each of their kinds.
DEPTHS = (4, 2, 8, None)
# Default configs that leave out what their own model classes read, completed from a published model of the family; and
# one that cannot be cut while its last layers share the keys and values of earlier ones.
COMPLETED: Mapping[str, Mapping[str, Any]] = {
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "dbrx": {"attn_config": {"rope_theta": 500000.0, "kv_n_heads": 8, "clip_qkv": 8}, "n_layers": 4},
    "deepseek_v2": {"num_experts_per_tok": 6, "n_group": 8, "topk_group": 3, "topk_method": "group_limited_greedy"},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 48},
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "xmod": {"default_language": "en_XX"},
}
ALL_LINEAR = "all linear layers"


@dataclass(frozen=True)
class Outcome:
    """What became of one model type.

    layers: traced or tried, 0 if none could be built. targets: what was adapted. peak_bytes: allocated, if traced.
    at_least_bytes: the lower bound where it was not. reason: why not; empty if traced.
    """

    model_type: str
    layers: int = 0
    targets: str = ""
    peak_bytes: int | None = None
    at_least_bytes: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Attempt:
    """One way to train a model. plain: a loop that asks for no gradient of the embeddings, as Axolotl does."""

    targets: str
    settings: Mapping[str, Any]
    plain: bool = False


def try_type(model_type: str, tokens: int = 32) -> Outcome:
    """Trace one step of a model type, or find out why not."""
    try:
        base_model, skeleton = _small_model(model_type)
    except UnknownBaseModel as error:
        return Outcome(model_type, reason=str(error))
    found = Outcome(model_type, skeleton.num_layers)
    for attempt in _attempts(skeleton):
        found = replace(found, targets=attempt.targets)
        recipe = _recipe(tokens, attempt.settings)
        try:
            return replace(found, peak_bytes=_peak_bytes(skeleton, recipe, plain=attempt.plain), reason="")
        except ExplorerError as error:
            found = replace(found, reason=str(error), at_least_bytes=_at_least(base_model, recipe, str(error)))
    return found


def _small_model(model_type: str) -> tuple[BaseModel, Skeleton]:
    """The first depth that builds. Raises UnknownBaseModel."""
    refusal = UnknownBaseModel(f"transformers has no default config for {model_type}.")
    for depth in DEPTHS:
        try:
            config = _config(model_type, depth)
            base_model = base_model_from_config(config.to_json_string(use_diff=False), model_type)
            return base_model, load_skeleton(base_model)
        except UnknownBaseModel as error:
            refusal = error
        except BUILD_FAILURES as error:
            refusal = UnknownBaseModel(f"Its default config is not a whole model: {' '.join(str(error).split())}.")
    raise refusal


def _config(model_type: str, depth: int | None) -> PreTrainedConfig:
    config: PreTrainedConfig = CONFIG_MAPPING[model_type](**COMPLETED.get(model_type, {}))
    return config if depth is None else with_layers(config, depth)


def _attempts(skeleton: Skeleton) -> Iterator[Attempt]:
    """As Axolotl would; then without what PEFT cannot adapt; then also without what Axolotl adds."""
    yield Attempt(ALL_LINEAR, {"lora_target_linear": True})
    paths = dict(_linear_paths(skeleton))
    left_out = {path for path, own in paths.items() if not own}
    for _ in range(3):
        adapted = [path for path in paths if path not in left_out]
        named = sorted({path.rpartition(".")[2] for path in left_out})
        words = f"{ALL_LINEAR} but {', '.join(named)}" if named else ALL_LINEAR
        settings = {"lora_target_modules": "|".join(dict.fromkeys(_pattern(skeleton, path) for path in adapted))}
        refused = _refused_name(skeleton, settings)
        if refused is None:
            break
        left_out |= {path for path in paths if path.rpartition(".")[2] == refused}
    yield Attempt(words, settings)
    yield Attempt(f"{words}, in a plain loop", settings, plain=True)


def _linear_paths(skeleton: Skeleton) -> Iterator[tuple[str, bool]]:
    """Linear modules but the head, and whether they compute as such; a router that returns more cannot be wrapped."""
    head_of: Callable[[], nn.Module | None] = skeleton.model.get_output_embeddings
    head = head_of()
    for path, module in skeleton.model.named_modules():
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head:
            yield path, type(module).forward in (nn.Linear.forward, Conv1D.forward)


def _pattern(skeleton: Skeleton, path: str) -> str:
    """A regex for this module in every layer."""
    layer = skeleton.layer_of(path)
    if layer is None:
        return re.escape(path)
    own = skeleton.layer_paths[layer]
    return re.escape(own.rpartition(".")[0]) + r"\.\d+" + re.escape(path.removeprefix(own))


def _refused_name(skeleton: Skeleton, settings: Mapping[str, Any]) -> str | None:
    """The name that PEFT will not have in this model, if it says one."""
    from lora_explorer.adapters import plan_adapter

    try:
        plan_adapter(_recipe(32, settings), skeleton)
    except AdapterRefused as error:
        named = re.search(r"Module '([\w.]+)' is incompatible", str(error))
        return named.group(1).rpartition(".")[2] if named else None
    return None


def _recipe(tokens: int, settings: Mapping[str, Any]) -> Recipe:
    return recipe_from(
        {
            "base_model": "default config",
            "adapter": "lora",
            "lora_r": 8,
            "lora_alpha": 16,
            "learning_rate": 1e-4,
            "micro_batch_size": 1,
            "sequence_len": tokens,
            **settings,
        }
    )


def _peak_bytes(skeleton: Skeleton, recipe: Recipe, *, plain: bool) -> int:
    step = step_from(recipe, None)
    if plain:
        step = replace(step, inputs_require_grads=False)
    run = trace_run(skeleton, step, RecipeAdapter(recipe))
    return replay(timeline_of(run, step, 0)).peak_allocated_bytes


def _at_least(base_model: BaseModel, recipe: Recipe, reason: str) -> int | None:
    try:
        return count_lower_bound(recipe, base_model, reason).at_least_bytes
    except ExplorerError:
        return None


def _print_table(outcomes: Sequence[Outcome]) -> None:
    traced = [outcome for outcome in outcomes if outcome.peak_bytes is not None]
    print(f"{len(traced)} of {len(outcomes)} types traced.\n")
    print("| type | layers | adapted | peak | why not |\n|---|--:|---|--:|---|")
    for outcome in sorted(outcomes, key=lambda found: found.peak_bytes is not None):
        cells = (outcome.model_type, outcome.layers or "", outcome.targets, _size(outcome), outcome.reason)
        print(f"| {' | '.join(map(str, cells))} |")


def _size(outcome: Outcome) -> str:
    if outcome.peak_bytes is not None:
        return f"{outcome.peak_bytes / 1e9:.2f} GB"
    return f"at least {outcome.at_least_bytes / 1e9:.2f} GB" if outcome.at_least_bytes else ""


def main() -> int:
    """Try the named types, or all, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*", metavar="TYPE")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    outcomes = [try_type(name, arguments.tokens) for name in arguments.types or MODEL_TYPES]
    if arguments.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    else:
        _print_table(outcomes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
