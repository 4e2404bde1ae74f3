"""Expected hypervolume improvement of a model whose whole hardware front is known and whose accuracy is not.

Let D(y) be what the models at least as accurate as y dominate in the plane of the two costs, and H what this model's
designs dominate. A model of accuracy Y adds the volume ∫₀^Y area(H \\ D(y)) dy, so that

    EHVI = ∫₀¹ P(Y > y) area(H \\ D(y)) dy = Σₖ area(H \\ Dₖ) · (E[(Y − f_{k+1})⁺] − E[(Y − f_k)⁺]),

with accuracy levels f_k falling, D(y) = Dₖ between f_{k+1} and f_k, and f_{K+1} the accuracy of the reference. The
areas are exact: between two corners x and x' of H, at height h, area(H \\ D) is ∫ (y_D − h)⁺ dx, in which the edge y_D
falls, so that it ends where D reaches h. The expectations of a Y whose logit is normal are integrals over P(Y > y), by
Gauss–Legendre quadrature between the levels as in `acquisition`.

The best of a million candidates is found by two bounds. `Columns` holds every front once more, as heights over a few
columns of the first cost, rounded down: H then only grows. Over slices of accuracy, which end at some standard
deviations from a candidate's mean, P(Y > y) is at most that at the lower end, and area(H \\ D(y)) at most that at the
upper one; over a column, ∫ (y_D − h)⁺ is convex in h and so
at most its chords. A bound over few columns and slices orders all candidates; in that order a finer one, and last the
exact value, are worked out until no bound is left that could win.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from os import cpu_count

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from catransformers.search.acquisition import quadrature
from catransformers.search.hardware_fronts import HardwareFronts
from catransformers.search.regions import Layers, Region
from catransformers.search.space import FloatArray, IntArray

COLUMNS = 32  # of the first cost, in which every front is held once more; a multiple of COARSE
COARSE = 8  # of these for the first bound
FEW = (-3.0, -1.0, 0.0, 1.0, 2.0, 4.0)  # ends of slices in the first bound, standard deviations from the mean
MANY = (-8.0, -5.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)  # in the finer one
STEPS = 6  # of the chances within a slice
POINTS = 1 << 22  # front points looked at in one pass
ROWS = 1 << 16  # candidates in one pass of a bound
BATCH = 1 << 13  # candidates between two looks at the first bound
EXACT = 128  # candidates between two looks at the finer bound
SLACK, ROUNDED_UP = 1 + 1e-4, 1 + 1e-6  # bounds are worked out in single precision


@dataclass(frozen=True)
class Columns:
    """Every model's front as the least second cost in each column of first costs.

    Args:
        edges: (columns + 1,) of the first cost, the last one the reference.
        heights: (models, columns) least second cost had in a column, that of the reference where there is none.
    """

    edges: FloatArray
    heights: NDArray[np.float32]

    @classmethod
    def of(cls, fronts: HardwareFronts, reference: tuple[float, float], count: int = COLUMNS) -> Columns:
        """The columns of all fronts, as wide as points are rare; coarse ones are unions of whole ones."""
        sample = fronts.first[:: max(1, fronts.first.size >> 16)]
        sample = sample[sample < reference[0]].astype(np.float64)
        least = float(fronts.first.min()) if fronts.first.size else 0.0
        inner = np.quantile(sample, np.linspace(0, 1, count + 1)[1:-1]) if sample.size else np.full(count - 1, least)
        edges = np.concatenate(([min(least, reference[0])], np.clip(inner, least, reference[0]), [reference[0]]))
        heights = np.full((len(fronts), count), reference[1], dtype=np.float32)
        rows = max(1, POINTS // max(1, int(fronts.points.max(initial=1))))
        for begin in range(0, len(fronts), rows):
            end = min(begin + rows, len(fronts))
            part = slice(int(fronts.start[begin]), int(fronts.start[end]))
            model = np.repeat(np.arange(begin, end), fronts.points[begin:end])
            first = fronts.first[part]
            inside = first < reference[0]
            # In a column a front's last point is its lowest: later assignments win.
            column = np.searchsorted(edges[1:-1], first[inside], side="right")
            heights[model[inside], column] = np.minimum(fronts.second[part][inside], reference[1])
            np.minimum.accumulate(heights[begin:end], axis=1, out=heights[begin:end])
        return cls(edges, heights)

    @cached_property
    def coarse(self) -> Columns:
        """Fewer columns: of each group the last one's height, which is the least."""
        step = self.heights.shape[1] // COARSE
        return Columns(self.edges[::step], np.ascontiguousarray(self.heights[:, step - 1 :: step]))


def expected_improvement(
    mean: FloatArray, deviation: FloatArray, models: IntArray, fronts: HardwareFronts, front: Layers
) -> FloatArray:
    """Expected hypervolume improvement of every candidate over a front.

    Args:
        mean: (n,) of logit accuracy.
        deviation: (n,) standard deviation of logit accuracy, positive.
        models: (n,) the candidates.
        fronts: the hardware fronts of all models.
        front: what is known so far.

    Returns:
        (n,) in accuracy × first × second cost; 0 for a model with nothing inside the reference.
    """
    return np.asarray((_new_areas(models, fronts, front) * _chances(mean, deviation, front)).sum(axis=1))


def _new_areas(models: IntArray, fronts: HardwareFronts, front: Layers) -> FloatArray:
    """(n, k + 1) area(H \\ D) of each candidate: above all levels, then below each of them."""
    counts = fronts.points[models]
    starts = fronts.start[models]
    offsets = np.concatenate(([0], np.cumsum(counts)))
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts) + np.repeat(starts, counts)
    x, h = fronts.first[position].astype(np.float64), fronts.second[position].astype(np.float64)
    after = np.append(x[1:], front.reference[0])
    after[offsets[1:][counts > 0] - 1] = front.reference[0]
    x, after = np.minimum(x, front.reference[0]), np.minimum(after, front.reference[0])
    owner = np.repeat(np.arange(models.size), counts)
    found = np.zeros((models.size, len(front.regions) + 1))
    for k, region in enumerate((Region.of([], [], front.reference), *front.regions)):
        until = np.clip(region.reaches(h), x, after)
        until = np.where(h < front.reference[1], until, x)
        gained = region.integral(until) - region.integral(x) - h * (until - x)
        found[:, k] = np.bincount(owner, weights=gained, minlength=models.size)
    return np.maximum(found, 0)


def _chances(mean: FloatArray, deviation: FloatArray, front: Layers) -> FloatArray:
    """(n, k + 1) ∫ P(Y > y) dy above all levels, and from each level down to the next."""
    z, weight = quadrature(mean, deviation, front.levels, front.floor)
    y = expit(z)
    slot = np.searchsorted(-front.levels, -y, side="left")  # how many levels are above y
    exceeds = ndtr((mean[:, None] - z) / deviation[:, None]) * weight
    found = np.zeros((mean.size, front.levels.size + 1))
    for k in range(front.levels.size + 1):
        found[:, k] = exceeds[:, slot == k].sum(axis=1)
    return found


def most_promising(
    mean: FloatArray,
    deviation: FloatArray,
    models: IntArray,
    fronts: HardwareFronts,
    columns: Columns,
    front: Layers,
    chance: FloatArray | None = None,
) -> tuple[int, float]:
    """Position and gain of the candidate with the greatest expected improvement; exhaustive, by the bounds above.

    Args:
        mean, deviation, models, fronts, front: as of `expected_improvement`.
        columns: the same hardware fronts.
        chance: (n,) factor on each candidate's gain, at most 1: the chance that its training succeeds.

    Returns:
        The position (the lowest of equals, as far as rounding can tell) and its gain; a gain of 0 says that no
        candidate promises anything.
    """
    factor = np.ones(mean.size) if chance is None else chance
    rough = _Bound.of(front, columns.coarse, FEW)
    bound = rough.gains(mean, deviation, models) * factor
    order = np.argsort(-bound, kind="stable")
    fine = _Bound.of(front, columns, MANY)
    best, gain = int(order[0]), 0.0
    step = EXACT
    begin = 0
    while begin < order.size and bound[order[begin]] > gain:
        chosen = order[begin : begin + step]
        begin, step = begin + step, BATCH
        finer = np.minimum(fine.gains(mean[chosen], deviation[chosen], models[chosen]) * factor[chosen], bound[chosen])
        ranked = np.argsort(-finer, kind="stable")
        for at in range(0, ranked.size, EXACT):
            some = ranked[at : at + EXACT]
            some = some[finer[some] > gain]
            if not some.size:
                break
            part = chosen[some]
            found = expected_improvement(mean[part], deviation[part], models[part], fronts, front) * factor[part]
            winner = int(found.argmax())
            if found[winner] > gain or (found[winner] == gain and part[winner] < best):
                best, gain = int(part[winner]), float(found[winner])
    return best, gain


@dataclass(frozen=True)
class _Bound:
    """What no candidate's expected improvement exceeds, from columns of cost and slices of accuracy.

    Args:
        columns: the fronts.
        front: what is known so far.
        ends: (slices − 1,) where a candidate's slices end, in standard deviations from its mean.
        level: (k + 1, columns) above all levels, then below each: a column's new area of height h is at most its
            width times level − h, and also at most
        flat_slope: (k + 1, columns) times
        flat_level: (k + 1, columns) − h.
    """

    columns: Columns
    front: Layers
    ends: FloatArray
    level: NDArray[np.float32]
    flat_slope: NDArray[np.float32]
    flat_level: NDArray[np.float32]

    @classmethod
    def of(cls, front: Layers, columns: Columns, ends: tuple[float, ...]) -> _Bound:
        """For a front."""
        regions = (Region.of([], [], front.reference), *front.regions)
        width = np.diff(columns.edges)
        left = np.stack([region.edge(columns.edges[:-1]) for region in regions])
        right = np.stack([region.edge(np.nextafter(columns.edges[1:], -np.inf)) for region in regions])
        whole = np.stack([np.diff(region.integral(columns.edges)) for region in regions])
        mean = np.divide(whole, width, out=left.copy(), where=width > 0)
        drop = left - right
        flat = np.divide(mean - right, drop, out=np.zeros_like(drop), where=drop > 0)
        return cls(
            columns=columns,
            front=front,
            ends=np.array(ends),
            level=(mean * ROUNDED_UP).astype(np.float32),
            flat_slope=(width * flat).astype(np.float32),
            flat_level=(left * ROUNDED_UP).astype(np.float32),
        )

    def gains(self, mean: FloatArray, deviation: FloatArray, models: IntArray) -> FloatArray:
        """(n,) the bound of each candidate."""
        result = np.empty(mean.size)
        rows = max(1, ROWS // self.level.shape[1])

        def part(begin: int) -> None:
            some = slice(begin, begin + rows)
            result[some] = self._gains(mean[some], deviation[some], models[some])

        with ThreadPoolExecutor(cpu_count() or 1) as pool:
            list(pool.map(part, range(0, mean.size, rows)))
        return result * SLACK

    def _gains(self, mean: FloatArray, deviation: FloatArray, models: IntArray) -> FloatArray:
        heights, floor = self.columns.heights[models], self.front.floor
        width = np.diff(self.columns.edges).astype(np.float32)
        total = np.zeros(mean.size)
        lower, begin = np.full(mean.size, floor), -np.inf
        for end in (*self.ends, np.inf):
            # P(Y > y) dy over the slice, from above: finer steps, each with the chance at its lower end.
            steps = np.linspace(begin, end, STEPS + 1) if np.isfinite(begin) and np.isfinite(end) else (begin, end)
            chance = np.zeros(mean.size)
            for at, to in pairwise(steps):
                upper = np.maximum(expit(mean + to * deviation), floor)
                chance += float(ndtr(-at)) * (upper - lower)
                lower = upper
            # What counts in a slice is at most what is new to the models at least as accurate as its upper end.
            known = np.searchsorted(-self.front.levels, -upper, side="right")
            area = np.maximum(
                width * (self.level[known] - heights), self.flat_slope[known] * (self.flat_level[known] - heights)
            )
            total += chance * np.maximum(area, 0, out=area).sum(axis=1)
            begin = end
        return total
