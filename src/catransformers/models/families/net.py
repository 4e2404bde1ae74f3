"""What all families' nets share: a spec, outputs from a batch, and a description of what pruning may remove.

A net is one or two *stacks* (an encoder, a decoder) of equal blocks with a stem around them. A `Stack` says, tensor by
tensor, which dimension each axis runs along, and which modules read the heads' contexts, the FFN neurons and the
residual stream. That description is all that pruning and importance scores need to know of a family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

#: Inputs by name: `images` (b, 3, h, w); `tokens` (b, s) ids; `mask` (b, s) bool, true where a token is real; `types`
#: (b, s) token types; `labels` (b,).
Batch = Mapping[str, Tensor]
#: What a net makes of a batch, by name; each family says which.
Outputs = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack of blocks and its stem.

    The axes of a tensor are named `embed` (channels of the residual stream), `ffn` (neurons), `attention` (heads ×
    `head_size`), `qkv` (three times that, one after the other), `kv` (heads × `kv_size`); any other name is an axis
    that pruning leaves alone.

    Args:
        name: of the component: `vision`, `text` or `decoder`.
        prefix: of its dimensions' names in the spec: `vision.`, `text.` or nothing.
        blocks: path of the `ModuleList` of blocks in the net.
        block_axes: for every tensor of a block, by its name there, the names of its axes.
        stem_axes: for every tensor outside the blocks that belongs to the stack, by its name in the net, the same.
        head_size: channels of a prunable head in the context (for grouped queries: the group's size × the head's).
        kv_size: channels of a prunable head in keys and values, where they have matrices of their own.
        head_dimension: the spec's name for the number of prunable heads: `heads` or `kv_heads`.
        context: module of a block whose input is the heads' contexts, side by side.
        neurons: module of a block whose input is the activated neurons.
        norms: modules of a block that read the residual stream.
        outer_norms: modules outside the blocks that do, by their path in the net.
        inputs: the keys of a batch that the stack reads.
    """

    name: str
    prefix: str
    blocks: str
    block_axes: Mapping[str, tuple[str, ...]]
    stem_axes: Mapping[str, tuple[str, ...]]
    head_size: int
    context: str
    neurons: str
    norms: tuple[str, ...]
    outer_norms: tuple[str, ...]
    inputs: tuple[str, ...]
    kv_size: int = 0
    head_dimension: str = "heads"

    def size(self, dimensions: Mapping[str, int]) -> StackSize:
        """The stack's dimensions out of a spec's."""
        return StackSize(
            layers=dimensions[f"{self.prefix}layers"],
            ffn=dimensions[f"{self.prefix}ffn_dim"],
            embed=dimensions[f"{self.prefix}embed_dim"],
            heads=dimensions[f"{self.prefix}{self.head_dimension}"],
        )

    def dimensions(self, size: StackSize) -> dict[str, int]:
        """The inverse of `size`: its dimensions by the spec's names."""
        return {
            f"{self.prefix}layers": size.layers,
            f"{self.prefix}ffn_dim": size.ffn,
            f"{self.prefix}embed_dim": size.embed,
            f"{self.prefix}{self.head_dimension}": size.heads,
        }


@dataclass(frozen=True, slots=True)
class StackSize:
    """How large a stack is: blocks, FFN neurons, channels of the residual stream, prunable heads."""

    layers: int
    ffn: int
    embed: int
    heads: int


class Net(nn.Module, ABC):
    """A net of any family; made from its spec alone (`type(net)(spec)`), with weights as the family initialises them.

    Its state dict holds every weight once. It has no persistent state beside its parameters.
    """

    spec: Any  # the family's own kind of `catransformers.workloads.spec.ModelSpec`

    @abstractmethod
    def stacks(self) -> tuple[Stack, ...]:
        """What pruning may remove, in the order of the spec's dimensions."""

    @abstractmethod
    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """What the net makes of a batch; of a batch with the inputs of one stack only, that stack's outputs."""

    def wide_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """`outputs` in float32 at least: a loss needs more digits than a net in half precision gives."""
        return {name: wide(output) for name, output in self.outputs(batch).items()}

    def constrain(self) -> None:
        """Bring weights that have a range back into it, after a step of an optimiser."""

    def blocks_of(self, stack: Stack) -> list[nn.Module]:
        """The blocks of a stack, first to last."""
        found = self.get_submodule(stack.blocks)
        assert isinstance(found, nn.ModuleList)  # noqa: S101 - for the type checker
        return list(found)


def wide(x: Tensor) -> Tensor:
    """A tensor in half precision as float32; any other as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


N = TypeVar("N", bound=Net)


def float_copy(net: N) -> N:
    """The same net with weights of its own, float32, ready to be trained; a base's may be mapped from a file."""
    return deepcopy(net).float().requires_grad_()
