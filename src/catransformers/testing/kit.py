"""What all parts of the family kit share: what its user says of a family, and how outputs are compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from catransformers.models.families.net import Batch, Net, Outputs, Stack
from catransformers.models.families.nets import make_net
from catransformers.models.pruning.importance import Importance, StackImportance
from catransformers.workloads.spec import ModelSpec

#: Differences that the order of sums explains, relative to the largest value.
ROUNDING = 1e-6


class FamilyKit(ABC):
    """What the user of the kit says of a family."""

    @abstractmethod
    def spec(self) -> ModelSpec:
        """A small spec of the family, each of its dimensions at least 2."""

    @abstractmethod
    def batch(self) -> Batch:
        """At least three different samples, the same at each call, texts as long as `spec` says inferences are."""

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The scalar mean of the samples' losses."""

    def net(self) -> Net:
        """A net of `spec` in evaluation mode, the same at each call: no bias of it zero and no norm the identity."""
        return randomised(make_net(self.spec()))

    def macs(self, net: Net, batch: Batch) -> int:
        """Multiply-accumulates of one inference, as torch runs it.

        To be overridden where `outputs` does more than an inference needs: a language model's logits of every token.

        Args:
            net: full or pruned.
            batch: one sample of `batch`.
        """
        from catransformers.models.tracing.trace import trace  # noqa: PLC0415 - for this test alone

        return trace(_Called(net), batch).macs


class _Called(nn.Module):
    """A net's `outputs` as a module's forward pass."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.net.outputs(batch)


def randomised(net: Net, seed: int = 0) -> Net:
    """The net with all weights drawn anew: matrices that keep the size of what goes through, vectors around one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(drawn / max(2, parameter[0].numel()) ** 0.5)
            else:
                parameter.copy_(0.5 + 0.2 * drawn)
    return net.eval()


def outputs_of(net: Net, batch: Batch) -> dict[str, Tensor]:
    """A net's outputs without gradients, apart from everything else."""
    with torch.no_grad():
        return {name: output.clone() for name, output in net.outputs(batch).items()}


def rows(batch: Mapping[str, Tensor], index: Sequence[int]) -> dict[str, Tensor]:
    """Some samples of a batch."""
    return {name: tensor[list(index)] for name, tensor in batch.items()}


def samples(batch: Batch) -> int:
    """How many samples a batch has."""
    return len(next(iter(batch.values())))


def differences(ours: Outputs, theirs: Outputs, tolerance: float = 0.0) -> list[str]:
    """In what two outputs differ, as sentences; nothing if they agree.

    Args:
        ours, theirs: outputs by name.
        tolerance: allowed difference over the largest value of `theirs`; 0 for the same bits.
    """
    found = [f"{name} is in one of the two only" for name in sorted(set(ours) ^ set(theirs))]
    for name in sorted(set(ours) & set(theirs)):
        a, b = ours[name], theirs[name]
        if a.shape != b.shape:
            found.append(f"{name} is {tuple(a.shape)}, not {tuple(b.shape)}")
        elif tolerance == 0 and not torch.equal(a, b):
            found.append(f"{name} has other bits, by {float((a - b).abs().max()):.3g} at most")
        elif tolerance:
            largest = max(1.0, float(b.abs().max()))
            gap = float((a - b).abs().max()) / largest
            if not gap <= tolerance:
                found.append(f"{name} differs by {gap:.3g} of its largest value, allowed {tolerance:.3g}")
    return found


def halves(spec: ModelSpec) -> Iterator[tuple[str, dict[str, int]]]:
    """Each dimension alone at one half, then all of them together; with a name for each."""
    sizes = {name: max(1, size // 2) for name, size in spec.dimensions().items()}
    for name, size in sizes.items():
        yield f"{name}={size}", {name: size}
    yield "all at one half", sizes


def random_importance(net: Net, seed: int = 0) -> Importance:
    """Scores of all parts that mean nothing."""
    from catransformers.models.pruning.magnitude import random_scores  # noqa: PLC0415

    return Importance(
        {name: StackImportance(**scores) for name, scores in random_scores(net, seed).items()},
        0.0,
    )


def head_channels(stack: Stack, head: int) -> Tensor:
    """Which channels of the contexts are a head's."""
    return head * stack.head_size + torch.arange(stack.head_size)


@contextmanager
def without(net: Net, stack: Stack, module: str, channels: Sequence[Tensor]) -> Iterator[None]:
    """While open, per block of a stack, some channels of what goes into a module of it are zero."""
    from catransformers.models.pruning.removal import zeroed  # noqa: PLC0415

    with ExitStack() as stack_of_hooks:
        for block, own in zip(net.blocks_of(stack), channels, strict=True):
            stack_of_hooks.enter_context(zeroed([block.get_submodule(module)], own))
        yield
