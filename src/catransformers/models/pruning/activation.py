"""Activation-based importance, with ShortGPT's block influence: the mean size of what a part hands on, over data.

Heads: the root mean square of their contexts; neurons and channels: the mean absolute value of the activation and of
what the norms make of the channel; layers: how far a block turns its input, 1 − cosine of what goes in and comes out.

Sources: Fang et al., DepGraph and Muralidharan et al., Compact Language Models via Pruning and Knowledge Distillation
(Minitron), NeurIPS 2024, section 2.2 (activation-based scores); Men et al., ShortGPT, 2024 (arXiv 2403.03853, block
influence, equation (1)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catransformers.models.families.net import Batch, Net, Stack
from catransformers.models.pruning.part_scores import PartScores, zeros


@torch.no_grad()
def activation_scores(net: Net, batches: Sequence[Batch]) -> PartScores:
    """Per stack: scores of heads, neurons, channels and layers, double precision on the CPU.

    Args:
        net: in evaluation mode.
        batches: calibration data on the net's device. Padding counts like any token.
    """
    found: PartScores = {}
    samples = 0
    with ExitStack() as hooks:
        for stack in net.stacks():
            found[stack.name] = _watch(net, stack, hooks)
        for batch in batches:
            net.outputs(batch)
            samples += len(next(iter(batch.values())))
    return {name: {part: total / samples for part, total in parts.items()} for name, parts in found.items()}


def _watch(net: Net, stack: Stack, hooks: ExitStack) -> dict[str, Tensor]:
    """Hooks that add up to the totals that are returned, each weighted by its batch's samples."""
    size = stack.size(net.spec.dimensions())
    totals = zeros(net, stack)

    def heads(number: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = inputs[0].double().unflatten(-1, (size.heads, stack.head_size))
            rms = x.square().mean(dim=-1).sqrt().flatten(1, -2).mean(dim=1)  # (b, heads)
            totals["heads"][number] += rms.sum(dim=0).cpu()

        return hook

    def neurons(number: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            totals["ffn"][number] += _mean(inputs[0]).cpu()

        return hook

    def norm(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        totals["embed"] += _mean(output).cpu()

    def block(number: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            cosine = F.cosine_similarity(inputs[0].double(), output.double(), dim=-1)  # (b, s)
            totals["layers"][number] += (1 - cosine).mean(dim=1).sum().cpu()

        return hook

    for number, module in enumerate(net.blocks_of(stack)):
        hooks.callback(module.get_submodule(stack.context).register_forward_pre_hook(heads(number)).remove)
        hooks.callback(module.get_submodule(stack.neurons).register_forward_pre_hook(neurons(number)).remove)
        hooks.callback(module.register_forward_hook(block(number)).remove)
        for name in stack.norms:
            hooks.callback(module.get_submodule(name).register_forward_hook(norm).remove)
    for name in stack.outer_norms:
        hooks.callback(net.get_submodule(name).register_forward_hook(norm).remove)
    return totals


def _mean(x: Tensor) -> Tensor:
    """Σ over samples of the mean absolute value over tokens: (b, …, n) → (n,)."""
    return x.double().abs().flatten(1, -2).mean(dim=1).sum(dim=0) if x.dim() > 2 else x.double().abs().sum(dim=0)
