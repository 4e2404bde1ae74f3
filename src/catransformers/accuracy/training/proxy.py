"""Proxy fine-tuning: a trial's short training, the same for every spec, after which a pruned model is judged.

A proxy ranks models; it need not finish training them. So every model gets the same few steps (AdamW, warm-up as a
fraction of the steps, cosine decay to zero, gradients clipped) on the same batches, whatever the number of devices, and
comparisons between specs see as little noise as possible: with one thread and one seed the result is the same to the
bit. On request smaller models get more steps, so that all train with equal compute (`scaled_steps`).

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
from torch import nn

from catransformers.accuracy.tasks import Task
from catransformers.accuracy.training.distillation import KeptTeacher, Teacher
from catransformers.accuracy.training.step import Precision, StepSettings, backward, resolved_precision
from catransformers.config.sections import AccuracySection
from catransformers.errors import CatransformersError, InputError, Problem, Problems
from catransformers.models.families.net import Net


class TrialFailure(CatransformersError):  # noqa: N818 - what the study calls it
    """One trial came to nothing (its loss diverged, say); the study records it as failed and goes on."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How a trial fine-tunes.

    Args:
        steps: optimiser steps; 0 leaves the model as it is.
        learning_rate: the peak, after the warm-up.
        batch_size: samples a step.
        warmup_fraction: fraction of the steps in which the rate rises linearly, 0 to 1.
        weight_decay: AdamW's, on matrices only (not on biases, norms, class token, temperature).
        max_gradient_norm: gradients are scaled down to this norm.
        distillation: weight of the distance to what the base makes of the batch, where there is a teacher; None: the
            usual one for the kind of net (`distillation.default_weight`).
        micro_batch: samples at a time; None: the whole batch. The gradient is the same.
        precision: of the forward pass; `auto` is bf16 on a GPU that has it, else fp32.
        seed: of the order of the data.
        threads: torch threads during the fine-tune; results repeat to the bit with 1.
    """

    steps: int = 100
    learning_rate: float = 1e-3
    batch_size: int = 64
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    distillation: float | None = None
    micro_batch: int | None = None
    precision: Precision = "fp32"
    seed: int = 0
    threads: int = 1

    @classmethod
    def of(cls, section: AccuracySection, *, steps: int, seed: int, threads: int) -> ProxySettings:
        """As a study's `[accuracy]` says, for so many `steps`."""
        return cls(
            steps=steps,
            learning_rate=section.learning_rate,
            batch_size=section.batch_size,
            warmup_fraction=section.warmup_fraction,
            distillation=section.distillation,
            micro_batch=section.micro_batch,
            precision=section.precision,
            seed=seed,
            threads=threads,
        )

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
            ("distillation", self.distillation is None or 0 <= self.distillation < math.inf, "≥ 0"),
            ("micro_batch", self.micro_batch is None or self.micro_batch >= 1, "≥ 1"),
            ("threads", self.threads >= 1, "≥ 1"),
        )
        problems = Problems(
            Problem(f"accuracy.{name}", f"{getattr(self, name)} is out of range", allowed)
            for name, good, allowed in checks
            if not good
        )
        problems.finish()


@dataclass(frozen=True, slots=True)
class ProxyResult:
    """What a fine-tune did: every step's loss of the task, before the step, in nats, and its wall time in seconds."""

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
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in parameters:  # a class token of (1, 1, d) is a vector
        (matrices if sum(size > 1 for size in parameter.shape) >= 2 else others).append(parameter)
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
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


def scaled_steps(steps: int, base_macs: int, macs: int, most: float = 4.0) -> int:
    """Steps that give a smaller model as much compute as `steps` give the base, at most `most` times as many.

    Source: arXiv 2505.01386, section 4 (pruned models are fine-tuned with equal compute).
    """
    return round(steps * min(max(1.0, base_macs / macs), most))


def fine_tune(
    net: Net,
    task: Task,
    settings: ProxySettings,
    teacher: Teacher | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> ProxyResult:
    """Fine-tune `net` in place on the task's training data.

    Args:
        net: the (pruned) net, on the device to use; changed, and left in evaluation mode.
        task: gives `train_batches(batch_size, seed)` and the loss.
        settings: see `ProxySettings`.
        teacher: what the base makes of the same batches (`distillation.teacher_of` with the same batch size, seed and
            number of steps); None: learn from the data alone.
        progress: called after every step with its number (from 1) and its loss.

    Returns:
        The learning curve and the time.

    Raises:
        InputError: if the teacher's targets are not those of `settings.steps` batches.
        TrialFailure: if the loss or a gradient is not finite; says at which step.
    """
    if isinstance(teacher, KeptTeacher) and len(teacher) != settings.steps:
        raise InputError(Problem("targets", f"of {len(teacher)} steps", f"{settings.steps} steps"))
    started = time.perf_counter()
    device = next(net.parameters()).device
    optimiser = torch.optim.AdamW(
        parameter_groups(net, settings.weight_decay),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        eps=1e-6,
        fused=True,
    )
    how = StepSettings(settings.distillation, settings.micro_batch, task.pairwise, settings.precision)
    scaler = torch.amp.GradScaler(device.type, enabled=resolved_precision(settings.precision, device) == "fp16")
    batches = task.train_batches(settings.batch_size, settings.seed)
    losses: list[float] = []
    stepped = settings.steps == 0
    net.train()
    with torch_threads(settings.threads):
        for step in range(settings.steps):
            for group in optimiser.param_groups:
                group["lr"] = rate(step, settings)
            batch = {name: tensor.to(device, non_blocking=True) for name, tensor in next(batches).items()}
            target = None if teacher is None else teacher(step, batch)
            optimiser.zero_grad(set_to_none=True)
            loss = backward(net, task.loss, batch, target, how, scaler.scale)
            scaler.unscale_(optimiser)
            norm = float(nn.utils.clip_grad_norm_(net.parameters(), settings.max_gradient_norm))
            # A gradient scaler looks for its scale by overflowing: then it leaves the step out.
            if not math.isfinite(loss) or not (math.isfinite(norm) or scaler.is_enabled()):
                raise TrialFailure(
                    f"the fine-tune diverged at step {step + 1} of {settings.steps}: loss {loss}, gradient norm {norm}"
                    f" (learning rate {settings.learning_rate:g})"
                )
            stepped |= math.isfinite(norm)
            scaler.step(optimiser)
            scaler.update()
            net.constrain()
            losses.append(loss)
            if progress is not None:
                progress(step + 1, loss)
    net.eval()
    if not stepped:
        raise TrialFailure(f"the gradients overflowed in fp16 at all of {settings.steps} steps (bf16 has more range)")
    return ProxyResult(tuple(losses), time.perf_counter() - started)
