"""What models of a space too large to go through cost, quickly: good enough to rank them by.

A coarse space (few values of each dimension, the least and the greatest among them) is costed whole. Only accelerators
that may be the best there for some model (`dominance.undominated`; of fronts in two costs the most frequent ones) are
looked at further. On them there are two ways to the costs of any model of the large space:

- *rough*: interpolated between the coarse space's layer shapes, straight in each dimension. The work in a layer is a
  sum of products of two different dimensions, which that reproduces; what it smooths out are the steps at which one
  more fold of an array begins. Thousands of models in a fraction of a second.
- *fine*: the exact costs (the mapping search of `hardware.cost`) on the few of the accelerators that the rough costs
  recommend for the model. What was worked out is kept: neighbours share most of their products.

A fine cost is one that some accelerator of the study's table really has, and so never below the model's exact least
one over all of the table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catransformers.designs.table import RESIDENT, STREAMED, values_of
from catransformers.hardware.cost import group_cost
from catransformers.hardware.machine import Machines
from catransformers.hardware.operator_cost import Item, items
from catransformers.search.acquisition.scalarisation import scalar_cost
from catransformers.search.costs.cheapest import within
from catransformers.search.costs.dominance import undominated
from catransformers.search.costs.enumerated import SpaceCost
from catransformers.search.costs.hardware_fronts import HardwareFronts, fronts_of_designs
from catransformers.search.costs.interpolation import Grid, Rows
from catransformers.search.costs.shapes import StackShapes, prefixes_of
from catransformers.search.space import FloatArray, IntArray, ModelSpace
from catransformers.workloads import families

FEW = 4  # accelerators that a fine cost looks at where one quantity is minimised
MANY = 8  # where it is more: a front
MOST = 64  # accelerators of rough fronts
HOPELESS = 1.25  # a model that by rough costs misses a limit by this factor everywhere keeps the limits nowhere
CHUNK = 1 << 20  # designs in one pass

#: What models cost: one least cost each, or each one's front in two costs.
Costed = FloatArray | HardwareFronts


class Screen:
    """Rough and fine costs of the models of a large space.

    Args:
        space: the models.
        coarse: the costs of a coarse space of the same base model.
    """

    def __init__(self, space: ModelSpace, coarse: SpaceCost) -> None:
        self.space, self.coarse = space, coarse
        self.limits = coarse.limits.of_designs()
        self.minimised = coarse.objectives.minimise
        found = undominated(coarse.stacks, coarse.silicon, self.minimised, self.limits)
        self.accelerators = self._thinned(within(found, coarse.silicon, self.limits))
        self._prefixes = prefixes_of(space.base)
        self._whole = families.parameters(space.base)
        self._cells = _Cells(coarse, self.accelerators)
        self._shapes: dict[tuple[int, ...], StackShapes] = {}
        self._fine: dict[tuple[bytes, int], FloatArray] = {}  # by direction and model

    def _thinned(self, accelerators: IntArray) -> IntArray:
        """Where two costs are minimised and many accelerators matter, those on the most fronts of the coarse space."""
        fronts = self.coarse.staircases
        if fronts is None or accelerators.size <= MOST:
            return accelerators
        often = np.bincount(fronts.accelerator, minlength=len(self.coarse.table))[accelerators]
        return np.sort(accelerators[np.argsort(-often, kind="stable")[:MOST]])

    def rough(self, models: IntArray, towards: FloatArray | None = None) -> Costed:
        """Interpolated costs of some models on the accelerators that matter.

        Args:
            models: (n,) their numbers.
            towards: where three costs or more are minimised, the direction in which they are one (`scalarisation`).
        """
        parts = []
        rows = max(1, CHUNK // max(1, self.accelerators.size))
        for begin in range(0, models.size, rows):
            values, feasible, _ = self._roughly(models[begin : begin + rows])
            parts.append((values, feasible))
        values = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
        return self._costed(values, np.concatenate([part[1] for part in parts]), towards)

    def fine(self, models: IntArray, towards: FloatArray | None = None) -> Costed:
        """Exact costs of some models on the few accelerators that the rough ones recommend for each; see `rough`."""
        found = np.stack(self._finely(models, towards))  # (models, costs and feasibility, few)
        values = dict(zip(self.minimised, np.moveaxis(found[:, :-1], 1, 0), strict=True))
        return self._costed(values, found[:, -1] > 0, towards)

    def feasible(self, models: IntArray, towards: FloatArray | None = None) -> NDArray[np.bool_]:
        """(models,) whether one of those few accelerators keeps all limits."""
        return np.array([bool(found[-1].any()) for found in self._finely(models, towards)])

    def _finely(self, models: IntArray, towards: FloatArray | None) -> list[FloatArray]:
        """By model the costs, and whether all limits are kept, on a few accelerators: (costs + 1, few) each."""
        key = b"" if towards is None else towards.tobytes()
        missing = np.array([model for model in models.tolist() if (key, model) not in self._fine], dtype=np.int64)
        if missing.size:
            worked_out = self._work_out(missing, towards)
            self._fine.update({(key, model): found for model, found in worked_out.items()})
        return [self._fine[key, model] for model in models.tolist()]

    def _reached(self, values: Mapping[str, FloatArray], towards: FloatArray) -> FloatArray:
        """How far designs reach from the reference point in a direction; negative for those beyond it."""
        shares = [values[name] / end for name, end in zip(self.minimised, self.coarse.reference, strict=True)]
        return np.asarray(np.min([(1 - share) / w for share, w in zip(shares, towards, strict=True)], axis=0))

    def _costed(self, values: dict[str, FloatArray], feasible: NDArray[np.bool_], towards: FloatArray | None) -> Costed:
        first, *others = (values[name] for name in self.minimised)
        if len(others) == 1:
            return fronts_of_designs(first, others[0], feasible, np.arange(first.shape[1]))
        if towards is not None:
            reached = np.maximum(self._reached(values, towards), 0)
            best = np.where(feasible, reached, -1.0).max(axis=1, initial=-1.0)
            return scalar_cost(best, towards)
        return np.asarray(np.where(feasible, first, np.inf).min(axis=1, initial=np.inf), dtype=np.float64)

    def _roughly(self, models: IntArray) -> tuple[dict[str, FloatArray], NDArray[np.bool_], FloatArray]:
        """Quantities and feasibility by model and accelerator, and the factor by which the worst limit is missed."""
        places = self.space.places(models)
        stacks = []
        for grid in self._grids:
            columns = [self.space.names.index(name) for name in grid.names]
            some, inverse = np.unique(places[:, columns], axis=0, return_inverse=True)
            options = [np.array(self.space.values[name], dtype=np.float64) for name in grid.names]
            variants = np.stack([own[some[:, k]] for k, own in enumerate(options)], axis=1)
            stacks.append(grid.rows(variants).take(inverse.ravel()))
        every = np.broadcast_to(np.arange(self.accelerators.size), (models.size, self.accelerators.size))
        return self._designs(stacks, every)

    @cached_property
    def _grids(self) -> list[Grid]:
        coarse = self.coarse.space
        stacks, least = self.coarse.stacks, self._least
        table = self.coarse.parameters.reshape(stacks.shape)
        grids = []
        for k, (prefix, costs) in enumerate(zip(self._prefixes, stacks.each, strict=True)):
            # A stack's count is that of the whole model with the other stacks the base's.
            others = sum(self._whole - own for place, own in enumerate(least) if place != k)
            count = table[tuple(slice(None) if axis == k else 0 for axis in range(table.ndim))] + others
            names = tuple(name for name in coarse.names if name.startswith(prefix))
            values = tuple(np.array(coarse.values[name], dtype=np.float64) for name in names)
            grids.append(Grid(names, values, costs, count, self.accelerators))
        return grids

    @property
    def _least(self) -> list[int]:
        """By stack, the parameters of the base model with that one the coarse space's least."""
        values = {name: options[0] for name, options in self.coarse.space.values.items()}
        own = ({n: v for n, v in values.items() if n.startswith(prefix)} for prefix in self._prefixes)
        return [families.parameters(self.space.base.with_dimensions(some)) for some in own]

    def _designs(
        self, stacks: Sequence[Rows], at: IntArray
    ) -> tuple[dict[str, FloatArray], NDArray[np.bool_], FloatArray]:
        """Of models' stacks, whose accelerators are `at` (models, few): see `_roughly`."""
        silicon, first = self.coarse.silicon, stacks[0]
        latency, energy = first.latency_s, first.energy_j
        weights, alive, parameters = first.weight_bytes, first.activation_bytes, first.parameters
        for times, other in zip(self.coarse.stacks.times[1:], stacks[1:], strict=True):  # the first one runs once
            latency = latency + times * other.latency_s
            energy = energy + times * other.energy_j
            weights, alive = weights + other.weight_bytes, np.maximum(alive, other.activation_bytes)
            parameters = parameters + other.parameters - self._whole
        rows = self.accelerators[at]
        resident = (weights + alive)[:, None] <= silicon.capacity_bytes[rows]
        latency = np.where(resident, latency[RESIDENT], latency[STREAMED])
        energy = np.where(resident, energy[RESIDENT], energy[STREAMED])
        values = self._values({*self.minimised, *self.limits}, latency, energy, resident, rows)
        missed = np.ones(resident.shape)
        for name, bound in self.limits.items():
            np.maximum(missed, values[name] / bound, out=missed)
        limit = self.coarse.limits.parameters
        if limit is not None:
            np.maximum(missed, (parameters / limit)[:, None], out=missed)
        return {name: values[name] for name in self.minimised}, missed <= 1, missed

    def _values(
        self,
        names: Collection[str],
        latency: FloatArray,
        energy: FloatArray,
        resident: NDArray[np.bool_],
        rows: IntArray,
    ) -> dict[str, FloatArray]:
        silicon = self.coarse.silicon
        if silicon.carbon_at is None:
            return values_of(names, latency, energy, resident, silicon, rows)
        if (rows == rows[:1]).all():  # all models on the same accelerators: the quantile goes column by column
            return values_of(names, latency, energy, resident, silicon, rows[0])
        each = [
            values_of(names, *row[:3], silicon, row[3]) for row in zip(latency, energy, resident, rows, strict=True)
        ]
        return {name: np.stack([found[name] for found in each]) for name in each[0]}

    def _work_out(self, models: IntArray, towards: FloatArray | None) -> dict[int, FloatArray]:
        """Fine costs of models that have none yet."""
        values, feasible, missed = self._roughly(models)
        found: dict[int, FloatArray] = {}
        hopeful = missed.min(axis=1) <= HOPELESS
        if not hopeful.all():
            found.update(dict.fromkeys(models[~hopeful].tolist(), self._nothing))
            models, feasible, missed = models[hopeful], feasible[hopeful], missed[hopeful]
            values = {name: own[hopeful] for name, own in values.items()}
            if not models.size:
                return found
        at = np.stack(
            [
                self._recommended({n: v[k] for n, v in values.items()}, feasible[k], missed[k], towards)
                for k in range(models.size)
            ]
        )
        shapes = [
            [self._shape(model, prefix) for prefix in self._prefixes]
            for model in (self.space.dimensions(int(index)) for index in models)
        ]
        wanted: dict[tuple[object, ...], tuple[Item, list[IntArray]]] = {}
        for own, some in zip(shapes, at, strict=True):
            for stack in own:
                for item in (item for work in stack.workloads for item in items(work)):
                    wanted.setdefault(item.key, (item, []))[1].append(some)
        for item, some_of in wanted.values():
            self._cells.fill(item, np.unique(np.concatenate(some_of)))
        stacks = [
            _joined([self._cells.rows(own[k], some) for own, some in zip(shapes, at, strict=True)])
            for k in range(len(self._prefixes))
        ]
        exact, kept, _ = self._designs(stacks, at)
        for k, model in enumerate(models.tolist()):
            found[model] = np.stack([*(exact[name][k] for name in self.minimised), kept[k].astype(np.float64)])
        return found

    @property
    def _count(self) -> int:
        """How many accelerators a fine cost looks at."""
        return min(FEW if len(self.minimised) == 1 else MANY, self.accelerators.size)

    @property
    def _nothing(self) -> FloatArray:
        """The fine costs of a model that keeps the limits nowhere."""
        return np.zeros((len(self.minimised) + 1, self._count))

    def _recommended(
        self, values: dict[str, FloatArray], feasible: NDArray[np.bool_], missed: FloatArray, towards: FloatArray | None
    ) -> IntArray:
        """The accelerators, by position, on which a model is costed exactly."""
        first, count = values[self.minimised[0]] if towards is None else -self._reached(values, towards), self._count
        ranked = np.lexsort((first, missed))
        if len(self.minimised) != 2 or not feasible.any():
            return np.asarray(ranked[:count])
        order = ranked[feasible[ranked]]
        least = np.concatenate(([np.inf], np.minimum.accumulate(values[self.minimised[1]][order])[:-1]))
        front = order[values[self.minimised[1]][order] < least]
        if front.size > count:
            front = front[np.unique(np.linspace(0, front.size - 1, count).round().astype(np.int64))]
        rest = ranked[~np.isin(ranked, front)]
        return np.concatenate([front, rest])[:count]

    def _shape(self, dimensions: dict[str, int], prefix: str) -> StackShapes:
        """What one variant of a stack is made of."""
        own = {name: (size,) for name, size in dimensions.items() if name.startswith(prefix)}
        key = (self._prefixes.index(prefix), *(size for (size,) in own.values()))
        if key not in self._shapes:
            self._shapes[key] = StackShapes.of(ModelSpace(self.space.base, own), prefix)
        return self._shapes[key]


class _Cells:
    """Exact costs of operators on single accelerators, worked out when needed and kept."""

    def __init__(self, coarse: SpaceCost, accelerators: IntArray) -> None:
        self._table, self._technology = coarse.table.select(accelerators), coarse.technology
        self._known: dict[tuple[object, ...], FloatArray] = {}

    def fill(self, item: Item, at: IntArray) -> None:
        """Work out an operator on the accelerators at some positions."""
        known = self._known.setdefault(item.key, np.full((4, len(self._table)), np.nan))
        missing = at[np.isnan(known[0, at])]
        if missing.size:
            known[:, missing] = group_cost(item, Machines.of(self._table.select(missing), self._technology))

    def rows(self, stack: StackShapes, at: IntArray) -> Rows:
        """One variant of a stack on the accelerators at some positions, all of whose operators are filled in."""
        layer, stem = (
            sum((item.groups * self._known[item.key][:, at] for item in items(work)), np.zeros((4, at.size)))
            for work in (stack.layers[0], stack.stems[0])
        )
        total = stack.count[0] * layer + stem
        sizes = (stack.weight_bytes, stack.activation_bytes, stack.parameters)
        return Rows(
            np.stack([total[2], total[0]])[:, None],
            np.stack([total[3], total[1]])[:, None],
            *(size.astype(np.float64) for size in sizes),
        )


def _joined(rows: Sequence[Rows]) -> Rows:
    return Rows(
        np.concatenate([one.latency_s for one in rows], axis=1),
        np.concatenate([one.energy_j for one in rows], axis=1),
        *(
            np.concatenate([getattr(one, name) for one in rows])
            for name in ("weight_bytes", "activation_bytes", "parameters")
        ),
    )
