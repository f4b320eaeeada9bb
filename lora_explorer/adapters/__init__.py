"""From settings to what is trained: PEFT's configuration, what it reaches, and the exact counts."""

from lora_explorer.adapters.candidate import find_candidates
from lora_explorer.adapters.config import adapter_dtype, base_dtype, lora_config
from lora_explorer.adapters.injection import inject_adapter
from lora_explorer.adapters.plan import plan_adapter
from lora_explorer.adapters.result import AdapterPlan, Candidate, ModuleCount, TargetCoverage

__all__ = [
    "AdapterPlan",
    "Candidate",
    "ModuleCount",
    "TargetCoverage",
    "adapter_dtype",
    "base_dtype",
    "find_candidates",
    "inject_adapter",
    "lora_config",
    "plan_adapter",
]
