"""Data-parallel training (torch.distributed): ranks, everybody's outputs, everybody's mean gradient.

`torchrun` and `accelerate launch` both say by environment variables which of how many processes one is; without them
there is one. The global batch is the same whatever their number, and so is its gradient: contrastive losses see the
gathered outputs of all.

Source: Radford et al., ICML 2021 (large-batch contrastive training); Ilharco et al., OpenCLIP, 2021 (gathered
features); Li et al., PyTorch Distributed, VLDB 2020 (bucketed all-reduce).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn import functional as gathering

from catransformers.errors import InputError, Problem
from catransformers.models.families.net import Batch, Outputs

#: Gradients are exchanged in pieces of about so many values.
BUCKET = 1 << 24
TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class World:
    """One of some processes that train one model.

    Args:
        rank: which one, from 0.
        size: of how many.
        device: its device.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def chief(self) -> bool:
        """Whether it is the one that writes and speaks."""
        return self.rank == 0

    def gather(self, outputs: Outputs, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Everybody's outputs and batches, side by side; gradients find their way back."""
        whole = {name: _gathered(output) if output.dim() else output for name, output in outputs.items()}
        with torch.no_grad():
            everything = {name: _gathered(tensor.contiguous()) for name, tensor in batch.items() if name != "images"}
        return whole, everything

    def average_gradients(self, net: nn.Module) -> None:
        """Put the mean of everybody's gradients in the place of each one's own."""
        if self.size == 1:
            return
        waiting: list[Tensor] = []
        for parameter in net.parameters():
            if not parameter.requires_grad:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            waiting.append(parameter.grad)
            if sum(gradient.numel() for gradient in waiting) >= BUCKET:
                _average(waiting, self.size)
                waiting = []
        if waiting:
            _average(waiting, self.size)

    def mean(self, value: float) -> float:
        """The mean of everybody's value."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total) / self.size

    def agree(self, flag: bool) -> bool:
        """Whether anybody says yes; everybody gets the same answer."""
        return self.mean(float(flag)) > 0

    def meet(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()


def _gathered(tensor: Tensor) -> Tensor:
    return torch.cat(gathering.all_gather(tensor))  # type: ignore[no-untyped-call]


def _average(gradients: list[Tensor], size: int) -> None:
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= size
    for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


@contextmanager
def world(device: Literal["cpu", "cuda"]) -> Iterator[World]:
    """This process among those that `torchrun` or `accelerate launch` started, or alone.

    Args:
        device: what each process computes on; on `cuda` each has the GPU of its local rank.

    Raises:
        InputError: if there is no such GPU.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    place = torch.device("cpu")
    if device == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            what = f"process {rank} has no GPU {local}: {torch.cuda.device_count()} can be used here"
            raise InputError(Problem("--device", what, "cpu, or as many processes as there are GPUs"))
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    if size == 1:
        yield World(0, 1, place)
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield World(rank, size, place)
    finally:
        dist.destroy_process_group()
