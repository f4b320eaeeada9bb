"""Where Axolotl puts its fused LoRA kernels into a model, and where it refuses to."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from lora_explorer.errors import MemoryUnknown
from lora_explorer.memory.kernels.fused_lora import Projection, fused_embedding, fused_mlp, fused_projections

if TYPE_CHECKING:
    from lora_explorer.base_models.skeleton import Skeleton

Kernel = Literal["mlp", "qkv", "o", "embedding"]
KERNELS: tuple[Kernel, ...] = ("mlp", "qkv", "o", "embedding")

_QKV = ("q_proj", "k_proj", "v_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
# Qwen3.5's linear attention (axolotl/monkeypatch/lora_kernels.py).
_LINEAR_ATTENTION = ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a")
# The projections as transformers writes them where Axolotl can put its own call in their place, without white space.
_HEADS = r"self\.{0}_proj\(hidden_states\)\.view\(hidden_shape\)"
_GATED_QUERY = r"torch\.chunk\(self\.q_proj\(hidden_states\)\.view\(\*input_shape,-1,self\.head_dim\*2\),2,dim=-1\)"
_LAYOUT = (
    rf"query_states=((self\.q_norm\()?{_HEADS.format('q')}\)?\.transpose\(1,2\))|query_states,gate={_GATED_QUERY}",
    rf"key_states=(self\.k_norm\()?{_HEADS.format('k')}\)?\.transpose\(1,2\)",
    rf"value_states={_HEADS.format('v')}\.transpose\(1,2\)",
    r"attn_output=self\.o_proj\(attn_output\)",
)
# Attentions that Axolotl does not rewrite: one it replaces as a whole, and one it leaves to PEFT.
_REPLACED = "Gemma4TextAttention"
_LEFT_TO_PEFT = "Gemma4UnifiedTextAttention"
_STOPS = "Axolotl would stop, because {}: the figure is with every lora_*_kernel set to false."

# Architectures that Axolotl 0.21 declares unsupported (axolotl/model_support): it turns every kernel off by itself.
_UNSUPPORTED = frozenset(
    {"diffusion_gemma", "glm5_next", "glm5_next_text", "k2_horizon", "muse_glimmer", "paddleocr_vl", "qwen4_exp",
     "qwen4_exp_text"}
)  # fmt: skip


class _SharedInput:
    """Projections called one by one that are computed together at the first call, as the patched attention does."""

    def __init__(self, owner: nn.Module, names: Sequence[str]) -> None:
        modules: list[Any] = [getattr(owner, name) for name in names]
        self._layers = tuple(Projection(module) for module in modules)
        self._outputs: dict[int, Tensor] = {}
        modules[0].forward = self._all
        for position, module in enumerate(modules[1:], start=1):
            module.forward = partial(self._one, position)

    def _all(self, x: Tensor) -> Tensor:
        first, *others = fused_projections(self._layers, x)
        self._outputs = dict(enumerate(others, start=1))
        return first

    def _one(self, position: int, x: Tensor) -> Tensor:
        return self._outputs.pop(position)


def install(model: Any, kernels: frozenset[Kernel], layers: Sequence[nn.Module]) -> None:
    """Patch an adapted model. layers: its repeated layers; kernels go where every projection they need is adapted.

    Raises MemoryUnknown where a kernel stops the run.
    """
    if refusal(model, kernels, layers) is not None:
        kernels = frozenset()
    for layer in layers:
        for attention in _attentions(layer):
            if type(attention).__name__ != _LEFT_TO_PEFT:
                _install_attention(attention, kernels)
        _install_linear_attention(layer, kernels)
        for mlp in _mlps(layer):
            if "mlp" in kernels and _adapted(mlp, _MLP):
                _install_mlp(mlp)
    if "embedding" in kernels and len(kernels) > 1:
        # Axolotl looks for the embedding only after one of the other three was asked for.
        _install_embedding(model)


def refusal(model: Any, kernels: frozenset[Kernel], layers: Sequence[nn.Module]) -> str | None:
    """A sentence where these kernels do not run on this architecture, None where they do."""
    if kernels and model.config.model_type in _UNSUPPORTED:
        return "Axolotl turns its fused LoRA kernels off for this architecture."
    if kernels & {"qkv", "o"}:
        kinds: set[Any] = {type(attention) for attention in _named_attentions(layers)}
        unknown = sorted(kind.__name__ for kind in kinds if not _has_known_layout(kind))
        if unknown:
            return _STOPS.format(f"the fused attention projections do not know {unknown[0]}")
    activation = _activation(model.config)
    if "mlp" in kernels and activation != "silu" and "gelu" not in activation and any(map(_mlps, layers)):
        return _STOPS.format(f"the fused MLP does not know the activation {activation or 'of this model'}")
    return None


def kernels_refused(skeleton: Skeleton, kernels: frozenset[Kernel]) -> str | None:
    """`refusal` for a whole architecture."""
    if not kernels:
        return None
    with skeleton.lock:
        layers = [skeleton.model.get_submodule(path) for path in skeleton.layer_paths]
        return refusal(skeleton.model, kernels, layers)


def _install_attention(attention: nn.Module, kernels: frozenset[Kernel]) -> None:
    names = _QKV if getattr(attention, "v_proj", None) is not None else _QKV[:2]
    if "qkv" in kernels and _adapted(attention, names):
        _SharedInput(attention, names)
    if "o" in kernels and _adapted(attention, ("o_proj",)):
        _SharedInput(attention, ("o_proj",))


def _install_linear_attention(layer: Any, kernels: frozenset[Kernel]) -> None:
    attention = getattr(layer, "linear_attn", None)
    if attention is None or not all(hasattr(attention, name) for name in (*_LINEAR_ATTENTION, "out_proj")):
        return
    if "qkv" in kernels and any(_adapted(attention, (name,)) for name in _LINEAR_ATTENTION):
        _SharedInput(attention, _LINEAR_ATTENTION)
    if "o" in kernels and _adapted(attention, ("out_proj",)):
        _SharedInput(attention, ("out_proj",))


def _install_mlp(mlp: Any) -> None:
    mlp.forward = partial(fused_mlp, tuple(Projection(getattr(mlp, name)) for name in _MLP))


def _install_embedding(model: Any) -> None:
    embedding = model.get_input_embeddings()
    if hasattr(embedding, "lora_embedding_A") and not embedding.lora_embedding_A:
        # Axolotl's kernel goes by the attribute, which PEFT's layer around a parameter has too, and finds nothing.
        raise MemoryUnknown(
            "lora_target_parameters: training stops at the embedding, whose weight is adapted as a parameter: "
            "Axolotl's fused embedding kernel looks for an adapted module. Name it in lora_target_modules, or set "
            "lora_embedding_kernel: false.",
            setting="lora_target_parameters",
        )
    if hasattr(embedding, "lora_embedding_A") and not any(getattr(embedding, "use_dora", {}).values()):
        forward: Callable[[Tensor], Tensor] = partial(fused_embedding, embedding)
        embedding.forward = forward


def _attentions(layer: nn.Module) -> Iterator[nn.Module]:
    for name in ("self_attn", "mixer"):
        attention = getattr(layer, name, None)
        if attention is not None and all(hasattr(attention, projection) for projection in (*_QKV, "o_proj")):
            yield attention


def _named_attentions(layers: Sequence[nn.Module]) -> list[nn.Module]:
    """The attentions that Axolotl rewrites: it takes the architecture's attention class, whatever its projections."""
    found = (getattr(layer, "self_attn", None) for layer in layers)
    return [attention for attention in found if isinstance(attention, nn.Module)]


def _mlps(layer: Any) -> list[nn.Module]:
    shared = getattr(getattr(layer, "feedforward", None), "shared_expert", None)
    found: list[Any] = [getattr(layer, "mlp", None), shared]
    return [mlp for mlp in found if mlp is not None and all(hasattr(mlp, name) for name in _MLP)]


def _adapted(owner: nn.Module, names: Sequence[str]) -> bool:
    return all(hasattr(getattr(owner, name, None), "lora_A") for name in names)


@lru_cache(maxsize=256)
def _has_known_layout(attention: Any) -> bool:
    """attention: a class."""
    if attention.__name__ in (_REPLACED, _LEFT_TO_PEFT):
        return True
    source = re.sub(r"\s", "", inspect.getsource(attention.forward))
    return all(re.search(part, source) for part in _LAYOUT)


def _activation(config: Any) -> str:
    text = config.get_text_config()
    names = ("hidden_act", "hidden_activation", "mlp_hidden_act")
    return str(next((getattr(text, name) for name in names if hasattr(text, name)), ""))
