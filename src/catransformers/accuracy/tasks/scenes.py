"""The embedded task: find the caption of a small scene of two handwritten digits, and the scene of a caption.

"a large red seven left of a small green three": many captions differ from it by one swap or one word, and the pools are
built of such groups, so recall@1 needs digits read, attributes bound to their digit, and places. Validation and test
use scans and combinations of colours and digits that training never sees (see `scenes_text`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from catransformers.accuracy.metrics.retrieval import RetrievalPool, recall_at_1
from catransformers.accuracy.metrics.score import Score
from catransformers.accuracy.tasks import PoolName, Progress, unknown_pool
from catransformers.accuracy.tasks.scenes_images import render
from catransformers.accuracy.tasks.scenes_text import (
    CONTEXT,
    VOCABULARY,
    Ints,
    Split,
    random_groups,
    tokenize_scenes,
)
from catransformers.accuracy.training.losses import pair_loss
from catransformers.errors import Problem, Problems, unknown_name
from catransformers.models.families.net import Batch, Net, Outputs

if TYPE_CHECKING:
    from catransformers.config.sections import AccuracySection
    from catransformers.models.loading.base import Base

POOL_GROUPS, POOL_GROUP_SIZE = 125, 8  # 1,000 pairs
CALIBRATION_PAIRS = 512
TRAIN_GROUP_SIZE = 8
_SPLIT_STREAMS: dict[Split, int] = {"train": 0, "calibration": 1, "validation": 2, "test": 3}


def _generator(split: Split, seed: int) -> np.random.Generator:
    return np.random.default_rng([_SPLIT_STREAMS[split], seed])


def draw_pairs(groups: int, group_size: int, split: Split, rng: np.random.Generator) -> tuple[Ints, Tensor, Tensor]:
    """Random groups of pairs: scenes (n, 7), images (n, 3, IMAGE_SIZE, IMAGE_SIZE), tokens (n, CONTEXT)."""
    scenes = random_groups(groups, group_size, split, rng).reshape(-1, 7)
    from_second = rng.random(len(scenes)) < 0.5
    images, _ = render(scenes, split, rng)
    return scenes, images, torch.from_numpy(tokenize_scenes(scenes, from_second))


def tokenize(captions: Sequence[str]) -> Tensor:
    """Token ids (n, CONTEXT) of captions: a word is a token, start and end are added, the rest is padding.

    Raises:
        InputError: for unknown words and captions that are too long; all at once.
    """
    problems = Problems()
    tokens = torch.zeros(len(captions), CONTEXT, dtype=torch.int64)
    for row, caption in enumerate(captions):
        split_words = caption.lower().split()
        where = f"caption {row}"
        problems += [unknown_name(where, "word", w, VOCABULARY) for w in split_words if w not in VOCABULARY]
        if len(split_words) + 2 > CONTEXT:
            problems.append(Problem(where, f"{len(split_words)} words", f"at most {CONTEXT - 2}"))
        if not problems:
            ids = [VOCABULARY[word] for word in ("<start>", *split_words, "<end>")]
            tokens[row, : len(ids)] = torch.tensor(ids)
    problems.finish()
    return tokens


class ScenesTask:
    """Scenes of two handwritten digits; see the module."""

    name = "scenes"
    pairwise = True

    def train_batches(
        self,
        batch_size: int,
        seed: int,
        start: int = 0,
        *,
        rank: int = 0,
        world_size: int = 1,
        group_size: int = TRAIN_GROUP_SIZE,
    ) -> Iterator[Batch]:
        """Endless batches of groups that differ by one change; no scene stands twice in a batch.

        Args:
            batch_size: pairs a batch.
            seed: of everything random.
            start: number of the first batch; those before it are drawn and dropped.
            rank: this process's number of `world_size`.
            world_size: processes that share every batch, in equal parts.
            group_size: pairs a group; 1 gives unrelated scenes, more gives harder batches.
        """
        rng = _generator("train", seed)
        share = batch_size // world_size
        part = slice(rank * share, (rank + 1) * share)
        for number in count():
            _, images, tokens = draw_pairs(ceil(batch_size / group_size), group_size, "train", rng)
            if number >= start:
                yield {"images": images[:batch_size][part], "tokens": tokens[:batch_size][part]}

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        """512 pairs of the calibration split, in groups like those of the pools."""
        groups = CALIBRATION_PAIRS // POOL_GROUP_SIZE
        rng = _generator("calibration", 0)
        _, images, tokens = draw_pairs(groups, POOL_GROUP_SIZE, "calibration", rng)
        parts = zip(torch.split(images, batch_size), torch.split(tokens, batch_size), strict=True)
        return [{"images": image, "tokens": token} for image, token in parts]

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """CLIP's symmetric cross-entropy."""
        return pair_loss(outputs, batch)

    def evaluate(self, net: Net, pool: PoolName) -> Score:
        """Mean recall@1 on a pool."""
        return recall_at_1(net, self.pool(pool))

    def check(self, progress: Progress | None = None) -> None:
        """Nothing can be missing: the task makes its data."""

    def pool(self, name: PoolName) -> RetrievalPool:
        """1,000 pairs in 125 groups of 8.

        Raises:
            InputError: for another name than `validation` and `test`.
        """
        if name not in ("validation", "test"):
            raise unknown_pool(name)
        return _pool(name)


@cache
def _pool(name: PoolName) -> RetrievalPool:
    _, images, tokens = draw_pairs(POOL_GROUPS, POOL_GROUP_SIZE, name, _generator(name, 0))
    return RetrievalPool(images, tokens, np.repeat(np.arange(POOL_GROUPS), POOL_GROUP_SIZE))


def open_task(section: AccuracySection, base: Base) -> ScenesTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    return ScenesTask()
