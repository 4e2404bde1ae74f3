"""Retrieval accuracy: recall@1 over a pool of image and text pairs.

Every image ranks all texts of the pool and every text all images; a hit is a rank of one. Pairs of a group look alike
(they differ by one attribute or one swap, or are captions of one image), so they are one sample (see `score`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catransformers.accuracy.metrics.score import Score, score_of
from catransformers.errors import InputError, Problem
from catransformers.models.families.net import Net


@dataclass(frozen=True, slots=True)
class RetrievalPool:
    """n pairs that are searched for one another.

    Args:
        images: (n, 3, height, width); fewer than n where images have several captions.
        tokens: (n, context) token ids; row i describes image i, or image `image_of[i]`.
        groups: (n,) the group that each pair belongs to.
        image_of: (n,) the image that each text describes; None: text i describes image i.
    """

    images: Tensor
    tokens: Tensor
    groups: NDArray[np.int64]
    image_of: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.groups)


def recall_at_1(net: Net, pool: RetrievalPool, batch_size: int = 250) -> Score:
    """Mean recall@1 of `net` on `pool`. A tie with another candidate is a miss.

    Args:
        net: a CLIP; it is put in evaluation mode for the time of the call.
        pool: the pairs.
        batch_size: pairs that are encoded at once; the result does not depend on it.

    Raises:
        InputError: for an empty pool.
    """
    if len(pool) == 0:
        raise InputError(Problem("pool", "no pairs to retrieve"))
    was_training, device = net.training, next(net.parameters()).device
    net.eval()
    with torch.inference_mode():
        images, texts = (
            torch.cat(
                [
                    net.outputs({key: rows[i : i + batch_size].to(device)})[output].float()
                    for i in range(0, len(rows), batch_size)
                ]
            )
            for key, output, rows in (("images", "image", pool.images), ("tokens", "text", pool.tokens))
        )
        if pool.image_of is not None:
            images = images[torch.from_numpy(pool.image_of).to(device)]  # one row a text
        similarity = (images @ texts.T).cpu()  # (n images, n texts)
    net.train(was_training)
    return score_similarity(similarity, pool.groups, pool.image_of)


def score_similarity(similarity: Tensor, groups: NDArray[np.int64], image_of: NDArray[np.int64] | None = None) -> Score:
    """Recall@1 from similarities (n images, n texts) whose diagonal holds the true pairs; NaN never hits.

    Where an image has several texts (rows with the same `image_of`), it is found if any of its own texts ranks first;
    its texts do not compete with one another. `metrics` has the two directions: how often an image's own text ranks
    first among all texts (`image_to_text`), and a text's own image among all images (`text_to_image`).
    """
    own = similarity.diagonal()
    ids = torch.arange(len(own)) if image_of is None else torch.from_numpy(image_of)
    same = ids[:, None] == ids[None, :]
    best_own = similarity.masked_fill(~same, -torch.inf).amax(dim=1)
    others = similarity.masked_fill(same, -torch.inf)
    hits = torch.stack([best_own > others.amax(dim=1), own > others.amax(dim=0)], dim=1).numpy()  # (n, 2)
    metrics = {"image_to_text": float(hits[:, 0].mean()), "text_to_image": float(hits[:, 1].mean())}
    return score_of(hits.mean(axis=1), groups, metrics)
