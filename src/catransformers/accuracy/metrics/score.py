"""An accuracy with its standard error, and the paired difference of two on the same data.

A score keeps one value for each thing that was judged (a pair, an image, a text); their mean is the accuracy. Things of
one group go together (captions of one image, sentences of one document), so the standard error treats groups, not
things, as the sample (cluster-robust variance, Liang and Zeger, Biometrika 73, 1986).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from catransformers.errors import InputError, Problem


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """How good a net is on a pool.

    Args:
        accuracy: 0 … 1, the mean of `values`.
        standard_error: of `accuracy`, clustered by group.
        values: (n,) one for each thing that was judged.
        groups: (n,) the group that each belongs to.
        metrics: further numbers by name.
    """

    accuracy: float
    standard_error: float
    values: NDArray[np.float64]
    groups: NDArray[np.int64]
    metrics: Mapping[str, float] = field(default_factory=dict)


def score_of(
    values: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> Score:
    """The score of some values (n,); each is a group of its own unless `groups` (n,) says otherwise.

    Raises:
        InputError: if there are none.
    """
    if len(values) == 0:
        raise InputError(Problem("pool", "nothing to judge"))
    values = np.asarray(values, dtype=np.float64)
    groups = np.arange(len(values)) if groups is None else groups
    return Score(float(values.mean()), clustered_standard_error(values, groups), values, groups, dict(metrics or {}))


def paired_difference(a: Score, b: Score) -> tuple[float, float]:
    """Accuracy of `a` minus that of `b` on the same pool, and the standard error of this difference.

    Things are compared one by one, so what makes one hard for both nets does not blur the difference.

    Raises:
        InputError: if the two scores are not of the same pool.
    """
    if not np.array_equal(a.groups, b.groups):
        raise InputError(Problem("scores", "the two scores are of different pools"))
    difference = a.values - b.values
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
