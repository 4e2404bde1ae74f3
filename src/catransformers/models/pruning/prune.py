"""Structured pruning (layers, heads, FFN neurons, width) of a net: a smaller, dense one, what is kept untouched.

Each stack of blocks shrinks along four dimensions, all at once and independent of each other:

- *layers*: whole blocks go; the others keep their order.
- *heads*: rows of Q, K and V and columns of the output projection go, per layer the least important ones, so the
  attention width becomes narrower than the residual stream. With grouped queries a key and value head goes with its
  whole group of query heads.
- *ffn_dim*: neurons go, a row of what writes them and a column of what reads them, per layer its own choice.
- *embed_dim*: channels of the residual stream go, one choice for the whole stack, because all blocks share it:
  embeddings, positions, class token, patch filters, norms, and every matrix that reads or writes the stream.

What is kept are the original numbers, unscaled. For heads and neurons that makes removal *equal* to zeroing. For
channels it is equal only up to the norms: their statistics are then taken over fewer channels, so what remains is
rescaled. That is left as it is on purpose: rescaling the norms' gains to undo it would be right for one input statistic
only, the importance scores price the effect in (`taylor.py` differentiates through the norms), and the fine-tune that
follows every pruning moves these gains first.

Sources: Michel et al., Are Sixteen Heads Really Better than One?, NeurIPS 2019 (heads); Molchanov et al., Importance
Estimation for Neural Network Pruning, CVPR 2019 (neurons, channels); Wang et al., HAT, ACL 2020 (`sorted_net`: slices
of sorted channels).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from catransformers.errors import IntegrityError, Problem, Problems
from catransformers.models.families.net import Net, Stack, StackSize
from catransformers.models.families.nets import without_memory
from catransformers.models.loading.storage import assign_tensors
from catransformers.models.pruning.importance import Importance, StackImportance

N = TypeVar("N", bound=Net)


@dataclass(frozen=True, slots=True)
class StackSelection:
    """What is kept of one stack: indices into the base net, in the order that the pruned one has them.

    Args:
        layers: (L,) kept blocks.
        embed: (d,) kept channels of the residual stream.
        heads: per kept block (h,) kept heads.
        ffn: per kept block (f,) kept FFN neurons.
    """

    layers: tuple[int, ...]
    embed: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    ffn: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> StackSize:
        """How large the stack is that it makes."""
        return StackSize(len(self.layers), len(self.ffn[0]), len(self.embed), len(self.heads[0]))


#: By the name of the stack.
Selection = Mapping[str, StackSelection]


def ranked(scores: Tensor, block: int = 1) -> list[int]:
    """Indices of `scores` (n,) from the largest to the smallest; of equals the earlier first.

    Args:
        scores: finite.
        block: neighbours that go together: blocks of so many are ranked by their sum, within one by their own scores.

    Raises:
        ValueError: if a score is not finite.
    """
    if not bool(scores.isfinite().all()):
        raise ValueError("importance scores must be finite")
    if block > 1:
        sums = torch.stack([part.double().sum() / len(part) for part in torch.split(scores, block)])
        parts = torch.split(torch.arange(len(scores)), block)
        order = torch.sort(sums, descending=True, stable=True).indices.tolist()
        return [int(parts[p][i]) for p in order for i in ranked(scores[parts[p]])]
    found: list[int] = torch.sort(scores, descending=True, stable=True).indices.tolist()
    return found


def top(scores: Tensor, number: int, block: int = 1) -> tuple[int, ...]:
    """The `number` most important of `scores` (n,), as ascending indices; of equals the earlier ones.

    Raises:
        ValueError: if a score is not finite or there are fewer than `number`.
    """
    if not 1 <= number <= len(scores):
        raise ValueError(f"cannot keep {number} of {len(scores)}")
    return tuple(sorted(ranked(scores, block)[:number]))


def _select_stack(size: StackSize, scores: StackImportance, ffn_block: int) -> StackSelection:
    layers = top(scores.layers, size.layers)
    return StackSelection(
        layers=layers,
        embed=top(scores.embed, size.embed),
        heads=tuple(top(scores.heads[layer], size.heads) for layer in layers),
        ffn=tuple(top(scores.ffn[layer], size.ffn, ffn_block) for layer in layers),
    )


def select(net: Net, dimensions: Mapping[str, int], importance: Importance, *, ffn_block: int = 1) -> Selection:
    """The most important parts of `net` that make up a model of some dimensions.

    Args:
        net: the base.
        dimensions: what to reach, all of the spec's prunable dimensions by name.
        importance: scores of the base; heads and neurons compete within their layer.
        ffn_block: FFN neurons that go together, as neighbours.

    Raises:
        ValueError: if the scores are not finite or too few for the dimensions.
    """
    return {
        stack.name: _select_stack(stack.size(dimensions), importance.stacks[stack.name], ffn_block)
        for stack in net.stacks()
    }


def _indices(stack: Stack, kept: StackSelection, position: int | None) -> dict[str, Tensor]:
    """Per prunable axis the kept indices, as (n,) tensors; `position` is the block's place in the pruned stack."""
    found = {"embed": torch.tensor(kept.embed)}
    if position is not None:
        found["ffn"] = torch.tensor(kept.ffn[position])
        heads = torch.tensor(kept.heads[position])
        found["attention"] = _spread(heads, stack.head_size)
        if stack.kv_size:
            found["kv"] = _spread(heads, stack.kv_size)
    return found


def _spread(units: Tensor, size: int) -> Tensor:
    """Indices of the channels of some units of `size` channels each."""
    return (units[:, None] * size + torch.arange(size)).flatten()


def _gather(tensor: Tensor, axes: tuple[str, ...], indices: Mapping[str, Tensor]) -> Tensor:
    """The kept part of a tensor, with memory of its own."""
    result = tensor.detach()
    for number, axis in enumerate(axes):
        if axis == "qkv":
            rows, width = indices["attention"], tensor.shape[number] // 3
            index = torch.cat([rows, rows + width, rows + 2 * width])
        elif axis in indices:
            index = indices[axis]
        else:
            continue
        if len(index) == tensor.shape[number] and bool((index == torch.arange(len(index))).all()):
            continue
        result = result.index_select(number, index.to(tensor.device))
    return result.clone() if result.data_ptr() == tensor.data_ptr() else result


def extract(net: N, selection: Selection) -> N:
    """The net that consists of the selected parts of `net`, with weights of its own.

    Args:
        net: the base; left as it is.
        selection: what to keep of each stack. All blocks of a stack keep equally many heads and neurons.

    Returns:
        A new net of the same family on the same device, in the same training mode, its weights float32 (a base in
        half precision stays so in memory, what is trained does not).

    Raises:
        IntegrityError: if the base has a tensor that pruning does not know, or lacks one.
    """
    stacks = net.stacks()
    spec = net.spec.with_dimensions(
        {name: size for stack in stacks for name, size in stack.dimensions(selection[stack.name].size).items()}
    )
    kind: Any = type(net)
    with without_memory():
        pruned: N = kind(spec)
    tensors: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in net.state_dict().items():
        found = _place(name, stacks, selection)
        if found is None:
            unknown.append(name)
            continue
        stack, target, axes, position = found
        if target is not None:
            part = _gather(tensor, axes, _indices(stack, selection[stack.name], position))
            tensors[target] = part.float() if part.is_floating_point() else part
    if unknown:
        raise IntegrityError(f"the model has tensors that pruning does not know: {', '.join(unknown)}")
    assign_tensors(pruned, tensors, "pruning", copy=False)
    return pruned.train(net.training)


def _place(
    name: str, stacks: Sequence[Stack], selection: Selection
) -> tuple[Stack, str | None, tuple[str, ...], int | None] | None:
    """Where a tensor belongs: stack, its name in the pruned net (None: it goes), axes, position of its block there."""
    for stack in stacks:
        if name in stack.stem_axes:
            return stack, name, stack.stem_axes[name], None
        if name.startswith(stack.blocks + "."):
            number, _, rest = name.removeprefix(stack.blocks + ".").partition(".")
            if rest in stack.block_axes and number.isdecimal():
                layers = selection[stack.name].layers
                if int(number) not in layers:
                    return stack, None, (), None
                position = layers.index(int(number))
                return stack, f"{stack.blocks}.{position}.{rest}", stack.block_axes[rest], position
    return None


def prune(net: N, spec: Any, importance: Importance, *, ffn_block: int = 1) -> N:
    """The net of `spec` made of the most important parts of `net`.

    Args:
        net: the base; left as it is.
        spec: what to reach: the base's spec with any of its prunable dimensions between 1 and the base's own.
        importance: scores of the base's parts (`importance.importance`).
        ffn_block: FFN neurons that go together, as neighbours; 1 chooses each for itself.

    Returns:
        A new net with weights of its own; at full size its outputs are bit-identical to the base's.

    Raises:
        InputError: if the spec is not a pruned version of the base's; all differences at once.
        IntegrityError: if the base has a tensor that pruning does not know, or lacks one.
    """
    check_pruned(net, spec)
    return extract(net, select(net, spec.dimensions(), importance, ffn_block=ffn_block))


def check_pruned(net: Net, spec: Any) -> None:
    """A spec must be the net's own with prunable dimensions between 1 and the net's.

    Raises:
        InputError: with every difference.
    """
    own, wanted = net.spec.dimensions(), spec.dimensions()
    problems = Problems(
        Problem(name, f"{value} is out of range", f"1 to {own.get(name, 0)}")
        for name, value in wanted.items()
        if not 1 <= value <= own.get(name, 0)
    )
    if not problems and net.spec.with_dimensions(wanted) != spec:
        what = "differs from the base in more than its prunable dimensions"
        problems.append(Problem("model spec", what, ", ".join(own)))
    problems.finish()


def sorted_net(net: N, importance: Importance) -> N:
    """The same net with channels, heads and neurons sorted by falling importance; blocks keep their order.

    Its outputs are the base's up to the order of sums. Any pruning of these three dimensions is then a slice of the
    first so many of each.

    Reference: Wang et al., HAT: Hardware-Aware Transformers, ACL 2020 (arXiv 2005.14187), section 3.1.
    """
    selection = {}
    for stack in net.stacks():
        scores = importance.stacks[stack.name]
        layers = tuple(range(len(scores.layers)))
        selection[stack.name] = StackSelection(
            layers,
            tuple(ranked(scores.embed)),
            tuple(tuple(ranked(scores.heads[layer])) for layer in layers),
            tuple(tuple(ranked(scores.ffn[layer])) for layer in layers),
        )
    return extract(net, selection)


def sliced(net: N, spec: Any, layers: Mapping[str, Sequence[int]] | None = None) -> N:
    """The first so many channels, heads and neurons of a (sorted) net.

    Args:
        net: made by `sorted_net`.
        spec: what to reach.
        layers: by the name of the stack, the kept blocks; the first ones where it is not given.

    Raises:
        InputError: if the spec is not a pruned version of the net's.
    """
    check_pruned(net, spec)
    selection = {}
    for stack in net.stacks():
        size = stack.size(spec.dimensions())
        kept = tuple(sorted((layers or {}).get(stack.name, range(size.layers))))
        heads, ffn = tuple(range(size.heads)), tuple(range(size.ffn))
        selection[stack.name] = StackSelection(kept, tuple(range(size.embed)), (heads,) * len(kept), (ffn,) * len(kept))
    return extract(net, selection)
