"""Importance scores of what pruning may remove: Taylor, leave-one-out, magnitude and activation importance.

A net's heads, FFN neurons, channels of the residual stream and layers each get a score; larger is more important. How
they are measured can be chosen for each kind of part by itself:

- `taylor`: expected size of the loss's derivative by a gate on the part (`taylor.py`); one forward and backward pass
  over the calibration data scores everything. The default for heads, neurons and channels.
- `leave-one-out`: what is lost without the part, measured (`removal.py`). The default for layers, which are few, and
  whose removal is no small step.
- `metric`: the same, but of the error rate instead of the loss, as people will judge the model (MoPE-CLIP).
- `magnitude`: the norm of the weights that belong to the part (`magnitude.py`); needs no data.
- `activation`: mean size of what the part hands on (`activation.py`).
- `random`: the control that the others have to beat.

Calibration data are the study's own calibration split, never validation or test data. A stack that they do not reach
(a CLIP's text encoder, of images alone) is scored by magnitude.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from catransformers.errors import CatransformersWarning, InputError, Problem
from catransformers.models.families.net import Batch, Net
from catransformers.models.pruning.activation import activation_scores
from catransformers.models.pruning.magnitude import magnitude_scores, random_scores
from catransformers.models.pruning.part_scores import PARTS, Loss, PartScores, read_by
from catransformers.models.pruning.removal import removal_scores
from catransformers.models.pruning.taylor import taylor_scores

Method = Literal["taylor", "leave-one-out", "metric", "magnitude", "activation", "random"]


@dataclass(frozen=True, slots=True)
class Methods:
    """How each kind of part is scored; `layers` cannot be scored by gates, they have none."""

    heads: Method = "taylor"
    ffn: Method = "taylor"
    embed: Method = "taylor"
    layers: Method = "leave-one-out"

    def of(self, method: Method) -> tuple[str, ...]:
        """The kinds of parts that a method scores."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) == method)


@dataclass(frozen=True, slots=True, eq=False)
class StackImportance:
    """Scores of one stack's parts, larger is more important; float32 on the CPU.

    Args:
        heads: (layers, heads).
        ffn: (layers, ffn_dim), of FFN neurons.
        embed: (embed_dim,), of channels of the residual stream.
        layers: (layers,); with `leave-one-out` the loss without the layer minus the loss with it, in nats, negative
            where the loss falls.
    """

    heads: Tensor
    ffn: Tensor
    embed: Tensor
    layers: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """Scores of all stacks' parts by the stack's name, and the loss of the whole net on the calibration data, nats."""

    stacks: Mapping[str, StackImportance]
    loss: float


def importance(
    net: Net,
    batches: Sequence[Batch],
    loss_fn: Loss,
    methods: Methods = Methods(),
    *,
    error_fn: Loss | None = None,
    seed: int = 0,
) -> Importance:
    """Score every prunable part of `net` on calibration data.

    Args:
        net: the base; its weights, gradients and mode are as before afterwards.
        batches: the calibration batches, on the net's device; of a contrastive loss the batch size matters.
        loss_fn: (outputs, batch) → scalar mean loss.
        methods: how each kind of part is scored.
        error_fn: (outputs, batch) → error rate, 0 … 1; for the method `metric`.
        seed: of the method `random`.

    Returns:
        The scores, float32 on the CPU.

    Warns:
        CatransformersWarning: if the batches have no inputs of a stack.

    Raises:
        InputError: if there are no batches, or the net's loss on them is not finite.
        ValueError: for the method `metric` without an `error_fn`.
    """
    if not batches:
        raise InputError(Problem("calibration data", "there are no calibration batches"))
    training, needed = net.training, [p.requires_grad for p in net.parameters()]
    net.eval().requires_grad_(False)
    try:
        loss, removed = removal_scores(net, batches, loss_fn, methods.of("leave-one-out"))
        found: dict[str, PartScores] = {"leave-one-out": removed}
        if methods.of("metric"):
            found["metric"] = removal_scores(net, batches, _ranking(error_fn, loss_fn), methods.of("metric"))[1]
        if methods.of("taylor"):
            found["taylor"] = taylor_scores(net, batches, loss_fn)
        if methods.of("activation"):
            found["activation"] = activation_scores(net, batches)
        if methods.of("magnitude"):
            found["magnitude"] = magnitude_scores(net)
        if methods.of("random"):
            found["random"] = random_scores(net, seed)
    finally:
        net.train(training)
        for parameter, flag in zip(net.parameters(), needed, strict=True):
            parameter.requires_grad_(flag)
    reached = {stack.name for stack in read_by(net, batches)}
    stacks = {}
    for stack in net.stacks():
        if stack.name in reached:
            parts = {part: found[getattr(methods, part)][stack.name][part] for part in PARTS}
        else:
            what = f"the calibration data have nothing that the stack {stack.name!r} reads: it is scored by magnitude, "
            warnings.warn(CatransformersWarning(f"{what}and no accuracy on such data tells of it"), stacklevel=2)
            parts = magnitude_scores(net)[stack.name]
        stacks[stack.name] = StackImportance(**{part: scores.float() for part, scores in parts.items()})
    every = [getattr(scores, part) for scores in stacks.values() for part in PARTS]
    if not all(bool(t.isfinite().all()) for t in every) or not torch.tensor(loss).isfinite():
        raise InputError(Problem("calibration data", "the model's loss on them is not finite"))
    return Importance(stacks, loss)


#: Weight of the loss beside the error rate, which many parts leave as it is: it ranks those.
TIE = 1e-6


def _ranking(error_fn: Loss | None, loss_fn: Loss) -> Loss:
    """The error rate, with a trace of the loss."""
    if error_fn is None:
        raise ValueError("the method 'metric' needs an error_fn")
    return lambda outputs, batch: error_fn(outputs, batch) + TIE * loss_fn(outputs, batch).double()
