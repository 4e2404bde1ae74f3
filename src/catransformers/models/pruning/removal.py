"""Leave-one-out importance: the loss without a part, less the loss with it, measured on calibration data.

Exact where the other ways are approximations, and as many passes over the data as there are parts: quick for layers,
affordable for heads, and for neurons and channels in `GROUPS` groups of neighbours, whose members share a score (within
a group the order of the parts decides). A part is removed by zeroing what it hands on; a channel also leaves the norms'
statistics as it is, so that its score is that of a zeroed channel, not of a pruned one.

Source: Lin et al., MoPE-CLIP: Structured Pruning for Efficient Vision-Language Models with Module-wise Pruning Error
Metric, CVPR 2024, equation (2): a module's pruning error is what the task's measure loses without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from catransformers.models.families.net import Batch, Net, Stack
from catransformers.models.pruning.part_scores import Loss, PartScores, read_by, zeros

#: Groups of neighbouring neurons (of a layer) and channels that are removed together.
GROUPS = 16


@contextmanager
def skipped(block: nn.Module) -> Iterator[None]:
    """While open, the block hands its input on unchanged, as if it had been removed."""
    handle = block.register_forward_hook(lambda _module, inputs, _output: inputs[0])
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def zeroed(modules: Sequence[nn.Module], channels: Tensor, *, after: bool = False) -> Iterator[None]:
    """While open, some channels (of the last axis) of what goes into the modules, or comes out of them, are zero."""

    def before_hook(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        return (inputs[0].index_fill(-1, channels.to(inputs[0].device), 0.0),)

    def after_hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.index_fill(-1, channels.to(output.device), 0.0)

    with ExitStack() as hooks:
        for module in modules:
            if after:
                handle = module.register_forward_hook(after_hook)
            else:
                handle = module.register_forward_pre_hook(before_hook)
            hooks.callback(handle.remove)
        yield


@torch.no_grad()
def removal_scores(
    net: Net, batches: Sequence[Batch], loss_fn: Loss, parts: Sequence[str] = ("layers",)
) -> tuple[float, PartScores]:
    """The loss of the whole net in nats, and its increase without each part of the kinds asked for.

    Args:
        net: in evaluation mode.
        batches: calibration data on the net's device.
        loss_fn: (outputs, batch) → scalar mean loss.
        parts: kinds of parts: `heads`, `ffn`, `embed`, `layers`.

    Returns:
        The loss; by stack that the data reach and kind the scores, double precision on the CPU, shaped as in
        `StackImportance`.
    """
    samples = sum(len(next(iter(batch.values()))) for batch in batches)
    stacks = read_by(net, batches)
    found: PartScores = {stack.name: {part: zeros(net, stack)[part] for part in parts} for stack in stacks}
    whole = 0.0
    for batch in batches:
        weight = len(next(iter(batch.values()))) / samples
        outputs = net.wide_outputs(batch)
        whole += weight * float(loss_fn(outputs, batch))
        for stack in stacks:
            own = {key: batch[key] for key in stack.inputs if key in batch}

            def loss(own: Batch = own, outputs: Any = outputs, batch: Batch = batch) -> float:
                return float(loss_fn({**outputs, **net.wide_outputs(own)}, batch))

            for part in parts:
                _add(net, stack, part, found[stack.name][part], weight, loss)
    return whole, {
        stack: {part: scores - whole for part, scores in by_part.items()} for stack, by_part in found.items()
    }


def _add(net: Net, stack: Stack, part: str, total: Tensor, weight: float, loss: Callable[[], float]) -> None:
    """Add one batch's weighted losses without each part."""
    blocks = net.blocks_of(stack)
    if part == "layers":
        for number, block in enumerate(blocks):
            with skipped(block):
                total[number] += weight * loss()
    elif part == "embed":
        norms = [block.get_submodule(name) for block in blocks for name in stack.norms]
        norms += [net.get_submodule(name) for name in stack.outer_norms]
        for channels in _groups(len(total)):
            with zeroed(norms, channels, after=True):
                total[channels] += weight * loss()
    else:
        for number, block in enumerate(blocks):
            if part == "heads":
                for head in range(total.shape[1]):
                    channels = head * stack.head_size + torch.arange(stack.head_size)
                    with zeroed([block.get_submodule(stack.context)], channels):
                        total[number, head] += weight * loss()
            else:
                for channels in _groups(total.shape[1]):
                    with zeroed([block.get_submodule(stack.neurons)], channels):
                        total[number, channels] += weight * loss()


def _groups(number: int) -> tuple[Tensor, ...]:
    return torch.tensor_split(torch.arange(number), min(GROUPS, number))
