"""Importance scores of prunable parts: what every criterion (Taylor, leave-one-out, magnitude, …) gives, and reads.

A net's parts are its attention heads, FFN neurons, channels of the residual stream and layers, stack by stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from catransformers.models.families.net import Batch, Net, Outputs, Stack

#: The kinds of parts.
PARTS = ("heads", "ffn", "embed", "layers")
#: (outputs, batch) → scalar: the mean of the losses of the batch's samples.
Loss = Callable[[Outputs, Batch], Tensor]
#: By stack, by kind of part.
PartScores = dict[str, dict[str, Tensor]]


def shapes(net: Net, stack: Stack) -> dict[str, tuple[int, ...]]:
    """The shape of a stack's scores by kind of part: (layers, heads), (layers, ffn_dim), (embed_dim,), (layers,)."""
    size = stack.size(net.spec.dimensions())
    found = ((size.layers, size.heads), (size.layers, size.ffn), (size.embed,), (size.layers,))
    return dict(zip(PARTS, found, strict=True))


def zeros(net: Net, stack: Stack) -> dict[str, Tensor]:
    """Scores of zero for a stack's parts, double precision on the CPU, to add to."""
    return {part: torch.zeros(shape, dtype=torch.float64) for part, shape in shapes(net, stack).items()}


def read_by(net: Net, batches: Sequence[Batch]) -> list[Stack]:
    """The stacks of a net whose inputs are in some batches."""
    return [stack for stack in net.stacks() if any(key in batch for batch in batches for key in stack.inputs)]
