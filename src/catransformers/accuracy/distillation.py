"""Distillation targets: what the base model makes of the very batches that every trial trains on.

A pruned model recovers several times faster if it is also told where the base puts each image and text. All trials
of a study see the same batches, so the base runs over them once, and its unit vectors are kept in a file: for a trial
the targets are free.

Source: Romero et al., FitNets, ICLR 2015 (matching a teacher's representation); Wu et al., TinyCLIP, ICCV 2023
(distillation for pruned CLIPs).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from catransformers.accuracy.tasks import Task
from catransformers.models.clip import Clip
from catransformers.models.tensor_cache import cached, content_key, digest

#: Raise it when the targets of the same base and data would come out differently.
METHOD: Final = "unit-vectors-1"


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The base's unit vectors for each step's batch, on the CPU.

    Args:
        images: (steps, b, p) of the images.
        texts: (steps, b, p) of the texts.
    """

    images: Tensor
    texts: Tensor

    def __len__(self) -> int:
        return len(self.images)


def distillation_loss(image: Tensor, text: Tensor, image_target: Tensor, text_target: Tensor) -> Tensor:
    """Mean 1 − cosine between a model's and the base's unit vectors (b, p), images plus texts: 0 to 4."""
    return (1 - (image * image_target).sum(dim=-1)).mean() + (1 - (text * text_target).sum(dim=-1)).mean()


@torch.no_grad()
def make_targets(base: Clip, task: Task, *, steps: int, batch_size: int, seed: int) -> Targets:
    """Run the base over the first `steps` training batches of a seed.

    Args:
        base: in evaluation mode, on the device to use.
        task: gives `train_batches(batch_size, seed)`.
        steps: how many batches; at least 1.
        batch_size: pairs a batch.
        seed: of the order of the data.
    """
    device = next(base.parameters()).device
    batches = task.train_batches(batch_size, seed)
    images, texts = [], []
    for _ in range(steps):
        pixels, tokens = next(batches)
        images.append(base.encode_image(pixels.to(device)).cpu())
        texts.append(base.encode_text(tokens.to(device)).cpu())
    return Targets(torch.stack(images), torch.stack(texts))


def cached_targets(base: Clip, task: Task, folder: Path, *, steps: int, batch_size: int, seed: int) -> Targets:
    """`make_targets`, from the cache in `folder` where it holds those of the same base and data.

    Args:
        base: as for `make_targets`.
        task: as for `make_targets`; its first batch stands for its data in the key.
        folder: where `targets-<key>.safetensors` lies; made if needed. Processes may share it.
        steps: as for `make_targets`.
        batch_size: as for `make_targets`.
        seed: as for `make_targets`.

    Warns:
        CatransformersWarning: if the cached file was damaged; it is made and written again.

    Raises:
        OSError: if the folder cannot be written.
    """
    images, tokens = next(task.train_batches(batch_size, seed))
    key = content_key(
        {
            "method": METHOD,
            "spec": base.spec.to_dict(),
            "base": digest(base.state_dict()),
            "task": task.name,
            "first batch": digest({"images": images, "tokens": tokens}),
            "numbers": [steps, batch_size, seed],
        }
    )

    def make() -> dict[str, Tensor]:
        targets = make_targets(base, task, steps=steps, batch_size=batch_size, seed=seed)
        return {"images": targets.images, "texts": targets.texts}

    tensors = cached(folder, "targets", key, make)
    return Targets(tensors["images"], tensors["texts"])
