"""The final training of a chosen model: as long as one likes, on one or several devices, with its base as teacher.

The same step as the proxy's (`step`), in the same schedule; beside it checkpoints every few minutes, and exact resume:
a run that is cut off and taken up again sees the same batches and ends with the same weights. On several processes
every batch is shared, gradients are averaged, and contrastive losses see everybody's outputs (`parallel`). A CLIP
learns from its base's distributions over a batch, image to text and text to image; other nets from their base's logits.

Source: arXiv 2505.01386, section 4 (the chosen models are trained further with distillation from the base).
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from catransformers.accuracy.tasks import Task
from catransformers.accuracy.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from catransformers.accuracy.training.distillation import WEIGHT_OF_LOGITS, LiveTeacher, affinity_distance
from catransformers.accuracy.training.distributed import World
from catransformers.accuracy.training.proxy import ProxySettings, TrialFailure, parameter_groups, rate
from catransformers.accuracy.training.step import StepSettings, backward, resolved_precision
from catransformers.errors import InputError, Problem
from catransformers.file_cache import content_key
from catransformers.models.families.net import Batch, Net

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class FinalResult:
    """What a training did.

    Args:
        steps: optimiser steps, over all attempts.
        losses: the task's loss of each step, in nats.
        seconds: of training, over all attempts.
        resumed_at: the step that this attempt began with.
    """

    steps: int
    losses: tuple[float, ...]
    seconds: float
    resumed_at: int


def train(
    net: Net,
    task: Task,
    settings: ProxySettings,
    folder: Path,
    world: World,
    *,
    base: Net | None = None,
    identity: str = "",
    checkpoint_minutes: float = 10.0,
    progress: Callable[[int, float], None] | None = None,
) -> FinalResult:
    """Train `net` in place, or go on with the run whose checkpoints are in `folder`.

    Args:
        net: on this process's device, the same on every process; left in evaluation mode.
        task: gives `train_batches(batch_size, seed, start)` and the loss.
        settings: steps, rate, global batch size and so on.
        folder: checkpoints go to `checkpoints` in it.
        world: this process among all.
        base: the teacher, on the device; None, or a distillation of 0: the data alone.
        identity: of what is trained (weights to start from, data); with the settings it tells whose a checkpoint is.
        checkpoint_minutes: between two checkpoints.
        progress: called after every step with its number (from 1) and its loss.

    Raises:
        InputError: if the folder's checkpoints are of another run, or the batch cannot be shared.
        TrialFailure: if the loss or a gradient is not finite; says at which step.
        KeyboardInterrupt: on Ctrl-C, after a checkpoint was written; the same call goes on.
    """
    key = content_key({"settings": _lasting(settings), "identity": identity, "task": task.name})
    optimiser = torch.optim.AdamW(
        parameter_groups(net, settings.weight_decay), lr=settings.learning_rate, betas=(0.9, 0.98), eps=1e-6
    )
    known = load_checkpoint(folder / CHECKPOINTS, key, net, optimiser) or Progress()
    run = _Run(net, task, settings, world, optimiser, base, known)
    before, began, kept = known.seconds, time.monotonic(), time.monotonic()

    def keep(step: int) -> None:
        if world.chief:
            now = Progress(step, tuple(run.losses), before + time.monotonic() - began, run.scaler.state_dict())
            save_checkpoint(folder / CHECKPOINTS, key, net, optimiser, now)
        world.meet()

    if settings.batch_size % world.size:
        what = f"{settings.batch_size} samples cannot be shared by {world.size} processes"
        raise InputError(Problem("--batch-size", what, f"a multiple of {world.size}"))
    batches = task.train_batches(settings.batch_size, settings.seed, known.step, rank=world.rank, world_size=world.size)
    net.train()
    step = known.step
    try:
        while step < settings.steps:
            loss = run.step(step, next(batches))
            step += 1
            if progress is not None:
                progress(step, loss)
            if step < settings.steps and world.agree(time.monotonic() - kept >= 60 * checkpoint_minutes):
                keep(step)
                kept = time.monotonic()
    except KeyboardInterrupt:
        if world.size == 1 and run.whole:
            keep(len(run.losses))
        raise
    if step > known.step:
        keep(step)
    net.eval()
    return FinalResult(step, tuple(run.losses), before + time.monotonic() - began, known.step)


def _lasting(settings: ProxySettings) -> dict[str, object]:
    """The settings that a run may not change; how it is computed may."""
    return {name: value for name, value in asdict(settings).items() if name not in ("threads", "micro_batch")}


class _Run:
    """The moving parts of a training."""

    def __init__(
        self,
        net: Net,
        task: Task,
        settings: ProxySettings,
        world: World,
        optimiser: torch.optim.Optimizer,
        base: Net | None,
        known: Progress,
    ) -> None:
        self.net, self.task, self.settings, self.world, self.optimiser = net, task, settings, world, optimiser
        # The loss of similarity to the teacher is the distance to the base already.
        alone = settings.distillation == 0 or task.name == "teacher-similarity"
        self.teacher = None if base is None or alone else LiveTeacher(base)
        self.losses = list(known.losses)
        #: Whether the weights are those after as many steps as there are losses: false inside an optimiser's step.
        self.whole = True
        kind = world.device.type
        self.scaler = torch.amp.GradScaler(kind, enabled=resolved_precision(settings.precision, world.device) == "fp16")
        if known.scaler:
            self.scaler.load_state_dict(dict(known.scaler))
        gather = world.gather if task.pairwise and world.size > 1 else None
        weight = WEIGHT_OF_LOGITS if settings.distillation is None else settings.distillation
        self.how = StepSettings(
            weight, settings.micro_batch, task.pairwise, settings.precision, gather, affinity_distance
        )

    def step(self, number: int, share: Batch) -> float:
        """One optimiser step on this process's share of a batch; the mean loss over all."""
        net, settings = self.net, self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = rate(number, settings)
        batch = {name: tensor.to(self.world.device, non_blocking=True) for name, tensor in share.items()}
        target = None if self.teacher is None else self.teacher(number, batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.world.mean(backward(net, self.task.loss, batch, target, self.how, self.scaler.scale))
        self.world.average_gradients(net)
        self.scaler.unscale_(self.optimiser)
        norm = float(nn.utils.clip_grad_norm_(net.parameters(), settings.max_gradient_norm))
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.scaler.is_enabled()):
            raise TrialFailure(
                f"the training diverged at step {number + 1} of {settings.steps}: loss {loss}, gradient norm {norm} "
                f"(learning rate {settings.learning_rate:g}); a lower rate may help"
            )
        self.whole = False
        with _uninterrupted():
            self.scaler.step(self.optimiser)
            self.scaler.update()
            net.constrain()
            self.losses.append(loss)
            self.whole = True
        return loss


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """While open, Ctrl-C waits: half a step is neither the state before it nor that after it."""
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted, and may say by whom
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
    if pressed:
        signal.raise_signal(signal.SIGINT)
