"""The Python that is written runs, or at least calls what is there with the arguments it takes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from program_recipes import CASES, FOUR_BIT, NAMES, PLAIN, REGEX, recipe_on, tiny_skeleton, write_tiny_model
from real_programs import FOLDER, PACKAGES
from recipe_values import recipes
from usable_recipes import usable_recipes

from lora_explorer.adapters import plan_adapter
from lora_explorer.exports.tools import export_recipe
from lora_explorer.settings import Recipe

SKELETON = tiny_skeleton()
RUN = {
    **CASES,
    "a regex": REGEX,
    "in 8 bits": {**PLAIN, **NAMES, "load_in_8bit": True},
    "in 4 bits": FOUR_BIT,
    "adapter in bfloat16": {**PLAIN, **NAMES, "peft_autocast_adapter_dtype": False},
    "ranks by module": {**PLAIN, **NAMES, "lora_rank_pattern": {"q_proj": 3}},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.mark.parametrize("name", RUN)
def test_the_peft_snippet_runs_and_trains_what_was_counted(name: str, model: Path) -> None:
    recipe = recipe_on(model, RUN[name])
    names: dict[str, Any] = {}
    exec(compile(export_recipe(recipe, "peft-python", SKELETON).text, "adapter.py", "exec"), names)
    assert names["model"].get_nb_trainable_parameters()[0] == plan_adapter(recipe, SKELETON).trainable_params
    dtypes = {str(p.dtype) for path, p in names["model"].named_parameters() if "lora_A" in path}
    assert dtypes == {"torch.bfloat16" if name == "adapter in bfloat16" else "torch.float32"}
    assert bool(getattr(names["base_model"], "is_loaded_in_4bit", False)) is recipe.load_in_4bit


@pytest.mark.parametrize("tool", ["peft-python", "unsloth"])
@settings(suppress_health_check=list(HealthCheck))
@given(recipe=recipes() | usable_recipes())
def test_no_value_breaks_the_code_or_gets_out_of_its_quotes(tool: str, recipe: Recipe) -> None:
    text = export_recipe(recipe, tool).text
    calls = {call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id for call in calls_in(text)}
    assert calls <= {
        *("from_pretrained", "BitsAndBytesConfig", "prepare_model_for_kbit_training", "LoraConfig", "get_peft_model"),
        *("gradient_checkpointing_enable", "enable_input_require_grads", "print_trainable_parameters", "float"),
        *("SFTTrainer", "SFTConfig", "load_dataset", "train"),
    }


def calls_in(text: str) -> list[Any]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]


def unsloth_sources() -> dict[str, ast.Module]:
    """The modules of the real package that define what the script calls; the package itself needs a GPU to import."""
    folder = FOLDER / "unsloth-wheel"
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
        result = subprocess.run([*command, PACKAGES["unsloth"]], capture_output=True, text=True, timeout=500)
        if result.returncode:
            pytest.skip(f"unsloth cannot be fetched here: {result.stderr[-200:]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return {
            name: ast.parse(wheel.read(f"unsloth/models/{name}.py").decode("utf-8")) for name in ("loader", "llama")
        }


def arguments_of(module: ast.Module, owner: str, function: str) -> set[str]:
    [body] = [node.body for node in ast.walk(module) if isinstance(node, ast.ClassDef) and node.name == owner]
    [found] = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == function]
    return {argument.arg for argument in [*found.args.args, *found.args.kwonlyargs]}


def test_the_unsloth_script_calls_functions_with_arguments_that_they_have() -> None:
    from peft import LoraConfig

    trl = pytest.importorskip("trl", reason="TRL needs Python 3.11")
    sources = unsloth_sources()
    # What Unsloth does not name itself it hands on to PEFT.
    adapter = set(LoraConfig.__dataclass_fields__)
    known = {
        "from_pretrained": arguments_of(sources["loader"], "FastLanguageModel", "from_pretrained"),
        "get_peft_model": adapter | arguments_of(sources["llama"], "FastLlamaModel", "get_peft_model"),
        "SFTConfig": set(trl.SFTConfig.__dataclass_fields__),
    }
    everything = {**PLAIN, **NAMES, "seed": 1, "tf32": True, "sample_packing": True, "max_steps": 9, "fp16": True}
    adapters = {"lora_rank_pattern": {"q_proj": 3}, "peft_use_rslora": True, "peft_layers_to_transform": [0]}
    text = export_recipe(recipe_on("owner/name", {**everything, **adapters}), "unsloth").text
    called = {re.sub(r".*\.", "", ast.unparse(call.func)): call for call in calls_in(text)}
    for function, arguments in known.items():
        given = {keyword.arg for keyword in called[function].keywords}
        assert given - arguments == set()
