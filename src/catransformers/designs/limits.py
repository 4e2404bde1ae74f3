"""What no design of a sweep may exceed, and what to say when no accelerator keeps all of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from catransformers.errors import InfeasibleError, InputError, Problem, nearest
from catransformers.units import MILLI, MM2_PER_M2, round_up

FloatArray = npt.NDArray[np.float64]

#: Quantity → (its limit's name as people give it, the unit of that, the factor from SI).
READABLE: Mapping[str, tuple[str, str, float]] = {
    "latency": ("max_latency_ms", "ms", 1 / MILLI),
    "energy": ("max_energy_mj", "mJ", 1 / MILLI),
    "area": ("max_area_mm2", "mm2", MM2_PER_M2),
    "power": ("max_power_w", "W", 1.0),
    "tops": ("max_tops", "TOPS", 1.0),
    "carbon": ("max_carbon_kg", "kgCO2e", 1.0),
    "tcdp": ("max_tcdp_kg_s", "kgCO2e s", 1.0),
    "water": ("max_water_l", "L", 1.0),
}

#: A value this little above a limit keeps it: 20 TOPS may be 20.000000000000004 in floating point.
TOLERANCE = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """Upper bounds in SI units; None is no limit.

    Args:
        latency: of one inference, s.
        energy: of one inference, J.
        area: of the die, m².
        power: mean power while an inference runs, W.
        tops: peak throughput, tera-operations a second.
        carbon: of making and using one device, kgCO2e.
        tcdp: carbon × latency, kgCO2e s.
        water: of the electricity that makes and runs one device, L.

    Raises:
        InputError: for every limit that is no finite number above 0.
    """

    latency: float | None = None
    energy: float | None = None
    area: float | None = None
    power: float | None = None
    tops: float | None = None
    carbon: float | None = None
    tcdp: float | None = None
    water: float | None = None

    def __post_init__(self) -> None:
        problems = [
            Problem(READABLE[name][0], f"{round_figures(value * READABLE[name][2]):g} is no limit", "a number above 0")
            for name, value in self.given().items()
            if not (math.isfinite(value) and value > 0)
        ]
        if problems:
            raise InputError(problems)

    @classmethod
    def read(cls, given: Mapping[str, float | None]) -> SweepLimits:
        """Limits by name and unit: `{"max_latency_ms": 50}`; None is no limit.

        Raises:
            InputError: for unknown names and impossible values, all at once.
        """
        names = {key: (quantity, factor) for quantity, (key, _, factor) in READABLE.items()}
        problems, values = [], {}
        for key, value in given.items():
            if key not in names:
                problems.append(Problem(key, "unknown limit", ", ".join(names), nearest(key, names)))
            elif value is not None:
                quantity, factor = names[key]
                values[quantity] = value / factor
        try:
            limits = cls(**values)
        except InputError as error:
            raise InputError([*problems, *error.problems]) from None
        if problems:
            raise InputError(problems)
        return limits

    def given(self) -> dict[str, float]:
        """The limits that there are, by quantity, SI."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: float(value) for name, value in values.items() if value is not None}

    def to_dict(self) -> dict[str, float]:
        """The limits that there are, by name and unit."""
        return {READABLE[name][0]: round_figures(value * READABLE[name][2]) for name, value in self.given().items()}


def round_figures(value: float, figures: int = 12) -> float:
    """Without the last digits, which a change of unit makes up (0.05 s · 1000 is 50 ms, not 50.000000000000004)."""
    return float(f"{value:.{figures}g}")


def infeasible(limited: Mapping[str, tuple[FloatArray, float]], subject: str) -> InfeasibleError:
    """Why no design keeps all limits.

    Where raising one limit alone would do, the one that is missed by the smallest factor is named and each such raise
    is offered. Otherwise several must be raised together: the design whose worst excess is smallest says which, and how
    far.

    Args:
        limited: by quantity, the values of all designs (A,) and their limit, SI; at least one.
        subject: where the designs come from.
    """
    kept = {name: values <= bound * TOLERANCE for name, (values, bound) in limited.items()}
    alone: dict[str, float] = {}
    for name, (values, _) in limited.items():
        others = np.all([mask for other, mask in kept.items() if other != name] or [np.ones_like(kept[name])], axis=0)
        if others.any():
            alone[name] = float(values[others].min())
    if alone:
        worst = min(alone, key=lambda name: alone[name] / limited[name][1])
        demand = alone[worst]
        also = " and the other limits" if len(limited) > 1 else ""
        statement = f"no accelerator of {subject} keeps the limit on {worst}{also}"
        levers = [f"raise {_raised(name, value)}" for name, value in sorted(alone.items(), key=lambda item: item[0])]
    else:
        excess = np.max([values / bound for values, bound in limited.values()], axis=0)
        closest = int(excess.argmin())
        needed = {n: float(v[closest]) for n, (v, _) in limited.items() if not kept[n][closest]}
        worst = max(needed, key=lambda name: needed[name] / limited[name][1])
        demand = needed[worst]
        statement = (
            f"no accelerator of {subject} keeps all limits, nor with any one of them raised; with each missed by as "
            f"small a factor as possible, {worst}"
        )
        levers = ["raise together " + " and ".join(_raised(name, value) for name, value in needed.items())]
    _, unit, factor = READABLE[worst]
    return InfeasibleError(
        statement,
        demand=demand * factor,
        bound=limited[worst][1] * factor,
        unit=unit,
        levers=(*levers, "a smaller model", "another space or other values of its attributes"),
    )


def _raised(name: str, demand: float) -> str:
    """A limit and the value that would do, rounded up."""
    key, _, factor = READABLE[name]
    return f"{key} to {round_up(demand * factor):g} or more"
