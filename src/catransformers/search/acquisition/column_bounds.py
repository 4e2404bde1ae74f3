"""Upper bounds for EHVI in two costs: on the area that a model adds in their plane, for a million models.

`Columns` holds every model's hardware front once more, as heights over a few columns of the first cost, rounded down:
what the model dominates, H, then only grows. With D what is dominated already, over a column ∫ (y_D − h)⁺ is convex in
the height h and so at most its chords. That bounds the new area at each level of accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catransformers.search.costs.hardware_fronts import HardwareFronts
from catransformers.search.geometry.regions import Layers
from catransformers.search.space import FloatArray, IntArray

COLUMNS = 32  # of the first cost; a multiple of COARSE
COARSE = 8  # of these where a bound must be cheap
POINTS = 1 << 22  # front points looked at in one pass
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


@dataclass(frozen=True)
class Bound:
    """What no candidate's new area exceeds.

    Args:
        columns: the fronts.
        front: what is known so far.
        width: (columns,) of each column.
        level: (k + 1, columns) above all levels, then below each: a column's new area of height h is at most its
            width times level − h, and also at most
        slope: (k + 1, columns) times
        flat: (k + 1, columns) − h.
    """

    columns: Columns
    front: Layers
    width: NDArray[np.float32]
    level: NDArray[np.float32]
    slope: NDArray[np.float32]
    flat: NDArray[np.float32]

    @classmethod
    def of(cls, front: Layers, columns: Columns) -> Bound:
        """For a front."""
        regions = front.all_regions
        width = np.diff(columns.edges)
        left = np.stack([region.edge(columns.edges[:-1]) for region in regions])
        right = np.stack([region.edge(np.nextafter(columns.edges[1:], -np.inf)) for region in regions])
        whole = np.stack([np.diff(region.integral(columns.edges)) for region in regions])
        mean = np.divide(whole, width, out=left.copy(), where=width > 0)
        drop = left - right
        share = np.divide(mean - right, drop, out=np.zeros_like(drop), where=drop > 0)
        return cls(
            columns=columns,
            front=front,
            width=width.astype(np.float32),
            level=(mean * ROUNDED_UP).astype(np.float32),
            slope=(width * share).astype(np.float32),
            flat=(left * ROUNDED_UP).astype(np.float32),
        )

    def areas(self, models: IntArray, levels: Sequence[int]) -> FloatArray:
        """What each candidate's new area at some levels, rising, does not exceed: (n, levels), falling."""
        heights = self.columns.heights[models]
        found = np.empty((models.size, len(levels)))
        for place, level in enumerate(levels):
            found[:, place] = self._at(level, heights)
        return np.minimum.accumulate(found * SLACK, axis=1, out=found)

    def areas_until(self, models: IntArray, dominated_from: IntArray) -> FloatArray:
        """The same at all levels, (n, k + 1), for candidates that add nothing from their level `dominated_from` on."""
        order = np.argsort(-dominated_from, kind="stable")
        heights = self.columns.heights[models[order]]
        found = np.zeros((models.size, len(self.level)))
        undecided = np.searchsorted(-dominated_from[order], -np.arange(len(self.level)), side="left")
        for level, count in enumerate(undecided):
            found[:count, level] = self._at(level, heights[:count])
        np.minimum.accumulate(found * SLACK, axis=1, out=found)
        back = np.empty_like(found)
        back[order] = found
        return back

    def _at(self, level: int, heights: NDArray[np.float32]) -> NDArray[np.float32]:
        """The bound of the new area of some heights at a level."""
        area = np.maximum(self.width * (self.level[level] - heights), self.slope[level] * (self.flat[level] - heights))
        return np.asarray(np.maximum(area, 0, out=area).sum(axis=1))
