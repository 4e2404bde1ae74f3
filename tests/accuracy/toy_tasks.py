"""Small nets and tasks of random data for the tests of training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from catransformers.accuracy.metrics.retrieval import RetrievalPool, recall_at_1
from catransformers.accuracy.metrics.score import Score, score_of
from catransformers.accuracy.training.losses import class_loss, pair_loss
from catransformers.models.families.clip import Clip
from catransformers.models.families.net import Batch, Net, Outputs
from catransformers.models.families.nets import make_net
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec, VitSpec

CLIP_SPEC = ClipSpec(
    vision=VisionSpec(layers=2, ffn_dim=12, embed_dim=8, heads=2, head_dim=4, tokens=5, image_size=4, patch_size=2),
    text=TextSpec(layers=2, ffn_dim=10, embed_dim=8, heads=2, head_dim=3, tokens=4, vocab_size=11),
    projection_dim=6,
)
VIT_SPEC = VitSpec(
    VisionSpec(layers=2, ffn_dim=12, embed_dim=8, heads=2, head_dim=4, tokens=5, image_size=4, patch_size=2), classes=3
)


def made(spec: ClipSpec | VitSpec, seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return make_net(spec)


def pairs(number: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Images whose brightness says which of ten tokens their text begins with."""
    kind = torch.randint(0, 10, (number,), generator=generator)
    images = kind[:, None, None, None] / 5 - 1 + 0.1 * torch.randn(number, 3, 4, 4, generator=generator)
    tokens = torch.randint(0, 10, (number, 4), generator=generator)
    tokens[:, 0], tokens[:, -1] = kind, 10
    return {"images": images, "tokens": tokens}


class ToyPairs:
    name = "toy-pairs"
    pairwise = True

    def train_batches(
        self, batch_size: int, seed: int, start: int = 0, *, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        step, share = start, batch_size // world_size
        while True:
            whole = pairs(batch_size, torch.Generator().manual_seed(1000 * seed + step))
            yield {name: tensor[rank * share : (rank + 1) * share] for name, tensor in whole.items()}
            step += 1

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        return [pairs(batch_size, torch.Generator().manual_seed(999))]

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return pair_loss(outputs, batch)

    def evaluate(self, net: Net, pool: str) -> Score:
        data = pairs(20, torch.Generator().manual_seed(7))
        assert isinstance(net, Clip)
        return recall_at_1(net, RetrievalPool(data["images"], data["tokens"], np.arange(20)))

    def check(self, progress: object = None) -> None:
        pass


class ToyClasses(ToyPairs):
    name = "toy-classes"
    pairwise = False

    def train_batches(
        self, batch_size: int, seed: int, start: int = 0, *, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        for batch in super().train_batches(batch_size, seed, start, rank=rank, world_size=world_size):
            yield {"images": batch["images"], "labels": batch["tokens"][:, 0] % 3}

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return class_loss(outputs, batch)

    def evaluate(self, net: Net, pool: str) -> Score:
        data = next(self.train_batches(50, 77))
        hits = net.outputs(data)["logits"].argmax(dim=1) == data["labels"]
        return score_of(hits.numpy().astype(np.float64))
