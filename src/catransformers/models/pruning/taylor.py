"""Taylor importance, by gates: how much the loss depends on a factor of one that multiplies a part.

To first order, removing the part (its gate ξ: 1 → 0) changes the loss by −∂L/∂ξ. One forward and backward pass over
calibration data gives that for every part at once. The derivative is taken per sample, and its size averaged:
I = E_x |∂L(x)/∂ξ|. (The plain sum over samples is near zero at the end of training for everything that the weights can
rescale themselves, important or not: it would rank noise.) Gates act where a part is *read*:

- head: on its slice of the context, before the output projection;
- neuron: on its activation, before the second matrix;
- channel: inside every norm that reads the residual stream, statistics included: mean and variance are weighted by the
  gates, so that a score holds what removal does to all other channels through the norms.

Gates are values of exactly one in hooks; they change no output.

Sources: Michel et al., Are Sixteen Heads Really Better than One?, NeurIPS 2019, equation (2) and section 4.1 (heads,
expected absolute gate gradient); Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019,
equation (8) (first-order Taylor terms of gates, for neurons and channels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from catransformers.models.families.net import Batch, Net, Stack, wide
from catransformers.models.pruning.part_scores import Loss, PartScores, read_by


class _Gates:
    """Gates of one stack for one batch: hooks that multiply by ones and remember them for their gradients."""

    def __init__(self, net: Net, stack: Stack, batch: int, device: torch.device) -> None:
        self.stack = stack
        size = stack.size(net.spec.dimensions())
        self.layers = size.layers

        def ones(*shape: int) -> Tensor:
            return torch.ones(*shape, device=device, requires_grad=True)

        self.heads = [ones(batch, size.heads) for _ in range(size.layers)]
        self.ffn = [ones(batch, size.ffn) for _ in range(size.layers)]
        self.embed = ones(batch, size.embed)

    def attach(self, net: Net) -> Iterator[RemovableHandle]:
        """Put the gates on the stack's blocks and on the norms around them."""
        stack = self.stack
        for number, block in enumerate(net.blocks_of(stack)):
            context, neurons = block.get_submodule(stack.context), block.get_submodule(stack.neurons)
            yield context.register_forward_pre_hook(self._scale(self.heads[number], stack.head_size))
            yield neurons.register_forward_pre_hook(self._scale(self.ffn[number], 1))
            for name in stack.norms:
                yield block.get_submodule(name).register_forward_hook(self._norm)
        for name in stack.outer_norms:
            yield net.get_submodule(name).register_forward_hook(self._norm)

    @staticmethod
    def _scale(gate: Tensor, repeat: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Tensor]]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
            (x,) = inputs  # (b, s, heads·head_size) or (b, s, f)
            return (x * gate.repeat_interleave(repeat, dim=1)[:, None, :].to(x.dtype),)

        return hook

    def _norm(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """A norm over the channels' gated sum; ones leave `output` as it is, to the bit."""
        (x,) = inputs  # (b, s, d), or (b, d) after pooling
        gate = self.embed if x.dim() == 2 else self.embed[:, None, :]
        least = torch.finfo(x.dtype).eps
        x = wide(x.detach())  # the path through x is the module's own
        number = gate.sum(dim=-1, keepdim=True)
        if isinstance(module, nn.RMSNorm):
            eps = least if module.eps is None else module.eps
            normal = x * torch.rsqrt((gate * x.square()).sum(dim=-1, keepdim=True) / number + eps)
            gated = gate * normal * module.weight.detach()
        else:
            assert isinstance(module, nn.LayerNorm)  # noqa: S101 - for the type checker
            mean = (gate * x).sum(dim=-1, keepdim=True) / number
            variance = (gate * (x - mean).square()).sum(dim=-1, keepdim=True) / number
            normal = (x - mean) * torch.rsqrt(variance + module.eps)
            gated = gate * (normal * module.weight.detach() + module.bias.detach())
        result: Tensor = output + (gated - gated.detach()).to(output.dtype)
        return result

    def gradients(self) -> dict[str, Tensor]:
        """Σ over the batch of |∂L/∂ξ|: heads (layers, heads), ffn (layers, f), embed (d,), in double precision.

        Raises:
            RuntimeError: if a gate was not met on the way (the net is not built as its stacks say).
        """
        every = [*self.heads, *self.ffn, self.embed]
        if any(gate.grad is None for gate in every):
            raise RuntimeError("an importance gate was never used")
        sums = [gate.grad.abs().double().sum(dim=0).cpu() for gate in every if gate.grad is not None]
        return {
            "heads": torch.stack(sums[: self.layers]),
            "ffn": torch.stack(sums[self.layers : -1]),
            "embed": sums[-1],
        }


def taylor_scores(net: Net, batches: Sequence[Batch], loss_fn: Loss) -> PartScores:
    """Per stack that the data reach: head, neuron and channel scores, each E_x |∂L(x)/∂ξ|, in nats.

    Args:
        net: in evaluation mode, no parameter requiring a gradient.
        batches: calibration data on the net's device.
        loss_fn: (outputs, batch) → scalar mean loss.

    Raises:
        RuntimeError: if a gate was not met on the way.

    Reference: Michel et al. 2019, section 4.1; Molchanov et al. 2019, equation (8).
    """
    stacks = read_by(net, batches)
    totals: PartScores = {}
    samples = 0
    for batch in batches:
        first = next(iter(batch.values()))
        number = len(first)
        with ExitStack() as hooks:
            gates = []
            for stack in stacks:
                gate = _Gates(net, stack, number, first.device)
                for handle in gate.attach(net):
                    hooks.callback(handle.remove)
                gates.append(gate)
            # The batch's loss is a mean of its samples' losses: times b, a gate's gradient is its own sample's.
            (loss_fn(net.wide_outputs(batch), batch) * number).backward()  # type: ignore[no-untyped-call]
        for gate in gates:
            sums, known = gate.gradients(), totals.get(gate.stack.name)
            totals[gate.stack.name] = sums if known is None else {k: known[k] + v for k, v in sums.items()}
        samples += number
    return {name: {part: total / samples for part, total in sums.items()} for name, sums in totals.items()}
