"""A number with its range, and the distribution that a range stands for.

Low and high are the least and the greatest value that the sources or a stated judgement allow; typical is
the value that a single figure uses. Between them lies a *two-piece triangular* distribution: half of the
probability falls linearly from typical to zero at low, half from typical to zero at high. So typical is the
median even where the range is lopsided, and the p50 of a footprint stays near the figure that is printed
(a common triangular distribution would move it towards the longer side).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catransformers.facts import Fact

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Range:
    """`low` ≤ `typical` ≤ `high`, in one unit."""

    low: float
    typical: float
    high: float

    @classmethod
    def of(cls, fact: Fact, scale: float = 1.0) -> Range:
        """The range of a fact, converted by a positive `scale`."""
        return cls(fact.low * scale, fact.value * scale, fact.high * scale)

    def quantile(self, u: Floats) -> Floats:
        """The value below which a share `u` (any shape, in [0, 1]) of the distribution lies."""
        below = self.low + (self.typical - self.low) * np.sqrt(2 * np.minimum(u, 0.5))
        above = self.high - (self.high - self.typical) * np.sqrt(2 * np.minimum(1 - u, 0.5))
        return np.asarray(np.where(u < 0.5, below, above))


def between(a: Range, b: Range, share: float) -> Range:
    """Linear interpolation of low, typical and high; `share` 0 gives `a`, 1 gives `b`."""
    return Range(
        a.low + (b.low - a.low) * share,
        a.typical + (b.typical - a.typical) * share,
        a.high + (b.high - a.high) * share,
    )
