"""Image-text retrieval on the user's images: find an image's captions, and a caption's image.

An image may have several captions. In training it stands in a batch at most once, with one of them at random. Recall@1
counts as usual (Karpathy and Fei-Fei, CVPR 2015): an image is found if any one of its own captions ranks first, a
caption if its image does. A pool is the first images of its split with all of their captions; a group is an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from catransformers.accuracy.data import Sample, open_data
from catransformers.accuracy.metrics.evaluation import BATCH, judge
from catransformers.accuracy.metrics.retrieval import score_similarity
from catransformers.accuracy.metrics.score import Score
from catransformers.accuracy.metrics.zero_shot_classifier import Tokenize
from catransformers.accuracy.tasks import PoolName
from catransformers.accuracy.tasks.on_data import PairsTask, ReadImage, image_of, image_reader
from catransformers.accuracy.training.losses import pair_loss
from catransformers.models.families.net import Batch, Net, Outputs

if TYPE_CHECKING:
    from catransformers.config.sections import AccuracySection
    from catransformers.models.loading.base import Base


@dataclass(frozen=True, slots=True)
class _Pair:
    """A sample's image and one of its captions: any in training, else the first."""

    preprocess: ReadImage
    tokenize: Tokenize
    training: bool

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        caption = sample.captions[int(rng.integers(len(sample.captions))) if self.training else 0]
        return {"images": image_of(sample, self.preprocess), "tokens": self.tokenize([caption])[0]}


@dataclass(frozen=True, slots=True)
class _AllCaptions:
    """A sample's image and all of its captions, tokens (k, context)."""

    preprocess: ReadImage
    tokenize: Tokenize

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        return {
            "images": image_of(sample, self.preprocess),
            "tokens": self.tokenize(sample.captions),
            "captions": torch.tensor(len(sample.captions)),
        }


def _side_by_side(made: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """A batch of b images, the captions of all of them, and how many each image has."""
    return {
        "images": torch.stack([sample["images"] for sample in made]),
        "tokens": torch.cat([sample["tokens"] for sample in made]),
        "captions": torch.stack([sample["captions"] for sample in made]),
    }


class RetrievalTask(PairsTask):
    """Retrieval on images with captions; see the module.

    Args:
        source: with an image and at least one caption a sample.
        section, preprocess, tokenize: see `PairsTask`.
    """

    name = "retrieval"

    def make(self, *, training: bool) -> _Pair:
        """Image and caption."""
        return _Pair(self.preprocess, self.tokenize, training)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """CLIP's symmetric cross-entropy."""
        return pair_loss(outputs, batch)

    def captioned(self, pool: PoolName) -> Iterator[Batch]:
        """The first `pool_samples` images of a split, with all of their captions."""
        indices = self.source.splits[pool][: self.pool_samples]
        return self.in_order(indices, _AllCaptions(self.preprocess, self.tokenize), BATCH, collate=_side_by_side)

    def judged(self, net: Net, pool: PoolName) -> Score:
        """Mean recall@1 of both directions."""
        found = judge(
            net,
            self.captioned(pool),
            lambda outputs, batch: {
                "image": outputs["image"].float(),
                "text": outputs["text"].float(),
                "captions": batch["captions"],
            },
        )
        captions = found["captions"].numpy()
        image_of_text = np.repeat(np.arange(len(captions)), captions)
        similarity = found["image"] @ found["text"].T  # (images, texts)
        return score_similarity(similarity[torch.from_numpy(image_of_text)], image_of_text, image_of_text)


def open_task(section: AccuracySection, base: Base) -> RetrievalTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    return RetrievalTask(open_data(section.data or "", "captions"), section, image_reader(base), base.tokenizer())
