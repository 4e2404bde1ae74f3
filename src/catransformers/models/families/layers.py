"""What the nets of several families are built of: activations, self-attention of packed Q, K and V, initial weights.

Shapes in comments: b batch, s tokens, a attention width, h heads, e head size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Standard deviation of the initial weights of BERT and Llama (`initializer_range` of their configurations).
INITIAL_STD: Final = 0.02


class QuickGelu(nn.Module):
    """x·σ(1.702x), the activation of the original CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same shape out."""
        return x * torch.sigmoid(1.702 * x)


#: Activations by the names that specs have for them; `gelu_tanh` is GELU by its tanh formula.
ACTIVATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGelu,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
}


def with_biases(axes: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The axes of modules' weights and biases, for a `Stack`, of the weights' axes: a bias runs along the first."""
    kinds = {"weight": slice(None), "bias": slice(1)}
    return {f"{module}.{kind}": names[part] for module, names in axes.items() for kind, part in kinds.items()}


def self_attention(qkv: Tensor, heads: int, head_dim: int, *, causal: bool = False) -> Tensor:
    """The heads' contexts side by side, (b, s, a), of Q, K and V (b, s, 3a), each heads × head_dim."""
    b, s, _ = qkv.shape
    q, k, v = qkv.view(b, s, 3, heads, head_dim).permute(2, 0, 3, 1, 4)  # each (b, h, s, e)
    context = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return context.transpose(1, 2).reshape(b, s, heads * head_dim)


def initialise_normal(module: nn.Module) -> None:
    """Normal matrices and tables, zero biases, for `Module.apply`; norms are the identity from the start."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
