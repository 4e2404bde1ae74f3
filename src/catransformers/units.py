"""Unit constants. Inside the package every quantity is SI; these convert at the edges.

Names say the unit (`latency_s`, `energy_j`, `area_m2`, `carbon_kg`, `intensity_kg_per_kwh`).
"""

import math
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024
J_PER_KWH: Final = 3.6e6
MM2_PER_M2: Final = 1e6
CM2_PER_M2: Final = 1e4
UM2_PER_M2: Final = 1e12
G_PER_KG: Final = 1e3
S_PER_YEAR: Final = 365 * 24 * 3600  # a year of 365 days, as the paper counts (94,608,000 s in 3 years)
PICO: Final = 1e-12
NANO: Final = 1e-9
MILLI: Final = 1e-3
MICRO: Final = 1e-6
GIGA: Final = 1e9
TERA: Final = 1e12


def as_float(value: float) -> float:
    """The number as a float; a whole number too large for one is infinite (TOML knows no largest one)."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def round_down(value: float, figures: int = 4) -> float:
    """A positive number rounded down to some significant figures: a floor that is lowered to it is kept."""
    step = 10.0 ** (math.floor(math.log10(value)) - figures + 1)
    return float(f"{math.floor(value / step) * step:.{figures}g}")


def round_up(value: float, figures: int = 4) -> float:
    """A positive number rounded up to some significant figures: a limit that is raised to it is kept."""
    step = 10.0 ** (math.floor(math.log10(value)) - figures + 1)
    return float(f"{math.ceil(value / step) * step:.{figures}g}")
