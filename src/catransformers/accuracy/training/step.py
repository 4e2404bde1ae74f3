"""One training step: loss, distillation, gradient accumulation, mixed precision; proxy and final training share it.

A batch that does not fit is taken in *micro-batches*. Where samples have losses of their own, gradients add up. Where
they are compared with one another (contrastive losses), the loss needs all outputs at once: they are computed without
keeping what a backward pass needs, the loss is derived by the outputs, and a second pass hands these derivatives on,
micro-batch by micro-batch. Either way the gradient is that of the whole batch.

Source: Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, RepL4NLP 2021 (arXiv
2101.06983), section 3.2 (gradient caching).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from catransformers.accuracy.training.distillation import default_weight, distance
from catransformers.errors import InputError, Problem
from catransformers.models.families.net import Batch, Net, Outputs, wide

Precision = Literal["auto", "fp32", "bf16", "fp16"]
#: (outputs, batch) → scalar mean loss.
Loss = Callable[[Outputs, Batch], Tensor]


@dataclass(frozen=True, slots=True)
class StepSettings:
    """How a step is computed.

    Args:
        distillation: weight of the distance to the teacher; None: the usual one for the kind of net.
        micro_batch: samples at a time; None: the whole batch at once.
        pairwise: whether the loss compares samples with one another.
        precision: of the forward pass; weights and gradients stay float32.
        gather: makes the whole batch's outputs out of this process's, where several share a batch.
        distance: how far outputs are from the teacher's.
    """

    distillation: float | None = None
    micro_batch: int | None = None
    pairwise: bool = False
    precision: Precision = "fp32"
    gather: Callable[[Outputs, Batch], tuple[Outputs, Batch]] | None = None
    distance: Callable[[Outputs, Outputs, Batch], Tensor] = distance


def resolved_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """What `auto` means on a device: bf16 on a GPU that has it, else fp32.

    Raises:
        InputError: for fp16 on a CPU, which has no use for it.
    """
    if precision == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp16" and device.type != "cuda":
        raise InputError(Problem("accuracy.precision", "fp16 needs a GPU", "fp32, bf16"))
    return precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass in a precision."""
    kind = resolved_precision(precision, device)
    if kind == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if kind == "bf16" else torch.float16)


def backward(
    net: Net,
    loss_fn: Loss,
    batch: Batch,
    target: Outputs | None,
    settings: StepSettings = StepSettings(),
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> float:
    """Add the gradient of a batch's loss to the net's.

    Args:
        net: in training mode; its gradients are added to.
        loss_fn: the task's loss.
        batch: on the net's device.
        target: the teacher's outputs on the batch; None: no distillation.
        settings: see `StepSettings`.
        scale: multiplies the loss before the backward pass (a gradient scaler's).

    Returns:
        The task's loss, without the distillation.
    """
    number = _samples(batch)
    micro = settings.micro_batch or number
    if micro >= number:
        task_loss, total = _losses(_forward(net, batch, settings), batch, target, loss_fn, settings)
        _run(scale(total))
        return float(task_loss.detach())
    if not settings.pairwise and settings.gather is None:
        mean = 0.0
        for part in _parts(number, micro):
            share = (part.stop - part.start) / number
            piece = {name: tensor[part] for name, tensor in batch.items()}
            goal = None if target is None else {name: t[part] if t.dim() else t for name, t in target.items()}
            task_loss, total = _losses(_forward(net, piece, settings), piece, goal, loss_fn, settings)
            _run(scale(total * share))
            mean += float(task_loss.detach()) * share
        return mean
    return _cached(net, loss_fn, batch, target, settings, micro, scale)


def _cached(
    net: Net,
    loss_fn: Loss,
    batch: Batch,
    target: Outputs | None,
    settings: StepSettings,
    micro: int,
    scale: Callable[[Tensor], Tensor],
) -> float:
    """Gradient caching: derivatives by all outputs first, then through the net, micro-batch by micro-batch."""
    number = _samples(batch)
    parts = list(_parts(number, micro))
    pieces = [{name: tensor[part] for name, tensor in batch.items()} for part in parts]
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for piece in pieces:
            for name, output in _forward(net, piece, settings).items():
                found.setdefault(name, []).append(output.detach())
    # Scalars (the temperature) are the same in all parts.
    leaves = {
        name: (torch.cat(rows) if rows[0].dim() else rows[0].clone()).requires_grad_() for name, rows in found.items()
    }
    task_loss, total = _losses(leaves, batch, target, loss_fn, settings)
    _run(scale(total))
    for place, (part, piece) in enumerate(zip(parts, pieces, strict=True)):
        outputs = _forward(net, piece, settings)
        whole = [name for name, leaf in leaves.items() if leaf.grad is not None and (leaf.dim() or place == 0)]
        torch.autograd.backward([outputs[name] for name in whole], [_gradient(leaves[name], part) for name in whole])
    return float(task_loss.detach())


def _gradient(leaf: Tensor, part: slice) -> Tensor:
    assert leaf.grad is not None  # noqa: S101 - for the type checker; asked before
    return leaf.grad[part] if leaf.dim() else leaf.grad


def _forward(net: Net, batch: Batch, settings: StepSettings) -> dict[str, Tensor]:
    """A net's outputs on a batch, computed in the settings' precision, in float32 at least."""
    with autocast(settings.precision, next(iter(batch.values())).device):
        outputs = net.outputs(batch)
    return {name: wide(output) for name, output in outputs.items()}


def _losses(
    outputs: Outputs, batch: Batch, target: Outputs | None, loss_fn: Loss, settings: StepSettings
) -> tuple[Tensor, Tensor]:
    """The task's loss, and that with the distillation."""
    whole, everything = (outputs, batch) if settings.gather is None else settings.gather(outputs, batch)
    task_loss = loss_fn(whole, everything)
    if target is None:
        return task_loss, task_loss
    weight = default_weight(outputs) if settings.distillation is None else settings.distillation
    goal = target if settings.gather is None else settings.gather(target, batch)[0]
    return task_loss, task_loss + weight * settings.distance(whole, goal, everything)


def _run(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def _samples(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _parts(number: int, micro: int) -> Iterator[slice]:
    return (slice(start, min(start + micro, number)) for start in range(0, number, micro))
