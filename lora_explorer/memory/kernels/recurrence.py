"""Recurrent layers: Mamba, linear attention and short convolutions, whose kernels are packages of their own."""

from __future__ import annotations

import sys
from functools import lru_cache

from lora_explorer.base_models.skeleton import Skeleton

# In transformers 5 every family that can use mamba-ssm, causal-conv1d or flash-linear-attention names one of these and
# computes in plain torch where the package is missing (integrations/hub_kernels.py).
_REPLACEABLE = ("causal_conv1d_fn", "mamba_chunk_scan_combined", "selective_scan_fn", "chunk_gated_delta_rule")
_WORDS = (
    "Recurrent layers run transformers' own torch code, as without mamba-ssm, causal-conv1d and "
    "flash-linear-attention; with those packages a run needs less."
)


@lru_cache(maxsize=16)
def recurrence_words(skeleton: Skeleton) -> tuple[str, ...]:
    """What is taken for granted of a model's recurrent layers, if it has any."""
    with skeleton.lock:
        files = {type(module).__module__ for path in skeleton.layer_paths for module in _modules(skeleton, path)}
    named = any(hasattr(sys.modules.get(file), name) for file in files for name in _REPLACEABLE)
    return (_WORDS,) if named else ()


def _modules(skeleton: Skeleton, path: str) -> tuple[object, ...]:
    return tuple(skeleton.model.get_submodule(path).modules())
