"""Classification metrics: accuracy (top-1 and top-5), mean per-class recall, F1, Matthews correlation.

A class is chosen by the highest score, the first of equals, as argmax does; a sample with a score that is not a number
is a miss. Classes that no sample of the pool has count nowhere.

Source of the correlation: Matthews, Comparison of the predicted and observed secondary structure of T4 phage lysozyme,
1975; for more than two classes Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient,
2004, equation (8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catransformers.accuracy.metrics.score import Score, score_of
from catransformers.errors import InputError, Problem

Metric = Literal["top_5", "mean_per_class_recall", "f1", "matthews"]

_TOP: Final = 5


def ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the right one.

    Args:
        scores: (n, classes).
        labels: (n,) the right classes.

    Returns:
        (n,) 0 … classes − 1; `classes` where a score is not a number.
    """
    own = scores.gather(1, labels[:, None])
    before = torch.arange(scores.shape[1], device=scores.device) < labels[:, None]
    rank = ((scores > own) | ((scores == own) & before)).sum(dim=1)
    return torch.where(scores.isnan().any(dim=1), scores.shape[1], rank)


def class_score(scores: Tensor, labels: Tensor, metrics: Sequence[Metric] = ()) -> Score:
    """Accuracy of n samples, each a group of its own.

    Args:
        scores: (n, classes) logits or similarities.
        labels: (n,) the right classes.
        metrics: what else to tell: `top_5` (left out for five classes or fewer), `mean_per_class_recall`, `f1` of
            class 1 (left out unless there are two classes), `matthews`.

    Raises:
        InputError: if there are no samples.
    """
    if len(labels) == 0:
        raise InputError(Problem("pool", "nothing to judge"))
    rank = ranks(scores, labels)
    hits = (rank == 0).numpy().astype(np.float64)
    truth, classes = labels.numpy(), scores.shape[1]
    # A sample whose scores are not numbers chose nothing: a class of its own, which is never right.
    chosen = torch.where(rank == classes, classes, scores.nan_to_num(-torch.inf).argmax(dim=1)).numpy()
    found: dict[str, float] = {}
    for metric in metrics:
        if metric == "top_5" and classes > _TOP:
            found[metric] = float((rank < _TOP).double().mean())
        elif metric == "mean_per_class_recall":
            found[metric] = _mean_recall(hits, truth)
        elif metric == "f1" and classes == 2:
            found[metric] = _f1(chosen, truth)
        elif metric == "matthews":
            found[metric] = matthews(chosen, truth)
    return score_of(hits, metrics=found)


def _mean_recall(hits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    _, index, counts = np.unique(truth, return_inverse=True, return_counts=True)
    return float((np.bincount(index, weights=hits) / counts).mean())


def _f1(chosen: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """2·TP / (2·TP + FP + FN) of class 1; 0 if nobody ever says or is 1."""
    hit = int(((chosen == 1) & (truth == 1)).sum())
    said = int((chosen == 1).sum()) + int((truth == 1).sum())
    return 2 * hit / said if said else 0.0


def matthews(chosen: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Correlation of chosen and right classes (n,), −1 … 1; 0 where either is constant.

    (c·n − Σ_k p_k t_k) / √((n² − Σ p_k²)(n² − Σ t_k²)) with c hits, p_k chosen and t_k right of class k.

    Reference: Gorodkin 2004, equation (8).
    """
    number = int(max(chosen.max(), truth.max())) + 1
    p, t = (np.bincount(which, minlength=number).astype(np.float64) for which in (chosen, truth))
    n = float(len(truth))
    spread = (n**2 - np.sum(p**2)) * (n**2 - np.sum(t**2))
    return float((np.sum(chosen == truth) * n - np.sum(p * t)) / np.sqrt(spread)) if spread > 0 else 0.0
