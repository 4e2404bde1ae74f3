"""All designs of a space in three costs and more, no front of which is stored; `scalarisation` makes them one cost.

The least scalar cost of every model over all accelerators is exact: t never rises with a cost, so that the accelerators
that `dominance` leaves for all k costs suffice in every direction. Models are taken in groups that cost much the same:
bounds of a group say how far its models reach at most, and leave few accelerators to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catransformers.designs.table import Silicon
from catransformers.search.acquisition.scalarisation import scalar_cost
from catransformers.search.costs.cheapest import BY_ACCELERATOR, cheapest, within
from catransformers.search.costs.dominance import undominated
from catransformers.search.costs.model_fronts import ModelFronts
from catransformers.search.costs.quantities import Block
from catransformers.search.costs.stacks import Stacks
from catransformers.search.geometry.pareto import frontk
from catransformers.search.space import FloatArray, IntArray
from catransformers.search.threads import in_threads

ROWS_V, ROWS_W = 8, 64  # variants of the outer and inner stacks in a group of models
SLACK = 1 + 1e-9  # bounds and values are rounded


@dataclass(frozen=True)
class ManyCosts(ModelFronts):
    """The designs of all models in three or more costs; made by `many_costs`.

    Args:
        quantities: what is minimised.
        reference: the costs of the reference point, SI.
        limits: upper bounds by quantity, SI.
        stacks: what the models are made of.
        silicon: the accelerators.
        chosen: the accelerators that can be on some model's front, rising.
        cost: (models,) least first cost of each; infinite for those that no accelerator keeps the limits with.
    """

    quantities: tuple[str, ...]
    reference: tuple[float, ...]
    limits: Mapping[str, float]
    stacks: Stacks
    silicon: Silicon
    chosen: IntArray
    cost: FloatArray

    def points_of(self, model: int) -> FloatArray:
        """(points, costs) the front of one model."""
        return self.of(model)[0]

    def where(self, keep: NDArray[np.bool_]) -> ManyCosts:
        """The same with all other models infeasible."""
        return replace(self, cost=np.where(keep, self.cost, np.inf))

    def of(self, model: int) -> tuple[FloatArray, IntArray]:
        """One model's front over all accelerators: (points, costs), SI, and (points,) accelerators."""
        if not np.isfinite(self.cost[model]):
            return np.empty((0, len(self.quantities))), np.empty(0, dtype=np.int64)
        values = self._block(self.stacks.one(model)).values(slice(None))
        points = np.stack([values[name].ravel() for name in self.quantities], axis=1)
        kept = self.kept(values, points[:, :1].shape).ravel() if self.limits else slice(None)
        points, rows = points[kept], self.chosen[kept]
        members = frontk(points)
        return points[members], rows[members]

    def scalar(self, weights: FloatArray) -> FloatArray:
        """(models,) `scalar_cost` of every model in one direction, least over all accelerators."""
        return scalar_cost(self.reached(weights), weights)

    def reached(self, weights: FloatArray) -> FloatArray:
        """(models,) t of every model in one direction; 0 with nothing inside the reference, −1 if it is infeasible."""
        return OneWay(self, weights).reached(np.arange(len(self)))

    @cached_property
    def alike(self) -> tuple[list[IntArray], list[IntArray]]:
        """Groups of variants of the outer and of the inner stacks."""
        return _groups(self.stacks.outer, ROWS_V), _groups(self.stacks.inner, ROWS_W)

    @cached_property
    def group(self) -> IntArray:
        """(models,) the group of models that each is in: one of the outer stacks' and one of the inner's."""
        (of_v, _), (of_w, many) = ((_group_of(groups), len(groups)) for groups in self.alike)
        return np.asarray((of_v[:, None] * many + of_w).ravel())

    @cached_property
    def block(self) -> Block:
        """Costs of all models on the chosen accelerators."""
        return self._block(self.stacks)

    def kept(self, values: Mapping[str, FloatArray], shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Whether designs keep the limits that the models have a say in; those of accelerators alone are kept."""
        kept = np.ones(shape, dtype=np.bool_)
        for name, bound in self.limits.items():
            if name not in BY_ACCELERATOR:
                kept &= values[name].reshape(shape) <= bound
        return kept

    def _block(self, stacks: Stacks) -> Block:
        return Block({*self.quantities, *self.limits}, stacks, self.silicon, self.chosen)


class OneWay:
    """All models in one direction: how far they reach at most, known at once, and how far exactly, where asked for.

    The models are taken in groups of variants of the outer and inner stacks. Between the bounds of its costs in a
    group, an accelerator reaches at most so far; it is looked at if that is further than another one reaches at least.

    Args:
        many: the designs of all models.
        weights: (costs,) the direction.
    """

    def __init__(self, many: ManyCosts, weights: FloatArray) -> None:
        self._many, self._weights = many, weights
        self._scale = 1 / (np.array(many.reference) * weights)
        v_groups, w_groups = many.alike
        shape = (len(v_groups), len(w_groups))
        self._at_most = np.zeros(shape)
        self._worth_a_look = np.zeros((*shape, many.chosen.size), dtype=np.bool_)
        if many.chosen.size:
            in_threads(self._bound, range(len(w_groups)))

    def cost_at_least(self) -> FloatArray:
        """(models,) what `scalar` is not below, alike for all of a group."""
        at_most = np.minimum(self._at_most.ravel() * SLACK, 1 / self._weights.max())  # no cost is below 0
        return scalar_cost(at_most, self._weights)[self._many.group]

    def cost(self, models: IntArray) -> FloatArray:
        """(n,) `scalar_cost` of some models, least over all accelerators."""
        return scalar_cost(self.reached(models), self._weights)

    def reached(self, models: IntArray) -> FloatArray:
        """(n,) t of some models; 0 with nothing inside the reference, −1 if it is infeasible."""
        many = self._many
        found = np.zeros(models.size)
        group = many.group[models]
        order = np.argsort(group, kind="stable")
        places = np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if models.size else []

        def part(place: IntArray) -> None:
            """Of the models of one group; all pairs of their variants are worked out."""
            worth = self._worth_a_look.reshape(-1, many.chosen.size)[group[place[0]]]
            if worth.any():
                v, w = np.divmod(models[place], len(many.stacks.inner))
                (some_v, at_v), (some_w, at_w) = (np.unique(some, return_inverse=True) for some in (v, w))
                values = many.block.values(some_v, some_w, np.flatnonzero(worth))
                kept = many.kept(values, values[many.quantities[0]].shape)
                found[place] = np.where(kept, self._reach(values), 0.0).max(axis=2, initial=0.0)[at_v, at_w]

        in_threads(part, places)
        return np.where(np.isfinite(many.cost[models]), found, -1.0)

    def _bound(self, place: int) -> None:
        """Of all groups with those variants of the inner stack: how far they reach, and with which accelerators."""
        many = self._many
        v_groups, w = many.alike[0], many.alike[1][place]
        begins = np.cumsum([0, *(v.size for v in v_groups[:-1])])
        furthest = np.zeros((len(v_groups), many.chosen.size))
        surely = np.full(furthest.shape, np.inf)
        for occurs, least, most in many.block.bounds(np.concatenate(v_groups), begins, w):
            at_most = self._reach(least)
            at_least = np.where(many.kept(most, occurs.shape), self._reach(most), 0.0)
            furthest = np.where(occurs, np.maximum(furthest, at_most), furthest)
            surely = np.where(occurs, np.minimum(surely, at_least), surely)
        self._at_most[:, place] = furthest.max(axis=1)
        self._worth_a_look[:, place] = (furthest > 0) & (furthest * SLACK >= surely.max(axis=1, keepdims=True))

    def _reach(self, values: Mapping[str, FloatArray]) -> FloatArray:
        """min over costs of (1 − c / r) / w; below 0 outside of the reference."""
        least: FloatArray | None = None
        for name, factor, weight in zip(self._many.quantities, self._scale, self._weights, strict=True):
            room = values[name] * -factor
            room += 1 / weight
            least = room if least is None else np.minimum(least, room, out=least)
        assert least is not None  # noqa: S101 - there are three costs and more
        return least


def _groups(stacks: Stacks, size: int) -> list[IntArray]:
    """The variants of some stacks in groups of much the same work."""
    count = len(stacks)
    work = np.zeros(count) if count <= size else stacks.mean_latency_s()
    return np.array_split(np.argsort(work, kind="stable"), -(-count // size))


def _group_of(groups: list[IntArray]) -> IntArray:
    """(variants,) the place of the group that each is in."""
    found = np.empty(sum(group.size for group in groups), dtype=np.int64)
    for place, group in enumerate(groups):
        found[group] = place
    return found


def many_costs(
    stacks: Stacks,
    silicon: Silicon,
    quantities: tuple[str, ...],
    reference: tuple[float, ...],
    limits: Mapping[str, float],
    *,
    cost: FloatArray | None = None,
) -> ManyCosts:
    """The designs of all models under the limits, in three costs or more.

    Args:
        stacks, silicon, quantities, reference, limits: as of `ManyCosts`.
        cost: (models,) least first costs under the limits; by default they are looked for.
    """
    if cost is None:
        cost, _ = cheapest(stacks, silicon, quantities[0], limits)
    chosen = undominated(stacks, silicon, quantities, limits)
    chosen = within(chosen, silicon, limits)
    return ManyCosts(quantities, reference, limits, stacks, silicon, chosen, cost)
