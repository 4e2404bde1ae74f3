"""Probability of feasibility: that a training succeeds, learnt from failed trials by a weighted count near by.

    P(success at x) = (1 + Σ over successes k(x, xᵢ)) / (1 + Σ over all trials k(x, xᵢ))

with a Gaussian kernel k over the model's scaled dimensions. It is the mean of a Beta(1, 0) prior that has seen each
trial with the weight of its nearness: 1 far from all failures, ½ on a lonely one, 1/(n + 1) where n have failed
together. A failure is not an accuracy of 0: the accuracy model never hears of it.
"""

from __future__ import annotations

import numpy as np

from catransformers.search.space import FloatArray

WIDTH = 0.1  # of the kernel, for each root of a dimension: how far a failure is felt
CHUNK = 1 << 16  # models in one pass


def success_probability(points: FloatArray, failed: FloatArray, succeeded: FloatArray) -> FloatArray | None:
    """The probability at `points` (n, d), scaled dimensions; None if nothing has `failed` (f, d), so that it is 1.

    Args:
        points: where to look.
        failed: the models of failed trials.
        succeeded: (s, d) those of complete ones.
    """
    if not len(failed):
        return None
    success_probability = np.empty(len(points))
    for start in range(0, len(points), CHUNK):
        part = points[start : start + CHUNK]
        good = 1 + _nearness(part, succeeded)
        success_probability[start : start + CHUNK] = good / (good + _nearness(part, failed))
    return success_probability


def _nearness(points: FloatArray, others: FloatArray) -> FloatArray:
    """(n,) Σ k(x, xᵢ) over `others`."""
    total = np.zeros(len(points))
    scale = 2 * WIDTH**2 * points.shape[1]
    for other in others:
        total += np.exp(-((points - other) ** 2).sum(axis=1) / scale)
    return total
