"""Which accelerators can be the best one for some model of a space: exact dominance pruning.

A model is a variant v_s of each of its stacks s, and all that a study minimises or limits is, on a given accelerator, a
sum o + Σ_s f_s(v_s) or the larger of two such sums. Accelerator A is at least as good as B for *every* model if

    o_A − o_B + Σ_s max_v (f_s,A(v) − f_s,B(v)) ≤ 0,

and then B can go. A variant costs layers × one layer + stem, so that the maxima are those over the layer shapes with
their least and greatest number of layers. Carbon counts the wait between inferences too: with latency L, period T and
idle power R an inference takes E + R·max(T − L, 0), which is the larger of E and (E − R·L) + R·T. A limit that A keeps
with every model need not be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catransformers.designs.quantities import QUANTITIES, columns_of
from catransformers.designs.table import RESIDENT, STREAMED, Silicon
from catransformers.search.costs.stacks import StackCosts, Stacks
from catransformers.search.space import FloatArray, IntArray

#: Columns that are compared first; most rivals fall at them.
_FIRST_COLUMNS = 8

#: (stack, mode, accelerators) → layer shapes and stems, (shapes, accelerators) and (stems, accelerators).
_Rows = Callable[[StackCosts, int, IntArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class _Sum:
    """One quantity as a sum: `offset` (2, accelerators), and the rows of the stacks, or None if they have no say."""

    offset: FloatArray
    rows: _Rows | None


@dataclass(frozen=True)
class _Extremes:
    """The variants of a stack that a maximum over all of them may lie at: (C,) layers, layer shape and stem."""

    stack: StackCosts
    times: float
    layers: IntArray
    shape: IntArray
    stem: IntArray

    @classmethod
    def of(cls, stack: StackCosts, times: float) -> _Extremes:
        """Each pair of a layer shape and a stem with its fewest and its most layers; the stack runs `times`."""
        pairs, inverse = np.unique(np.stack([stack.shape, stack.stem]), axis=1, return_inverse=True)
        inverse = inverse.ravel()
        fewest = np.full(pairs.shape[1], np.iinfo(np.int64).max)
        most = np.zeros(pairs.shape[1], dtype=np.int64)
        np.minimum.at(fewest, inverse, stack.layers)
        np.maximum.at(most, inverse, stack.layers)
        return cls(stack, times, np.concatenate([fewest, most]), *np.concatenate([pairs, pairs], axis=1))

    def worst(self, rows: _Rows, mode: int, columns: IntArray) -> FloatArray:
        """The greatest sum of any variant on each accelerator, (accelerators,)."""
        layer, stem = rows(self.stack, mode, columns)
        found = np.full(layer.shape[1], -np.inf)
        for count, shape, end in zip(self.layers, self.shape, self.stem, strict=True):
            np.maximum(found, count * layer[shape] + stem[end], out=found)
        return self.times * found

    def gap(self, rows: _Rows, best: tuple[int, int], mode: int, rivals: IntArray, some: IntArray) -> FloatArray:
        """max_v (f_best(v) − f_rival(v)) over `some` extremes, (rivals,); `best` is an accelerator and its mode."""
        accelerator, own = best
        layer_a, stem_a = rows(self.stack, own, np.array([accelerator]))
        layer_b, stem_b = rows(self.stack, mode, rivals)
        layer, stem = layer_a - layer_b, stem_a - stem_b
        difference = self.layers[some, None] * layer[self.shape[some]] + stem[self.stem[some]]
        return np.asarray(self.times * difference.max(axis=0))


def _energy(stack: StackCosts, mode: int, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
    return stack.layer_energy_j[mode][:, chosen], stack.stem_energy_j[mode][:, chosen]


def _latency(stack: StackCosts, mode: int, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
    return stack.layer_latency_s[mode][:, chosen], stack.stem_latency_s[mode][:, chosen]


def _haste(stack: StackCosts, mode: int, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
    layer, stem = _latency(stack, mode, chosen)
    return -layer, -stem


def _life_energy(silicon: Silicon, made: FloatArray, price: float) -> list[_Sum]:
    """The two sums whose larger one is `made` (2, accelerators) + price × energy of an inference and the wait."""

    def running(stack: StackCosts, mode: int, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        layer, stem = _energy(stack, mode, chosen)
        return price * layer, price * stem

    def waiting(stack: StackCosts, mode: int, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        (layer_j, stem_j), (layer_s, stem_s) = _energy(stack, mode, chosen), _latency(stack, mode, chosen)
        idle = silicon.idle_w[mode, chosen]
        return price * (layer_j - idle * layer_s), price * (stem_j - idle * stem_s)

    idle = price * silicon.idle_w * silicon.period_s
    return [_Sum(made, running), _Sum(made + idle, waiting)]


def _over(power_w: float) -> _Rows:
    """Energy beyond what `power_w` would have delivered: at most 0 where the limit on power is kept."""

    def rows(stack: StackCosts, mode: int, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        (layer_j, stem_j), (layer_s, stem_s) = _energy(stack, mode, chosen), _latency(stack, mode, chosen)
        return layer_j - power_w * layer_s, stem_j - power_w * stem_s

    return rows


def _sums(silicon: Silicon, quantity: str, bound: float = np.inf) -> list[_Sum]:
    """Sums of which the quantity is the largest, or that it at least never falls with.

    An accelerator that is no worse in all of them is then no worse in the quantity.
    What a formula makes rises with its parts, but for those it falls with;
    any quantile of carbon rises with the area, with the DRAM that streaming needs, and with the energy of the life,
    draw by draw. Power rises with the energy and falls with the latency; as a limit, `bound`, it is one sum.
    """
    nothing, both = np.zeros_like(silicon.idle_w), np.ones((2, 1))
    match quantity:
        case "area" | "tops":
            own = silicon.area_m2 if quantity == "area" else silicon.tops
            found = [] if own is None else [_Sum(both * own, None)]
        case "power" if bound == np.inf:
            found = [_Sum(nothing, _energy), _Sum(nothing, _haste)]
        case "latency" | "energy" | "power":
            rows = {"latency": _latency, "energy": _energy, "power": _over(bound)}[quantity]
            found = [_Sum(nothing, rows)]
        case "water" if silicon.water_l is not None:
            found = _life_energy(silicon, both * silicon.water_l, silicon.water_l_per_j)
        case "carbon" if silicon.carbon_at is not None:
            found = [*_sums(silicon, "area"), *_life_energy(silicon, nothing, 1.0)]
        case "carbon":
            found = _life_energy(silicon, silicon.embodied_kg, silicon.operational_kg_per_j)
        case _:
            found = []
            row = QUANTITIES[quantity]
            for part in row.of:
                if part not in row.falls:
                    found += _sums(silicon, part)
                elif part != "inferences":  # of which all have as many
                    raise LookupError(f"{quantity} falls with {part}, which no sum bounds")
    return found


def _kept_by_all(
    silicon: Silicon, name: str, bound: float, stacks: list[_Extremes], occurs: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(accelerators,) whether every model keeps a limit there; where that cannot be told, False."""
    if silicon.carbon_at is not None and "carbon" in columns_of({name}):
        return np.zeros(occurs.shape[1], dtype=np.bool_)
    worst = _worst_value(silicon, name, bound, stacks)
    return np.asarray((np.where(occurs, worst, -np.inf) <= (0.0 if name == "power" else bound)).all(axis=0))


def _worst_value(silicon: Silicon, name: str, bound: float, stacks: list[_Extremes]) -> FloatArray:
    """(2, accelerators): what no model's quantity exceeds, by mode."""
    row = QUANTITIES.get(name)
    if name == "inferences":
        return np.asarray(silicon.inferences)
    if row is None or row.formula is None or name == "power":
        return _worst(_sums(silicon, name, bound), stacks)
    return np.asarray(row.formula(*(_worst_value(silicon, part, bound, stacks) for part in row.of)), dtype=np.float64)


def undominated(
    stacks: Stacks,
    silicon: Silicon,
    quantity: str | Sequence[str],
    limits: Mapping[str, float],
) -> NDArray[np.int64]:
    """Accelerators that might be the best for some model, in rising order; of equals one stays.

    Where several quantities are minimised, those that might be on some model's front.

    Args:
        stacks: what the models are made of.
        silicon: the accelerators.
        quantity: what is minimised: one of `quantities.OBJECTIVES`, or several.
        limits: upper bounds by quantity, SI.
    """
    extremes = [_Extremes.of(stack, times) for stack, times in zip(stacks.each, stacks.times, strict=True)]
    # Buffers between two demands hold the same models: compare the number of models held, not bytes.
    demands = np.sort(stacks.demand_bytes(), axis=None)
    held = np.searchsorted(demands, silicon.capacity_bytes, side="right")
    occurs = np.stack([held < demands.size, held > 0])  # by mode: streamed, resident
    quantities = (quantity,) if isinstance(quantity, str) else tuple(quantity)
    aims = [one for name in quantities for one in _sums(silicon, name)]
    bounds = {name: _sums(silicon, name, bound) for name, bound in limits.items() if name not in quantities}
    safe = {name: _kept_by_all(silicon, name, limits[name], extremes, occurs) for name in bounds}
    rank = np.where(occurs, _worst(_sums(silicon, quantities[0]), extremes), 0.0).sum(axis=0)
    rest = np.lexsort((np.arange(held.size), rank, -held))
    alive = np.ones(held.size, dtype=np.bool_)
    kept = []
    while rest.size:
        best, rest = int(rest[0]), rest[1:]
        kept.append(best)
        compared = [*aims, *(one for name, sums in bounds.items() if not safe[name][best] for one in sums)]
        beaten = rest
        for own, mode in ((RESIDENT, RESIDENT), (STREAMED, STREAMED), (RESIDENT, STREAMED)):
            meets = occurs[mode][beaten] & occurs[own][best] if own == mode else held[beaten] < held[best]
            rivals = beaten[meets]
            beaten = np.concatenate((beaten[~meets], _not_better(compared, extremes, (best, own), mode, rivals)))
        alive[beaten] = False
        rest = rest[alive[rest]]
    return np.sort(np.array(kept, dtype=np.int64))


def _worst(sums: list[_Sum], stacks: list[_Extremes]) -> FloatArray:
    """(2, accelerators): the greatest value of any model, by mode."""
    everything = np.arange(sums[0].offset.shape[1])
    found = []
    for one in sums:
        rows = one.rows
        if rows is None:
            found.append(one.offset)
            continue
        found.append(
            np.stack([one.offset[mode] + sum(s.worst(rows, mode, everything) for s in stacks) for mode in (0, 1)])
        )
    return np.asarray(np.max(found, axis=0))


def _not_better(
    sums: list[_Sum], stacks: list[_Extremes], best: tuple[int, int], mode: int, rivals: IntArray
) -> IntArray:
    """Those of `rivals`, in `mode`, that are better than `best` for no model."""
    accelerator, own = best
    for whole in (False, True):
        for one in sums:
            if not rivals.size:
                return rivals
            gap = one.offset[own, accelerator] - one.offset[mode, rivals]
            if one.rows is not None:
                for stack in stacks:
                    count = stack.layers.size
                    some = np.arange(0, count, 1 if whole else max(1, count // _FIRST_COLUMNS))
                    gap = gap + stack.gap(one.rows, best, mode, rivals, some)
            rivals = rivals[gap <= 0]
    return rivals
