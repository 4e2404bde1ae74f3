"""Figures of merit that put carbon together with time, energy and service. Plain functions of numbers.

Symbols: C embodied carbon, T total carbon (kg), E energy of an inference (J), D delay of an inference (s).
All arguments may be arrays; they broadcast.

Reference: U. Gupta et al., "ACT", ISCA 2022, Table 2 (CDP, CEP, C²EP, with C the embodied carbon);
M. Elgamal et al., "Carbon-efficient design optimization for computing systems", HotCarbon 2023 (tCDP);
ISO/IEC 21031:2024, Software Carbon Intensity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon.grid_path import IntensityPath
from catransformers.units import J_PER_KWH, S_PER_YEAR

Floats = NDArray[np.float64]
Number = float | Floats


def tcdp(total_kg: Number, latency_s: Number) -> Number:
    """Total carbon delay product T·D, kg·s."""
    return total_kg * latency_s


def cdp(embodied_kg: Number, latency_s: Number) -> Number:
    """Carbon delay product C·D, kg·s."""
    return embodied_kg * latency_s


def cep(embodied_kg: Number, energy_j: Number) -> Number:
    """Carbon energy product C·E, kg·J."""
    return embodied_kg * energy_j


def c2ep(embodied_kg: Number, energy_j: Number) -> Number:
    """Carbon² energy product C²·E, kg²·J: for devices whose making outweighs their use."""
    return embodied_kg**2 * energy_j


def energy_per_prediction_j(energy_j: Number, pue: float = 1.0) -> Number:
    """J drawn from the grid for one prediction: E·PUE."""
    return energy_j * pue


def carbon_per_prediction_kg(total_kg: Number, inferences: float) -> Number:
    """kg of one prediction, its share of manufacture included: T/N."""
    return np.divide(total_kg, inferences)


def embodied_share_kg(
    embodied_kg: Number,
    time_reserved_s: float,
    lifetime_s: float,
    resource_share: float = 1.0,
) -> Number:
    """The embodied carbon that a use of a device carries: M = TE·(TiR/EL)·(RR/ToR).

    Args:
        embodied_kg: TE, embodied carbon of the device.
        time_reserved_s: TiR, how long it was reserved.
        lifetime_s: EL, its expected life.
        resource_share: RR/ToR, the share of it that was reserved.

    Reference: ISO/IEC 21031:2024, the M of SCI.
    """
    return embodied_kg * (time_reserved_s / lifetime_s * resource_share)


def sci(energy_j: Number, intensity_kg_per_kwh: Number, embodied_kg: Number, functional_units: float) -> Number:
    """Software carbon intensity, kg per functional unit: (E·I + M)/R.

    Args:
        energy_j: E, energy of the software system over the period, PUE included.
        intensity_kg_per_kwh: I, of the grid at that place and time.
        embodied_kg: M, the embodied share of the period (`embodied_share_kg`).
        functional_units: R, how many units (inferences) the period served.

    Reference: ISO/IEC 21031:2024.
    """
    return np.divide(energy_j * intensity_kg_per_kwh / J_PER_KWH + embodied_kg, functional_units)


def break_even_years(
    embodied_kg: Number,
    energy_j: Number,
    inferences_per_second: float,
    intensity_kg_per_kwh: float,
    pue: float = 1.0,
    path: IntensityPath = IntensityPath(),
) -> Floats:
    """Years of use after which use has emitted as much as manufacture; infinite if it never does.

    L solves C = E·rate·PUE·∫₀ᴸ CI(t) dt, with years of 365 days; on a grid that stays as it is, L = C/(E·rate·CI·PUE).

    Args:
        embodied_kg: C.
        energy_j: E, of an inference and its wait.
        inferences_per_second: mean rate over the life, time switched off included.
        intensity_kg_per_kwh: CI today.
        pue: power usage effectiveness.
        path: how the grid changes over the years.
    """
    kwh_per_year = energy_j * (inferences_per_second * pue * S_PER_YEAR / J_PER_KWH)
    needed = _ratio(embodied_kg, kwh_per_year)
    return path.years_until(intensity_kg_per_kwh, needed)


def break_even_intensity_kg_per_kwh(
    embodied_kg: Number, energy_j: Number, inferences: float, pue: float = 1.0
) -> Floats:
    """The grid intensity above which use emits more than manufacture: C/(E·N·PUE); infinite without use."""
    return _ratio(embodied_kg, energy_j * (inferences * pue / J_PER_KWH))


def payback_units(invested_kg: Number, saved_kg_per_unit: Number) -> Floats:
    """How many devices must be built for a saving to repay what was invested (a search, say).

    Infinite where nothing is saved.
    """
    return _ratio(invested_kg, np.maximum(saved_kg_per_unit, 0.0))


def _ratio(numerator: Number, denominator: Number) -> Floats:
    """numerator/denominator, 0/0 and x/0 being infinite."""
    top, bottom = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.inf), where=bottom > 0))
