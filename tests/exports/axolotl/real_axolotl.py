"""Asks an installed Axolotl about configurations: one JSON object a line in, one a line out.

    python real_axolotl.py verdicts < {"text": YAML}                     accepted, errors, warnings, values
    python real_axolotl.py counts   < {"text": YAML, "config": {...}}    accepted, trainable_params or error; without a
                                                                        model's config what verdicts answers
    python real_axolotl.py schema                                       the JSON Schema of its keys and its plugins'

A script of an environment of its own (axolotl_environment.py), which has no test in it and none of our package.
`verdicts` and `schema` need pydantic alone: whatever else Axolotl imports on the way to its validators is replaced by
a stand-in. Assumed is one card of compute capability 9.0. `counts` needs torch, transformers and PEFT for real.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import logging
import os
import sys
import types
import warnings
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path

# Nothing here may ask the network for anything.
for _name in ("AXOLOTL_DO_NOT_TRACK", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ[_name] = "1"

ONE_HOPPER = {"bf16": True, "tf32": True, "fp8": True, "n_gpu": 1, "compute_capability": "sm_90"}
TORCH = {"torch_version": "2.13.0"}
# What the validators want to know of the packages that are not there: data types, and what the machine has.
_FACTS = {
    "torch.int4": "int4",
    "torch.int8": "int8",
    "torch.float8_e4m3fn": "float8_e4m3fn",
    "torch.__version__": "2.13.0",
    "torch.cuda": types.SimpleNamespace(is_available=lambda: False),
    "accelerate.utils.is_fp8_available": lambda: True,
    "transformers.__version__": "5.20.1",
    "transformers.utils.import_utils.is_torch_npu_available": lambda: False,
    "transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES": {},
}
# Packages whose absence Axolotl asks about, and that its own requirements do not bring.
_ABSENT = ("deep_ep",)
# Reports to Axolotl's authors; nothing is to be reported, and no count depends on it.
_NEVER_NEEDED = "posthog"


class _AnyName(type):
    """A class that has every attribute and no members, and may be called, inherited from, or used as a decorator."""

    def __getattr__(cls, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _any_name(name)

    def __getitem__(cls, parameters):
        return cls

    def __iter__(cls):
        return iter(())


def _any_name(name: str):
    behaviour = {
        "__init__": lambda self, *_, **__: None,
        "__call__": lambda self, *given, **__: given[0] if given else self,
        "__iter__": lambda self: iter(()),
    }
    return _AnyName(name, (), behaviour)


class _StandIn(types.ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str):
        known = _FACTS.get(f"{self.__name__}.{name}")
        if known is None and name.startswith("__"):
            raise AttributeError(name)
        return _any_name(name) if known is None else known


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: any package that is not installed, or only one."""

    def __init__(self, only: str = "") -> None:
        self.only = only

    def find_spec(self, name, path=None, target=None):
        package = name.split(".")[0]
        wanted = package == self.only if self.only else package not in ("axolotl", *_ABSENT)
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if wanted else None

    def create_module(self, spec):
        return _StandIn(spec.name)

    def exec_module(self, module):
        pass


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def is_whole() -> bool:
    """Whether the packages that Axolotl trains with are there."""
    return importlib.util.find_spec("peft") is not None


def prepare() -> None:
    warnings.filterwarnings("ignore")
    sys.meta_path.append(_StandIns(_NEVER_NEEDED if is_whole() else ""))
    logging.getLogger("axolotl").propagate = False


def verdict(question: dict) -> dict:
    """What `axolotl train` would say of a YAML before it loads anything."""
    import yaml
    from axolotl.utils import config
    from axolotl.utils.dict import DictDefault

    heard = _Heard()
    logging.getLogger("axolotl").addHandler(heard)
    answer: dict = {"accepted": False, "errors": [], "values": {}}
    try:
        _without_plugins()
        values = DictDefault(yaml.safe_load(question["text"]))
        config.prepare_plugins(values)
        checked = config.validate_config(values, capabilities=ONE_HOPPER, env_capabilities=TORCH)
        answer |= {"accepted": True, "values": checked.to_dict()}
    except Exception as error:  # noqa: BLE001 - a validator may raise anything, and all of it ends the command
        answer["errors"] = _errors(error)
    finally:
        logging.getLogger("axolotl").removeHandler(heard)
    return answer | {"warnings": heard.messages}


def _errors(error: Exception) -> list[str]:
    if not hasattr(error, "errors"):
        return [f"{type(error).__name__}: {error}"]
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]


def _without_plugins() -> None:
    """Axolotl reads one configuration a process, and its list of plugins only grows."""
    from axolotl.integrations.base import PluginManager, get_builtin_plugins
    from axolotl.utils import config

    manager = PluginManager.get_instance()
    for name in list(manager.plugins):
        if name not in get_builtin_plugins():
            del manager.plugins[name]
    if not hasattr(config.merge_input_args, "of_plugins"):
        config.merge_input_args = _once_for_each_set_of_plugins(config.merge_input_args)


def _once_for_each_set_of_plugins(merge):
    """The classes that a set of plugins makes are the same each time, and slow to make."""
    from axolotl.integrations.base import PluginManager

    made = lru_cache(maxsize=None)(lambda plugins: merge())

    def merged():
        return made(tuple(PluginManager.get_instance().plugins))

    merged.of_plugins = made
    return merged


def schema() -> dict:
    """The JSON Schema of Axolotl's keys, and of the keys that each bundled plugin adds."""
    from importlib.metadata import version

    from axolotl.integrations.base import get_builtin_plugins
    from axolotl.utils.schemas.config import AxolotlInputConfig

    plugins = {}
    for name, arguments in _plugin_arguments():
        module, _, kind = arguments.rpartition(".")
        plugins[name] = getattr(importlib.import_module(module), kind).model_json_schema()
    return {
        "version": version("axolotl"),
        "keys": AxolotlInputConfig.model_json_schema(),
        "aliases": {field.alias: name for name, field in AxolotlInputConfig.model_fields.items() if field.alias},
        "plugins": plugins,
        "always_on": list(get_builtin_plugins()),
    }


def _plugin_arguments():
    """Each plugin of the release by its import path, with the path of the class that has its keys."""
    import axolotl

    root = Path(axolotl.__file__).parent
    for file in sorted(root.glob("integrations/*/*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef) and method.name == "get_input_args":
                    yield f"axolotl.integrations.{file.parent.name}.{node.name}", method.body[-1].value.value


def count(question: dict) -> dict:
    """What Axolotl's own adapter loader makes trainable, on a model without bytes."""
    if "config" not in question:
        return verdict(question)
    import axolotl.loaders.adapter
    from axolotl.utils.dict import DictDefault

    checked = verdict(question)
    if not checked["accepted"]:
        return {"accepted": False, "error": checked["errors"][0]}
    settings = DictDefault(checked["values"])
    if settings.lora_target_parameters or settings.quantize_moe_experts:
        from axolotl.monkeypatch.moe_quant import patch_peft_target_parameters_matching

        patch_peft_target_parameters_matching()
    try:
        with redirect_stdout(io.StringIO()):
            model, _ = axolotl.loaders.adapter.load_lora(_model(question["config"]), settings)
    except Exception as error:  # noqa: BLE001 - PEFT and Axolotl refuse with errors of many kinds
        return {"accepted": True, "error": f"{type(error).__name__}: {error}"}
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    return {"accepted": True, "trainable_params": sum(parameter.numel() for parameter in trained)}


def _model(config: dict):
    import torch
    import transformers

    kind = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(kind)


def main() -> None:
    prepare()
    if sys.argv[1] == "schema":
        print(json.dumps(schema(), default=str))
        return
    answer = {"verdicts": verdict, "counts": count}[sys.argv[1]]
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line)), default=str), flush=True)


if __name__ == "__main__":
    main()
