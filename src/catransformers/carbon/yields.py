"""Which share of the dies on a wafer works: yield as a function of area and defect density.

With λ = A·D (area × defect density, the defects to expect on a die):

| model | yield | defects are |
|---|---|---|
| fixed | y, whatever the area | |
| poisson | e^(−λ) | spread at random |
| murphy | ((1 − e^(−λ))/λ)² | of triangular density over wafers |
| seeds | 1/(1 + λ) | of exponential density over wafers |
| negative-binomial | (1 + λ/α)^(−α), α = 3 | clustered, the less the larger α |

Reference: B. T. Murphy, Proc. IEEE 52 (1964); R. B. Seeds, IEDM (1967); C. H. Stapper, IBM J. Res. Dev. 27
(1983). Seeds is the negative binomial of α = 1, Poisson its limit of α → ∞.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from catransformers.errors import InputError, Problem, nearest
from catransformers.facts import facts
from catransformers.units import MM2_PER_M2, as_float

Floats = NDArray[np.float64]
YieldKind = Literal["fixed", "poisson", "murphy", "seeds", "negative-binomial"]
YIELD_KINDS: tuple[YieldKind, ...] = ("fixed", "poisson", "murphy", "seeds", "negative-binomial")
_ALLOWED = "a number in (0, 1], 'fixed:0.875', " + ", ".join(repr(kind) for kind in YIELD_KINDS[1:])


@dataclass(frozen=True, slots=True)
class YieldModel:
    """A yield model; `fixed` is the yield of the fixed model (1.0 and without meaning otherwise)."""

    kind: YieldKind
    fixed: float = 1.0

    def __str__(self) -> str:
        return f"fixed:{self.fixed:g}" if self.kind == "fixed" else self.kind

    @classmethod
    def parse(cls, value: str | float, *, where: str = "yield") -> YieldModel:
        """A model from a name, a number in (0, 1], or `fixed:0.875`.

        Raises:
            InputError: for anything else.
        """
        if isinstance(value, str):
            name = value.strip().casefold()
            for kind in YIELD_KINDS[1:]:
                if name == kind:
                    return cls(kind)
            number = _number(name.removeprefix("fixed:"))
        elif isinstance(value, bool):
            number = None
        else:
            number = as_float(value)
        if number is None:
            hint = nearest(str(value), YIELD_KINDS[1:])
            raise InputError(Problem(where, f"{value!r} is not a yield model", allowed=_ALLOWED, hint=hint))
        if not (math.isfinite(number) and 0 < number <= 1):
            raise InputError(Problem(where, f"{number} is not a yield", allowed=_ALLOWED))
        return cls("fixed", number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def die_yield(
    model: YieldModel,
    area_m2: float | Floats,
    defects_per_m2: float | Floats,
    defects_relative: float | Floats = 1.0,
) -> Floats:
    """The share of good dies.

    Args:
        model: which formula.
        area_m2: die area, any shape.
        defects_per_m2: defect density, broadcast against the area; the fixed model does not read it.
        defects_relative: scales the defects (for ranges); a fixed yield y becomes y^scale, as if y were
            e^(−λ) of some λ that is scaled.

    Returns:
        Yield in (0, 1], of the broadcast shape.

    Raises:
        InputError: if so few dies would work that the number is 0.
    """
    result = _share(model, area_m2, defects_per_m2, defects_relative)
    if not np.all(result > 0):
        largest = float(np.max(area_m2)) * MM2_PER_M2
        what = f"no die of {largest:.4g} mm² works under the {model} yield"
        raise InputError(Problem("yield", what, hint="fewer defects, or another yield model"))
    return result


def _share(
    model: YieldModel, area_m2: float | Floats, defects_per_m2: float | Floats, defects_relative: float | Floats
) -> Floats:
    if model.kind == "fixed":
        return np.asarray(np.power(model.fixed, np.asarray(defects_relative, dtype=np.float64)))
    expected = np.asarray(area_m2, dtype=np.float64) * (np.asarray(defects_per_m2) * defects_relative)
    if model.kind == "poisson":
        return np.asarray(np.exp(-expected))
    if model.kind == "seeds":
        return np.asarray(1.0 / (1.0 + expected))
    if model.kind == "murphy":
        safe = np.where(expected > 0, expected, 1.0)
        return np.asarray(np.where(expected > 0, (-np.expm1(-safe) / safe) ** 2, 1.0))
    alpha = facts("embodied_other")["cluster_alpha"].value
    return np.asarray((1.0 + expected / alpha) ** -alpha)


def dies_per_wafer(area_m2: float | Floats, wafer_diameter_m: float) -> Floats:
    """How many whole dies a round wafer gives: π(d/2)²/A − πd/√(2A), not rounded, never below 0.

    Args:
        area_m2: die area, > 0, any shape.
        wafer_diameter_m: usable diameter of the wafer (0.3 m less the edge exclusion, for example).

    Reference: D. K. de Vries, IEEE Trans. Semicond. Manuf. 18 (2005), the classical first-order formula.
    """
    area = np.asarray(area_m2, dtype=np.float64)
    whole = math.pi * wafer_diameter_m**2 / (4 * area)
    lost = math.pi * wafer_diameter_m / np.sqrt(2 * area)
    return np.asarray(np.maximum(whole - lost, 0.0))


def wafer_area_per_die(area_m2: float | Floats, wafer_diameter_m: float) -> Floats:
    """The wafer area that one whole die costs, edge waste included; never below the die's own area.

    Raises:
        InputError: if a die is so large that the wafer gives none.
    """
    area = np.asarray(area_m2, dtype=np.float64)
    number = dies_per_wafer(np.where(area > 0, area, 1.0), wafer_diameter_m)
    if np.any((number < 1) & (area > 0)):
        largest = float(np.max(area)) * MM2_PER_M2
        what = f"a die of {largest:g} mm² does not fit a wafer of {wafer_diameter_m * 1e3:g} mm"
        raise InputError(Problem("wafer_diameter_mm", what))
    return np.asarray(np.where(area > 0, math.pi * wafer_diameter_m**2 / 4 / np.maximum(number, 1.0), 0.0))
