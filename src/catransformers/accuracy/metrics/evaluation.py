"""Run a net over data to judge it: in evaluation mode, in float32, batch by batch, leaving it as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import torch
from torch import Tensor

from catransformers.models.families.net import Batch, Net, Outputs

#: Samples that are judged at a time; no result depends on it.
BATCH: Final = 64

#: (outputs, batch) → what is kept of them by name; first dimensions may differ between names.
Measure = Callable[[Outputs, Batch], Mapping[str, Tensor]]


def judge(net: Net, batches: Iterable[Batch], measure: Measure) -> dict[str, Tensor]:
    """What `measure` keeps of a net's outputs on all batches, one after the other, on the CPU.

    Args:
        net: on the device to use; its mode is as before afterwards.
        batches: on any device.
        measure: called under `inference_mode`, with outputs and batch on the net's device.
    """
    device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    found: dict[str, list[Tensor]] = {}
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            for batch in batches:
                there = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
                for name, kept in measure(net.outputs(there), there).items():
                    found.setdefault(name, []).append(kept.cpu())
    finally:
        net.train(was_training)
    return {name: torch.cat(rows) for name, rows in found.items()}
