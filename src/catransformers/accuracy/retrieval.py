"""Retrieval accuracy: recall@1 over a pool of image and text pairs, with an honest standard error.

Every image ranks all texts of the pool and every text all images; a hit is a rank of one. Pairs of a group look alike
(they differ by one attribute or one swap), so their hits are not independent: the standard error treats groups, not
pairs, as the sample (cluster-robust variance, Liang and Zeger, Biometrika 73, 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catransformers.errors import InputError, Problem

if TYPE_CHECKING:
    from catransformers.models.clip import Clip


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


@dataclass(frozen=True, slots=True)
class RetrievalScore:
    """Recall@1 of a model on a pool, as fractions of one.

    Args:
        accuracy: mean of the two directions.
        standard_error: of `accuracy`, clustered by group.
        image_to_text: how often an image's own text ranks first among all texts.
        text_to_image: how often a text's own image ranks first among all images.
        hits: (n, 2) whether pair i was found image → text and text → image.
        groups: (n,) the pool's groups.
    """

    accuracy: float
    standard_error: float
    image_to_text: float
    text_to_image: float
    hits: NDArray[np.bool_]
    groups: NDArray[np.int64]


def recall_at_1(model: Clip, pool: RetrievalPool, batch_size: int = 250) -> RetrievalScore:
    """Mean recall@1 of `model` on `pool`. A tie with another candidate is a miss.

    Args:
        model: it is put in evaluation mode for the time of the call.
        pool: the pairs.
        batch_size: pairs that are encoded at once; the result does not depend on it.

    Raises:
        InputError: for an empty pool.
    """
    if len(pool) == 0:
        raise InputError(Problem("pool", "no pairs to retrieve"))
    was_training, device = model.training, model.logit_scale.device
    model.eval()
    with torch.inference_mode():
        images, texts = (
            torch.cat([encode(rows[i : i + batch_size].to(device)) for i in range(0, len(rows), batch_size)])
            for encode, rows in ((model.encode_image, pool.images), (model.encode_text, pool.tokens))
        )
        if pool.image_of is not None:
            images = images[torch.from_numpy(pool.image_of).to(device)]  # one row a text
        similarity = (images @ texts.T).cpu()  # (n images, n texts)
    model.train(was_training)
    return score_similarity(similarity, pool.groups, pool.image_of)


def score_similarity(
    similarity: Tensor, groups: NDArray[np.int64], image_of: NDArray[np.int64] | None = None
) -> RetrievalScore:
    """Recall@1 from similarities (n images, n texts) whose diagonal holds the true pairs; NaN never hits.

    Where an image has several texts (rows with the same `image_of`), it is found if any of its own texts ranks first;
    its texts do not compete with one another.
    """
    own = similarity.diagonal()
    ids = torch.arange(len(own)) if image_of is None else torch.from_numpy(image_of)
    same = ids[:, None] == ids[None, :]
    best_own = similarity.masked_fill(~same, -torch.inf).amax(dim=1)
    others = similarity.masked_fill(same, -torch.inf)
    hits = torch.stack([best_own > others.amax(dim=1), own > others.amax(dim=0)], dim=1).numpy()  # (n, 2)
    per_pair = hits.mean(axis=1)
    return RetrievalScore(
        accuracy=float(per_pair.mean()),
        standard_error=clustered_standard_error(per_pair, groups),
        image_to_text=float(hits[:, 0].mean()),
        text_to_image=float(hits[:, 1].mean()),
        hits=hits,
        groups=groups,
    )


def paired_difference(a: RetrievalScore, b: RetrievalScore) -> tuple[float, float]:
    """Accuracy of `a` minus that of `b` on the same pool, and the standard error of this difference.

    Pairs are compared one by one, so what makes a pair hard for both models does not blur the difference.

    Raises:
        InputError: if the two scores are not of the same pool.
    """
    if not np.array_equal(a.groups, b.groups):
        raise InputError(Problem("scores", "the two scores are of different pools"))
    difference = a.hits.mean(axis=1) - b.hits.mean(axis=1)
    return float(difference.mean()), clustered_standard_error(difference, a.groups)


def clustered_standard_error(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Standard error of the mean of `values` (n,) when values of one group go together.

    √(G/(G−1) · Σ_g (Σ_{i∈g} (v_i − v̄))²) / n with G groups; infinite for a single group, of which nothing can be said.
    """
    _, index = np.unique(groups, return_inverse=True)
    sums = np.bincount(index, weights=values - values.mean())
    count = len(sums)
    if count < 2:
        return float("inf")
    return float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / len(values))
