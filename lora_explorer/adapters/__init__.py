"""From settings to what is trained: PEFT's configuration, what it reaches, and the exact counts."""

from lora_explorer.adapters.candidate import find_candidates
from lora_explorer.adapters.config import adapter_dtype, base_dtype, lora_config
from lora_explorer.adapters.injection import inject_adapter
from lora_explorer.adapters.new_tokens import (
    NewTokens,
    NewTokensAdvice,
    advise_on_new_tokens,
    find_token_problems,
    new_tokens_of,
    read_new_tokens,
)
from lora_explorer.adapters.plan import adapted_layers, plan_adapter
from lora_explorer.adapters.result import AdapterPlan, Candidate, ModuleCount, TargetCoverage

__all__ = [
    "AdapterPlan",
    "Candidate",
    "ModuleCount",
    "NewTokens",
    "NewTokensAdvice",
    "TargetCoverage",
    "adapted_layers",
    "adapter_dtype",
    "advise_on_new_tokens",
    "base_dtype",
    "find_candidates",
    "find_token_problems",
    "inject_adapter",
    "lora_config",
    "new_tokens_of",
    "plan_adapter",
    "read_new_tokens",
]
