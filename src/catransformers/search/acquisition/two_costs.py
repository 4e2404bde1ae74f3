"""Expected hypervolume improvement (EHVI) in two costs: a model's hardware front is known, its accuracy is not.

Let D(y) be what the models at least as accurate as y dominate in the plane of the two costs, and H what this model's
designs dominate. A model of accuracy Y adds the volume ∫₀^Y area(H \\ D(y)) dy, so that

    EHVI = ∫₀¹ P(Y > y) area(H \\ D(y)) dy = Σₖ area(H \\ Dₖ) · (E[(Y − f_{k+1})⁺] − E[(Y − f_k)⁺]),

with accuracy levels f_k falling, D(y) = Dₖ between f_{k+1} and f_k, and f_{K+1} the accuracy of the reference. The
areas are exact: between two corners x and x' of H, at height h, area(H \\ D) is ∫ (y_D − h)⁺ dx, in which the edge y_D
falls, so that it ends where D reaches h. The expectations are those of a Y whose logit is normal (`increments`).

The best of a million candidates needs few of these areas. From some level on nothing of a candidate is new
(`dominated_from`): it gains only where it is more accurate than that. Above, bounds of the increments, which are looked
up, times bounds of the areas (`column_bounds`), few columns and levels at first, order all candidates. In that order
they are bounded more finely; then, for as long as a candidate could win, the area that its bound owes most to is
replaced by the exact one. Areas fall from level to level, so that an exact one bounds all below it: where it is 0 the
candidate is done with.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from os import cpu_count

import numpy as np
from numpy.typing import NDArray

from catransformers.search.acquisition.column_bounds import Bound, Columns
from catransformers.search.acquisition.dominated_level import DominatedLevels
from catransformers.search.acquisition.improvement_increments import IncrementBounds, increments
from catransformers.search.costs.hardware_fronts import HardwareFronts
from catransformers.search.geometry.regions import Layers, Region
from catransformers.search.space import FloatArray, IntArray

ROWS = 1 << 13  # models in one pass of the dominated_from levels, and of the rough bound
BATCH = 1 << 14  # candidates between two looks at it
PART = 1 << 11  # candidates in one pass of a finer bound
#: So many levels above the dominated one the rough bound looks at areas; nearer ones weigh more, any choice is a bound.
STEPS = (34, 21, 13, 8, 5, 3, 2, 1)
EXACT = 128  # candidates that are worked out wholly between two looks at the finer bounds


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
    mass = increments(mean, deviation, front.levels, front.floor)
    return np.asarray((new_areas(models, fronts, front) * mass).sum(axis=1))


def new_areas(models: IntArray, fronts: HardwareFronts, front: Layers) -> FloatArray:
    """(n, k + 1) area(H \\ D) of each candidate: above all levels, then below each of them."""
    designs = _Designs.of(models, fronts, front.reference)
    return np.stack([designs.new_area(region) for region in front.all_regions], axis=1)


@dataclass(frozen=True)
class _Designs:
    """The fronts of some models, one behind the other, as steps: at height `second` from `first` to `until`."""

    owner: IntArray
    first: FloatArray
    until: FloatArray
    second: FloatArray
    models: int

    @classmethod
    def of(cls, models: IntArray, fronts: HardwareFronts, reference: tuple[float, float]) -> _Designs:
        counts = fronts.points[models]
        starts = fronts.start[models]
        offsets = np.concatenate(([0], np.cumsum(counts)))
        position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts) + np.repeat(starts, counts)
        first, second = fronts.first[position].astype(np.float64), fronts.second[position].astype(np.float64)
        until = np.append(first[1:], reference[0])
        until[offsets[1:][counts > 0] - 1] = reference[0]
        inside = (first < reference[0]) & (second < reference[1])
        owner = np.repeat(np.arange(models.size), counts)
        until = np.minimum(until, reference[0])
        return cls(owner[inside], first[inside], until[inside], second[inside], models.size)

    def new_area(self, region: Region) -> FloatArray:
        """(models,) the area that each adds to a region."""
        until = np.clip(region.reaches(self.second), self.first, self.until)
        gained = region.integral(until) - region.integral(self.first) - self.second * (until - self.first)
        return np.maximum(np.bincount(self.owner, weights=gained, minlength=self.models), 0)


def most_promising(
    mean: FloatArray,
    deviation: FloatArray,
    models: IntArray,
    fronts: HardwareFronts,
    columns: Columns,
    front: Layers,
    success_probability: FloatArray | None = None,
) -> tuple[int, float]:
    """Position and gain of the candidate with the greatest expected improvement; exhaustive, by the bounds above.

    Args:
        mean, deviation, models, fronts, front: as of `expected_improvement`.
        columns: the same hardware fronts.
        success_probability: (n,) factor on each candidate's gain, at most 1: that its training succeeds.

    Returns:
        The position and its gain; a gain of 0 says that no candidate promises anything.
    """
    factor = np.ones(mean.size) if success_probability is None else success_probability
    table = IncrementBounds.of(mean, deviation, front.levels, front.floor)
    fine, coarse, bound = Bound.of(front, columns), Bound.of(front, columns.coarse), np.empty(mean.size)
    table_of_levels = DominatedLevels.of(front)

    def levels_of(some: slice) -> NDArray[np.uint16]:
        return table_of_levels.of_models(fronts, some.start, min(some.stop, len(fronts)))

    def rough(some: IntArray) -> None:
        end = int(dominated_from[some[0]])
        tops = [0, *(end - step for step in STEPS if end > step)]
        sums = table.sums[:, [*tops, end]]
        mass = np.diff(sums[table.cells(mean[some], deviation[some])], axis=1)
        bound[some] = (mass * coarse.areas(models[some], tops)).sum(axis=1) * factor[some]

    best, gain = 0, 0.0
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        dominated_from = np.concatenate(list(pool.map(levels_of, _parts(len(fronts), ROWS))))[models].astype(np.int64)
        list(pool.map(rough, _alike(dominated_from)))
        order = np.argsort(-bound, kind="stable")
        begin, step = 0, EXACT  # the first few give a gain to compare the many with
        while begin < order.size and bound[order[begin]] > gain:
            chosen = order[begin : begin + step]
            begin, step = begin + step, BATCH
            chosen = chosen[bound[chosen] > gain]
            chosen = chosen[np.argsort(deviation[chosen], kind="stable")]  # alike ones need fewer nodes of quadrature
            contest = _Contest(
                mean[chosen], deviation[chosen], models[chosen], factor[chosen], dominated_from[chosen], fronts, front
            )

            def in_parts(work: Callable[[IntArray], None], gain: float, contest: _Contest = contest) -> None:
                left = contest.left(gain)
                list(pool.map(lambda some: work(left[some]), _parts(left.size, PART)))

            in_parts(partial(contest.bound, table, fine), gain)
            in_parts(contest.weigh, gain)
            while contest.left(gain).size:
                winner, found = contest.evaluate_best(gain)
                if found > gain:
                    best, gain = int(chosen[winner]), found
                in_parts(contest.refine, gain)
    return best, gain


def _parts(size: int, step: int) -> list[slice]:
    return [slice(at, at + step) for at in range(0, size, step)]


def _alike(dominated_from: IntArray) -> list[IntArray]:
    """Parts of the candidates, those of a part dominated_from at the same level."""
    order = np.argsort(dominated_from, kind="stable")
    ends = [0, *(np.flatnonzero(np.diff(dominated_from[order])) + 1), dominated_from.size]
    return [order[a:b][part] for a, b in pairwise(ends) for part in _parts(b - a, ROWS)]


class _Contest:
    """Some candidates, with bounds on their gains that come closer until one of them has won.

    Args:
        mean, deviation, models, fronts, front: as of `expected_improvement`.
        factor: (n,) on each gain.
        dominated_from: (n,) level from which on a candidate adds nothing.
    """

    def __init__(
        self,
        mean: FloatArray,
        deviation: FloatArray,
        models: IntArray,
        factor: FloatArray,
        dominated_from: IntArray,
        fronts: HardwareFronts,
        front: Layers,
    ) -> None:
        self._mean, self._deviation, self._models, self._factor = mean, deviation, models, factor
        self._dominated_from = dominated_from
        self._fronts, self._front = fronts, front
        levels = (models.size, len(front.all_regions))
        self._increments, self._areas = np.empty(levels), np.empty(levels)
        self._exact: NDArray[np.bool_] = np.zeros(levels, dtype=np.bool_)
        self._gains = np.full(models.size, np.inf)
        self._open = np.ones(models.size, dtype=np.bool_)

    def bound(self, table: IncrementBounds, fine: Bound, some: IntArray) -> None:
        """Bound the increments and areas of some candidates."""
        self._increments[some] = table.at(self._mean[some], self._deviation[some])
        self._areas[some] = fine.areas_until(self._models[some], self._dominated_from[some])
        self._sum(some)

    def weigh(self, some: IntArray) -> None:
        """Work out the increments of some candidates."""
        self._increments[some] = increments(
            self._mean[some], self._deviation[some], self._front.levels, self._front.floor
        )
        self._sum(some)

    def _sum(self, some: IntArray) -> None:
        self._gains[some] = (self._increments[some] * self._areas[some]).sum(axis=1) * self._factor[some]

    def left(self, gain: float) -> IntArray:
        """The candidates that could still have a greater gain."""
        self._open &= self._gains > gain
        return np.flatnonzero(self._open)

    def evaluate_best(self, gain: float) -> tuple[int, float]:
        """Work out the gains of the few that promise most; returns the greatest and whose it is."""
        left = self.left(gain)
        few = np.sort(left[np.argsort(-self._gains[left], kind="stable")[:EXACT]])
        self._areas[few] = new_areas(self._models[few], self._fronts, self._front)
        self._sum(few)
        self._open[few] = False
        winner = int(few[self._gains[few].argmax()])
        return winner, float(self._gains[winner])

    def refine(self, some: IntArray) -> None:
        """Work out the area of each candidate that its bound owes most to."""
        owed = np.where(self._exact[some], -1.0, self._increments[some] * self._areas[some]).argmax(axis=1)
        for level in np.unique(owed):
            rows = some[owed == level]
            designs = _Designs.of(self._models[rows], self._fronts, self._front.reference)
            area = designs.new_area(self._front.all_regions[level])
            self._areas[rows, level:] = np.minimum(self._areas[rows, level:], area[:, None])
            self._exact[rows, level] = True
        self._sum(some)
