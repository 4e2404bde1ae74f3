"""Three costs and more: one random direction a proposal turns them into one, and no front is stored.

With k costs the hardware fronts of a million models no longer fit into memory. Instead every proposal looks from the
reference point r in one direction w, drawn evenly from the simplex, and asks how far along it a model's designs reach:

    t(w) = max over accelerators of min over costs j of (1 − c_j / r_j) / w_j,

the largest t for which r·(1 − t·w) is still dominated. It is Chebyshev's scalarisation with the reference point in the
place of the ideal one. A linear sum of costs would only ever find the convex part of a front; this reaches every part,
as the augmented Chebyshev sum of ParEGO does (Knowles, IEEE Transactions on Evolutionary Computation 10(1), 2006), and
in polar coordinates around r it has one thing more to it: the volume that some designs dominate within r is

    Vol = Π r_j · E_w[t(w)^k] / k!,    w ~ Dirichlet(1, …, 1).

So with the scalar cost 1 − (t(w) · max w)^k, between 0 and 1 = its reference, the expected improvement in the plane of
(accuracy, scalar cost), which is known in closed form, is without bias the expected improvement of the hypervolume in
accuracy and all k costs, but for a constant factor of the direction (for the scalarisations: Zhang and Golovin, ICML
2020; Deng and Zhang, Approximating hypervolume contributions using polar coordinates, IEEE Transactions on Evolutionary
Computation 23(5), 2019). No term needs to be added to break ties: which accelerators a model gets is not read from t.

The directions of a study are a scrambled Sobol sequence mapped to the simplex, number n for trial n: even over any
stretch of trials, and a function of the seed and the trial's number alone. The least scalar cost of every model over
all accelerators is exact: t never rises with a cost, so that the accelerators that `dominance` leaves for all k costs
suffice in every direction. For groups of models that cost much the same, bounds leave few of these to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from math import factorial
from os import cpu_count

import numpy as np
from numpy.typing import NDArray

from catransformers.search.cheapest import BY_ACCELERATOR, cheapest, within
from catransformers.search.dominance import undominated
from catransformers.search.pareto import frontk
from catransformers.search.quantities import Block
from catransformers.search.space import FloatArray, IntArray
from catransformers.search.stack_costs import Silicon, StackCosts

ROWS_V, ROWS_W = 8, 64  # variants of the two stacks in a group of models
SLACK = 1 + 1e-9  # bounds and values are rounded
ROWS = 1 << 21  # shares × directions in one pass of `reach`
SMALLEST = 1e-12  # a weight is no smaller: nothing is divided by 0


def direction(seed: int, number: int, costs: int) -> FloatArray:
    """(costs,) the direction of trial `number` of a study: positive, sum 1."""
    return np.asarray(directions(seed, costs, 1, skip=number)[0])


def directions(seed: int, costs: int, count: int, *, skip: int = 0) -> FloatArray:
    """(count, costs) directions that follow the first `skip` of a seed; each is Dirichlet(1, …, 1)."""
    from scipy.stats import qmc  # noqa: PLC0415 - slow to import, and few studies have three costs

    points = qmc.Sobol(costs - 1, scramble=True, rng=np.random.default_rng(seed))
    if skip:
        points.fast_forward(skip)
    cuts = np.sort(points.random(count), axis=1)
    found = np.diff(cuts, axis=1, prepend=0.0, append=1.0)  # the gaps of uniform cuts are Dirichlet
    found = np.maximum(found, SMALLEST)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def reach(shares: FloatArray, towards: FloatArray) -> FloatArray:
    """(directions,) t(w): how far some designs reach from the reference point; 0 where none is inside of it.

    Args:
        shares: (designs, costs) costs over those of the reference point.
        towards: (directions, costs).
    """
    room = np.maximum(1 - shares, 0)
    room = room[(room > 0).all(axis=1)]
    found = np.zeros(len(towards))
    rows = max(1, ROWS // max(1, len(towards)))
    for begin in range(0, len(room), rows):
        part = room[begin : begin + rows]
        least = part[:, :1] / towards[:, 0]
        for j in range(1, towards.shape[1]):
            np.minimum(least, part[:, j : j + 1] / towards[:, j], out=least)
        np.maximum(found, least.max(axis=0), out=found)
    return found


def volume_unit(reference: tuple[float, ...]) -> float:
    """Π r_j / k!, by which the mean of t(w)^k over all directions is a volume."""
    return float(np.prod(reference)) / factorial(len(reference))


@dataclass(frozen=True)
class ManyCosts:
    """The designs of all models in three or more costs; made by `many_costs`.

    Args:
        quantities: what is minimised.
        reference: the costs of the reference point, SI.
        limits: upper bounds by quantity, SI.
        first: the costs of the model's first stack.
        second: those of its second one.
        silicon: the accelerators.
        second_times: how often the second stack runs in one inference.
        chosen: the accelerators that can be on some model's front, rising.
        allowed: (models,) those that may be looked at; all have an accelerator which keeps the limits.
    """

    quantities: tuple[str, ...]
    reference: tuple[float, ...]
    limits: Mapping[str, float]
    first: StackCosts
    second: StackCosts
    silicon: Silicon
    second_times: float
    chosen: IntArray
    allowed: NDArray[np.bool_]

    def __len__(self) -> int:
        return self.first.layers.size * self.second.layers.size

    def of(self, model: int) -> tuple[FloatArray, IntArray]:
        """One model's front over all accelerators: (points, costs), SI, and (points,) accelerators."""
        if not self.allowed[model]:
            return np.empty((0, len(self.quantities))), np.empty(0, dtype=np.int64)
        v, w = divmod(model, self.second.layers.size)
        values = self._block(self.chosen, _only(self.second, w)).values(slice(v, v + 1))
        points = np.stack([values[name].ravel() for name in self.quantities], axis=1)
        kept = self._kept(values, points[:, :1].shape).ravel() if self.limits else slice(None)
        points, rows = points[kept], self.chosen[kept]
        members = frontk(points)
        return points[members], rows[members]

    def cost(self, weights: FloatArray) -> FloatArray:
        """(models,) 1 − (t · max w)^k of every model in one direction, least over all accelerators.

        Between 0 and 1; 1 where no design is inside the reference, infinite where none keeps the limits.
        """
        reached = self.reached(weights)
        with np.errstate(invalid="ignore"):
            return np.where(reached < 0, np.inf, 1 - np.abs(reached * weights.max()) ** len(weights))

    def reached(self, weights: FloatArray) -> FloatArray:
        """(models,) t of every model in one direction; 0 with nothing inside the reference, −1 if it is infeasible.

        The models are taken in groups of variants of both stacks. Between the bounds of its costs in a group, an
        accelerator reaches at most so far; it is looked at if that is further than another one reaches at least.
        """
        found = np.zeros((self.first.layers.size, self.second.layers.size))
        if self.chosen.size:
            scale = 1 / (np.array(self.reference) * weights)
            block = self._block(self.chosen, self.second)
            v_groups, w_groups = self._alike

            def part(w: IntArray) -> None:
                some = self._worth_a_look(block, v_groups, w, weights, scale)
                for v, row in zip(v_groups, some, strict=True):
                    places = np.flatnonzero(row)
                    if places.size:
                        values = block.values(v, w, places)
                        found[np.ix_(v, w)] = np.where(
                            self._kept(values, values[self.quantities[0]].shape),
                            _reach(values, self.quantities, weights, scale),
                            0.0,
                        ).max(axis=2, initial=0.0)

            with ThreadPoolExecutor(cpu_count() or 1) as pool:
                list(pool.map(part, w_groups))
        return np.where(self.allowed, found.ravel(), -1.0)

    @cached_property
    def _alike(self) -> tuple[list[IntArray], list[IntArray]]:
        """Groups of variants of the first and of the second stack."""
        return _groups(self.first, ROWS_V), _groups(self.second, ROWS_W)

    def _worth_a_look(
        self, block: Block, v_groups: list[IntArray], w: IntArray, weights: FloatArray, scale: FloatArray
    ) -> NDArray[np.bool_]:
        """(groups, accelerators) which can be the best for some model of a group with one of the variants `w`."""
        begins = np.cumsum([0, *(v.size for v in v_groups[:-1])])
        furthest = np.zeros((len(v_groups), self.chosen.size))
        surely = np.full(furthest.shape, np.inf)
        for occurs, least, most in block.bounds(np.concatenate(v_groups), begins, w):
            at_most = _reach(least, self.quantities, weights, scale)
            at_least = np.where(self._kept(most, occurs.shape), _reach(most, self.quantities, weights, scale), 0.0)
            furthest = np.where(occurs, np.maximum(furthest, at_most), furthest)
            surely = np.where(occurs, np.minimum(surely, at_least), surely)
        return np.asarray((furthest > 0) & (furthest * SLACK >= surely.max(axis=1, keepdims=True)))

    def _kept(self, values: Mapping[str, FloatArray], shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Whether designs keep the limits that the models have a say in; those of accelerators alone are kept."""
        kept = np.ones(shape, dtype=np.bool_)
        for name, bound in self.limits.items():
            if name not in BY_ACCELERATOR:
                kept &= values[name].reshape(shape) <= bound
        return kept

    def _block(self, chosen: IntArray, second: StackCosts) -> Block:
        names = {*self.quantities, *self.limits}
        return Block(names, self.first, second, self.silicon, chosen, self.second_times)


def _reach(
    values: Mapping[str, FloatArray], names: Sequence[str], weights: FloatArray, scale: FloatArray
) -> FloatArray:
    """min over costs of (1 − c / r) / w, with `scale` = 1 / (r·w); below 0 outside of the reference."""
    least: FloatArray | None = None
    for name, factor, weight in zip(names, scale, weights, strict=True):
        room = values[name] * -factor
        room += 1 / weight
        least = room if least is None else np.minimum(least, room, out=least)
    assert least is not None  # noqa: S101 - there are three costs and more
    return least


def _groups(stack: StackCosts, size: int) -> list[IntArray]:
    """The variants of a stack in groups of much the same work."""
    work = stack.latency_s(slice(None)).mean(axis=(0, 2)) if stack.layers.size > size else np.zeros(stack.layers.size)
    return np.array_split(np.argsort(work, kind="stable"), -(-stack.layers.size // size))


def _only(stack: StackCosts, variant: int) -> StackCosts:
    """The stack with one of its variants."""
    one = slice(variant, variant + 1)
    return replace(
        stack,
        layers=stack.layers[one],
        shape=stack.shape[one],
        stem=stack.stem[one],
        weight_bytes=stack.weight_bytes[one],
        activation_bytes=stack.activation_bytes[one],
    )


def many_costs(
    first: StackCosts,
    second: StackCosts,
    silicon: Silicon,
    quantities: tuple[str, ...],
    reference: tuple[float, ...],
    limits: Mapping[str, float],
    *,
    second_times: float = 1.0,
    allowed: NDArray[np.bool_] | None = None,
) -> ManyCosts:
    """The designs of all models under the limits, in three costs or more.

    Args:
        first, second, silicon, quantities, reference, limits, second_times: as of `ManyCosts`.
        allowed: (models,) those that have an accelerator which keeps the limits; by default they are looked for.
    """
    if allowed is None:
        allowed = np.isfinite(cheapest(first, second, silicon, quantities[0], limits, second_times=second_times)[0])
    chosen = undominated(first, second, silicon, quantities, limits, second_times=second_times)
    chosen = within(chosen, silicon, limits)
    return ManyCosts(quantities, reference, limits, first, second, silicon, second_times, chosen, allowed)
