"""Magnitude pruning's importance, without data: the size of a part's weights; and the random control.

The score of a part is the Euclidean norm of all weights of matrices that go if it goes: a head's rows of Q, K and V and
columns of the output projection, a neuron's rows and columns, a channel's, a layer's own.

Source: Han et al., Learning both Weights and Connections for Efficient Neural Networks, NeurIPS 2015 (magnitude).
"""

from __future__ import annotations

import torch
from torch import Tensor

from catransformers.models.families.net import Net, Stack
from catransformers.models.pruning.part_scores import PartScores, shapes, zeros


def magnitude_scores(net: Net) -> PartScores:
    """Per stack: the norms of heads, neurons, channels and layers, double precision on the CPU."""
    return {stack.name: _stack_scores(net, stack) for stack in net.stacks()}


@torch.no_grad()
def _stack_scores(net: Net, stack: Stack) -> dict[str, Tensor]:
    size = stack.size(net.spec.dimensions())
    squares = zeros(net, stack)
    for name, tensor in net.state_dict().items():
        axes = stack.stem_axes.get(name)
        layer: int | None = None
        if name.startswith(stack.blocks + "."):
            position, _, rest = name.removeprefix(stack.blocks + ".").partition(".")
            axes, layer = stack.block_axes.get(rest), int(position)
        if axes is None or tensor.dim() < 2:
            continue
        square = tensor.detach().cpu().double().square()
        if layer is not None:
            squares["layers"][layer] += square.sum()
        for number, axis in enumerate(axes):
            along = square.sum(dim=[i for i in range(square.dim()) if i != number])
            if axis == "embed":
                squares["embed"] += along
            elif axis == "ffn" and layer is not None:
                squares["ffn"][layer] += along
            elif axis in ("attention", "kv") and layer is not None:
                squares["heads"][layer] += along.view(size.heads, -1).sum(dim=1)
            elif axis == "qkv" and layer is not None:
                squares["heads"][layer] += along.view(3, size.heads, -1).sum(dim=(0, 2))
    return {part: total.sqrt() for part, total in squares.items()}


def random_scores(net: Net, seed: int) -> PartScores:
    """Per stack: uniform random scores of heads, neurons, channels and layers."""
    generator = torch.Generator().manual_seed(seed)
    return {
        stack.name: {part: torch.rand(shape, generator=generator) for part, shape in shapes(net, stack).items()}
        for stack in net.stacks()
    }
