"""The accuracy trial's short fine-tune: let a freshly pruned model recover, the same way for every spec.

A proxy ranks models; it need not finish training them. So every model gets the same few steps (AdamW, warm-up as a
fraction of the steps, cosine decay to zero, gradients clipped) on the same batches, and comparisons between specs see
as little noise as possible: with one thread and one seed the result is the same to the bit.

Sources: Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019 (AdamW) and SGDR, ICLR 2017 (cosine);
Radford et al. 2021, section 2.5 (no decay on gains and biases, temperature clamp); the steps, rate and batch size are
those of arXiv 2505.01386.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from catransformers.accuracy.distillation import Targets, distillation_loss
from catransformers.accuracy.losses import clamp_logit_scale, contrastive_loss
from catransformers.accuracy.tasks import Batch, Task
from catransformers.errors import CatransformersError, InputError, Problem
from catransformers.models.clip import Clip


class TrialFailure(CatransformersError):  # noqa: N818 - what the study calls it
    """One trial came to nothing (its loss diverged, say); the study records it as failed and goes on."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How a trial fine-tunes.

    Args:
        steps: optimiser steps; 0 leaves the model as it is.
        learning_rate: the peak, after the warm-up.
        batch_size: pairs a step.
        warmup_fraction: fraction of the steps in which the rate rises linearly, 0 to 1.
        weight_decay: AdamW's, on matrices only (not on biases, norms, class token, temperature).
        max_gradient_norm: gradients are scaled down to this norm.
        distillation: weight of the distance to the base's embeddings (1 − cosine), where targets are given.
        seed: of the order of the data.
        threads: torch threads during the fine-tune; results repeat to the bit with 1.
    """

    steps: int = 100
    learning_rate: float = 1e-3
    batch_size: int = 64
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    distillation: float = 20.0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: for values out of range, all at once.
        """
        checks = (
            ("steps", self.steps >= 0, "≥ 0"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "> 0"),
            ("batch_size", self.batch_size >= 2, "≥ 2"),
            ("warmup_fraction", 0 <= self.warmup_fraction <= 1, "0 to 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "≥ 0"),
            ("max_gradient_norm", self.max_gradient_norm > 0, "> 0"),
            ("distillation", 0 <= self.distillation < math.inf, "≥ 0"),
            ("threads", self.threads >= 1, "≥ 1"),
        )
        problems = [
            Problem(f"accuracy.{name}", f"{getattr(self, name)} is out of range", allowed)
            for name, good, allowed in checks
            if not good
        ]
        if problems:
            raise InputError(problems)


@dataclass(frozen=True, slots=True)
class ProxyResult:
    """What a fine-tune did: every step's contrastive loss, before the step, in nats, and its wall time in seconds."""

    losses: tuple[float, ...]
    seconds: float


def rate(step: int, settings: ProxySettings) -> float:
    """The learning rate of a step (0, 1, …): linear warm-up, then a cosine that reaches zero after the last step.

    Reference: Loshchilov and Hutter, SGDR, ICLR 2017, equation (5).
    """
    warmup = round(settings.warmup_fraction * settings.steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, settings.steps - warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """AdamW's groups: matrices with decay; vectors and scalars (biases, norms, class token, temperature) without.

    Reference: Radford et al. 2021, section 2.5.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Run with `number` torch threads; the former number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fine_tune(
    model: Clip,
    task: Task,
    settings: ProxySettings,
    targets: Targets | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> ProxyResult:
    """Fine-tune `model` in place on the task's training pairs.

    Args:
        model: the (pruned) model, on the device to use; changed, and left in evaluation mode.
        task: gives `train_batches(batch_size, seed)`.
        settings: see `ProxySettings`.
        targets: the base's embeddings of the same batches (`distillation.cached_targets` with the same batch size,
            seed and number of steps); None: learn from the pairs alone.
        progress: called after every step with its number (from 1) and its loss.

    Returns:
        The learning curve and the time.

    Raises:
        InputError: if the targets are not those of `settings.steps` batches.
        TrialFailure: if the loss or a gradient is not finite; says at which step.
    """
    if targets is not None and len(targets) != settings.steps:
        raise InputError(Problem("targets", f"of {len(targets)} steps", f"{settings.steps} steps"))
    started = time.perf_counter()
    device = next(model.parameters()).device
    optimiser = torch.optim.AdamW(
        parameter_groups(model, settings.weight_decay),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        eps=1e-6,
        fused=True,
    )
    batches = task.train_batches(settings.batch_size, settings.seed)
    losses = []
    model.train()
    with torch_threads(settings.threads):
        for step in range(settings.steps):
            for group in optimiser.param_groups:
                group["lr"] = rate(step, settings)
            images, tokens = next(batches)
            target = None if targets is None else (targets.images[step].to(device), targets.texts[step].to(device))
            loss, norm = _step(model, optimiser, (images.to(device), tokens.to(device)), target, settings)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise TrialFailure(
                    f"the fine-tune diverged at step {step + 1} of {settings.steps}: loss {loss}, gradient norm {norm}"
                    f" (learning rate {settings.learning_rate:g})"
                )
            losses.append(loss)
            if progress is not None:
                progress(step + 1, loss)
    model.eval()
    return ProxyResult(tuple(losses), time.perf_counter() - started)


def _step(
    model: Clip,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    target: tuple[Tensor, Tensor] | None,
    settings: ProxySettings,
) -> tuple[float, float]:
    """One optimiser step, none where the gradient is not finite; the contrastive loss and the gradient's norm."""
    images, tokens = batch
    image, text = model.encode_image(images), model.encode_text(tokens)
    loss = contrastive_loss(model.logit_scale.exp() * image @ text.T, tokens)
    total = loss if target is None else loss + settings.distillation * distillation_loss(image, text, *target)
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), settings.max_gradient_norm))
    value = float(loss.detach())
    if math.isfinite(value) and math.isfinite(norm):
        optimiser.step()
        clamp_logit_scale(model.logit_scale)
    return value, norm
