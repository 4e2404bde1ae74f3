"""Recall@k of retrieval between images and their captions, for pools too large for a matrix of all similarities.

As CLIP's authors and clip-benchmark count: an image's text is found if any one of its captions is among the k texts
nearest to it, a caption's image if it is among the k images nearest to it (Karpathy and Fei-Fei, CVPR 2015, section
4.2). A tie with a wrong candidate counts against the net, and a similarity that is not a number never hits.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catransformers.accuracy.metrics.score import Score, score_of

KS: Final = (1, 5, 10)
_ROWS: Final = 256  # of a similarity matrix that are there at a time


def recalls(images: Tensor, texts: Tensor, image_of: Tensor) -> Score:
    """Mean recall@1 of both directions, and by direction and k in `metrics` as `image_recall@5`, `text_recall@5`.

    `image_recall` is how often a caption finds its image, `text_recall` how often an image finds one of its captions.
    An image with all of its captions is one sample of the standard error.

    Args:
        images: (n, p) unit vectors.
        texts: (m, p) unit vectors.
        image_of: (m,) the image that each text describes; every image has at least one.

    Returns:
        A score of n values: v_i = (t_i + r + (n/m) Σ_{j of i} (h_j − r)) / 2 with t_i whether image i found a caption,
        h_j whether caption j found its image, and r the mean of h. Their mean is the mean recall, and their spread that
        of a ratio of sums, linearised, since images may have different numbers of captions.
    """
    n, m = len(images), len(texts)
    image_ranks = _ranks_of_images(images, texts, image_of)  # (m,)
    text_ranks = _ranks_of_texts(images, texts, image_of)  # (n,)
    metrics: dict[str, float] = {}
    for k in KS:
        metrics[f"image_recall@{k}"] = float((image_ranks < k).double().mean())
        metrics[f"text_recall@{k}"] = float((text_ranks < k).double().mean())
    hits: NDArray[np.float64] = (image_ranks < 1).numpy().astype(np.float64)
    mean = hits.mean()
    of_image = np.bincount(image_of.numpy(), weights=hits - mean, minlength=n)
    return score_of(((text_ranks < 1).numpy() + mean + n / m * of_image) / 2, metrics=metrics)


def _ranks_of_images(images: Tensor, texts: Tensor, image_of: Tensor) -> Tensor:
    """How many other images are at least as near to each text as its own, (m,)."""
    ranks = []
    for start in range(0, len(texts), _ROWS):
        own = image_of[start : start + _ROWS, None]
        similarity = texts[start : start + _ROWS] @ images.T
        nearer = similarity >= similarity.gather(1, own)  # its own image too, unless it is not a number
        ranks.append(_no_hit(nearer.sum(dim=1) - 1, similarity))
    return torch.cat(ranks)


def _ranks_of_texts(images: Tensor, texts: Tensor, image_of: Tensor) -> Tensor:
    """How many texts of other images are at least as near to each image as the nearest of its own, (n,)."""
    ranks = []
    for start in range(0, len(images), _ROWS):
        similarity = images[start : start + _ROWS] @ texts.T
        own = image_of[None, :] == torch.arange(start, start + len(similarity))[:, None]
        best = similarity.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
        ranks.append(_no_hit(((similarity >= best) & ~own).sum(dim=1), similarity))
    return torch.cat(ranks)


def _no_hit(ranks: Tensor, similarity: Tensor) -> Tensor:
    """The ranks, beyond every k where a similarity is not a number."""
    return torch.where(similarity.isnan().any(dim=1), torch.iinfo(ranks.dtype).max, ranks)
