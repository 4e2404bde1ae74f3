"""Limits (constraints) on designs, which of them fails, by how much, and what to say then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catransformers.designs.quantities import OF_DESIGNS, QUANTITIES
from catransformers.errors import InfeasibleError, InputError, Problem, Problems, nearest
from catransformers.units import round_up

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: A peak of 20 TOPS may be 20.000000000000004 in floating point.
TOPS_TOLERANCE = 1 + 1e-9


@dataclass(frozen=True, slots=True, init=False)
class Limits:
    """What no design may exceed: `Limits(latency=0.05, area=3e-6)`. A limit that is not there reads as None.

    Args:
        accuracy: what a member of a front must at least reach. It is learnt by training and so never a reason not to
            train.
        bounds: by quantity, in its unit (SI); None is no limit. Carbon counts at the study's quantile.

    Raises:
        InputError: for every limit that is no finite number above 0.
        TypeError: for what is no quantity.
    """

    bounds: Mapping[str, float]
    accuracy: float | None

    def __init__(self, *, accuracy: float | None = None, **bounds: float | None) -> None:
        if not bounds.keys() <= QUANTITIES.keys():
            raise TypeError(f"no quantities: {sorted(bounds.keys() - QUANTITIES.keys())}")
        given = {name: value for name in QUANTITIES if (value := bounds.get(name)) is not None}
        problems = Problems(
            Problem(row.limit, f"{round_figures(value * row.factor):g} is no limit", "a number above 0")
            for row, value in ((QUANTITIES[name], value) for name, value in given.items())
            if not (math.isfinite(value) and value > 0)
        )
        problems.finish()
        object.__setattr__(self, "bounds", given)
        object.__setattr__(self, "accuracy", accuracy)

    def __hash__(self) -> int:
        return hash((frozenset(self.bounds.items()), self.accuracy))

    def __getattr__(self, name: str) -> float | None:
        if name not in QUANTITIES:
            raise AttributeError(name)
        return self.bounds.get(name)

    @classmethod
    def read(cls, given: Mapping[str, float | None]) -> Limits:
        """Limits of designs by name and unit: `{"max_latency_ms": 50}`; None is no limit.

        Raises:
            InputError: for unknown names and impossible values, all at once.
        """
        names = {QUANTITIES[name].limit: name for name in OF_DESIGNS}
        problems = Problems(
            Problem(key, "unknown limit", ", ".join(names), nearest(key, names)) for key in given if key not in names
        )
        values = {names[key]: value for key, value in given.items() if key in names and value is not None}
        try:
            limits = cls(**{name: value / QUANTITIES[name].factor for name, value in values.items()})
        except InputError as error:
            raise InputError([*problems, *error.problems]) from None
        problems.finish()
        return limits

    def but(self, **changed: float | None) -> Limits:
        """The same with other bounds; None waives one."""
        return Limits(accuracy=self.accuracy, **{**self.bounds, **changed})

    def of_designs(self) -> dict[str, float]:
        """The limits that depend on the accelerator, by quantity, SI."""
        found = {name: float(value) for name, value in self.bounds.items() if name in OF_DESIGNS}
        if "tops" in found:
            found["tops"] *= TOPS_TOLERANCE
        return found

    @property
    def floor(self) -> float:
        """The accuracy above which a hypervolume counts."""
        return 0.0 if self.accuracy is None else self.accuracy

    def to_dict(self) -> dict[str, float]:
        """The bounds by name and unit, as `read` takes them."""
        return {
            row.limit: round_figures(value * row.factor)
            for row, value in ((QUANTITIES[name], value) for name, value in self.bounds.items())
        }


def round_figures(value: float, figures: int = 12) -> float:
    """Without the last digits, which a change of unit makes up (0.05 s · 1000 is 50 ms, not 50.000000000000004)."""
    return float(f"{value:.{figures}g}")


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A limit that cannot be kept: the best that is possible, SI, against the bound."""

    quantity: str
    demand: float
    bound: float

    @property
    def ratio(self) -> float:
        """How many times the bound is needed."""
        return self.demand / self.bound

    @property
    def key(self) -> str:
        """Key of the limit: `max_latency_ms`."""
        return QUANTITIES[self.quantity].limit

    @property
    def enough(self) -> str:
        """The limit and the value that would do, rounded up: `max_latency_ms to 12.1 or more`."""
        return f"{self.key} to {round_up(self.demand * QUANTITIES[self.quantity].factor):g} or more"

    def told(self, statement: str, levers: Sequence[str], reached: str = "the best possible") -> InfeasibleError:
        """The error with its numbers in the unit of the limit; see `InfeasibleError`."""
        row = QUANTITIES[self.quantity]
        return InfeasibleError(
            statement,
            demand=self.demand * row.factor,
            bound=self.bound * row.factor,
            unit=row.shown,
            levers=levers,
            reached=reached,
        )


def kept(values: Mapping[str, FloatArray], bounds: Mapping[str, float]) -> dict[str, BoolArray]:
    """By quantity, (designs,) whether each design keeps its bound."""
    return {name: values[name] <= bound for name, bound in bounds.items()}


def misses(values: Mapping[str, FloatArray], bounds: Mapping[str, float]) -> list[Shortfall]:
    """For each limit that would do if it alone were raised, the least value of the designs that keep all *others*.

    Args:
        values: by quantity, (designs,) SI.
        bounds: by quantity, SI; no design keeps them all.
    """
    fits = kept(values, bounds)
    found = []
    for name, bound in bounds.items():
        others = np.logical_and.reduce([fits[other] for other in bounds if other != name] or [np.array(True)])
        within = values[name][np.broadcast_to(others, values[name].shape)]
        if within.size:
            found.append(Shortfall(name, float(within.min()), bound))
    return found


def nearest_miss(alone: Sequence[Shortfall], least: Sequence[Shortfall]) -> Shortfall:
    """The one limit to name where several fail.

    Args:
        alone: what each limit would have to be if only it were raised (`misses`); of these the nearest is named.
        least: each limit's least value, whatever the others; where `alone` is empty, the furthest of them is named.
    """
    if alone:
        return min(alone, key=lambda miss: miss.ratio)
    return max(least, key=lambda miss: miss.ratio)


def shortfall(values: Mapping[str, FloatArray], bounds: Mapping[str, float]) -> Shortfall:
    """The limit that keeps a model from every accelerator; the arguments are those of `misses`."""
    least = [Shortfall(name, float(values[name].min()), bound) for name, bound in bounds.items()]
    return nearest_miss(misses(values, bounds), least)


def infeasible(values: Mapping[str, FloatArray], bounds: Mapping[str, float], subject: str) -> InfeasibleError:
    """Why no design keeps all limits.

    Where raising one limit alone would do, the one that is missed by the smallest factor is named and each such raise
    is offered. Otherwise several must be raised together: the design whose worst excess is smallest says which, and how
    far.

    Args:
        values: by quantity, (designs,) SI.
        bounds: by quantity, SI; at least one.
        subject: where the designs come from.
    """
    alone = misses(values, bounds)
    if alone:
        worst = nearest_miss(alone, ())
        also = " and the other limits" if len(bounds) > 1 else ""
        statement = f"no accelerator of {subject} keeps the limit on {worst.quantity}{also}"
        levers = [f"raise {miss.enough}" for miss in sorted(alone, key=lambda miss: miss.quantity)]
    else:
        closest = int(np.max([values[name] / bound for name, bound in bounds.items()], axis=0).argmin())
        needed = [Shortfall(n, float(values[n][closest]), b) for n, b in bounds.items() if values[n][closest] > b]
        worst = nearest_miss((), needed)
        statement = (
            f"no accelerator of {subject} keeps all limits, nor with any one of them raised; with each missed by as "
            f"small a factor as possible, {worst.quantity}"
        )
        levers = ["raise together " + " and ".join(miss.enough for miss in needed)]
    return worst.told(statement, (*levers, "a smaller model", "another space or other values of its attributes"))
