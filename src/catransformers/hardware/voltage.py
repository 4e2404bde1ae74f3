"""Supply voltage against clock, energy and leakage: the operating points of dynamic voltage and frequency scaling.

The clock follows the alpha-power law, f ∝ (V − Vth)^α / V (Sakurai and Newton, IEEE JSSC 25(2), 1990, eq. 9 and the
delay CV/2I that follows from it), dynamic energy the square of the voltage (C·V²), leakage power the voltage itself
(its current is taken as constant, which understates what a lower voltage saves).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def relative_clock(voltage_v: npt.ArrayLike, nominal_v: float, threshold_v: float, alpha: float) -> FloatArray:
    """The clock at a voltage relative to that at the nominal one, by the alpha-power law.

    Args:
        voltage_v: supplies above the threshold, V, any shape.
        nominal_v: the supply at which the ratio is 1, V.
        threshold_v: of the transistors, V, below both.
        alpha: velocity-saturation index, 1 (short channels) to 2 (long channels).
    """
    v = np.asarray(voltage_v, dtype=np.float64)
    return np.asarray(((v - threshold_v) / (nominal_v - threshold_v)) ** alpha * (nominal_v / v))


def relative_dynamic_energy(voltage_v: npt.ArrayLike, nominal_v: float) -> FloatArray:
    """Energy of switching at a voltage relative to the nominal one: (V/V0)²."""
    return np.asarray((np.asarray(voltage_v, dtype=np.float64) / nominal_v) ** 2)


def relative_leakage(voltage_v: npt.ArrayLike, nominal_v: float) -> FloatArray:
    """Leakage power at a voltage relative to the nominal one: V/V0."""
    return np.asarray(np.asarray(voltage_v, dtype=np.float64) / nominal_v)
