"""Embodied carbon of a die: fab energy, process gases, materials, and the dies that fail.

    E = A·(CI_fab·EPA + GPA + MPA)/Y(A)

with EPA kWh of fab electricity, GPA kg of gases (after abatement) and MPA kg of materials per area of wafer.
The three come from an `EmbodiedModel`, by name (`catransformers.registry.EMBODIED_MODELS`). ACT, the default, reads
them from a table; nodes between those of the table are interpolated linearly in ln(node), and say so.

Source: U. Gupta et al., "ACT", ISCA 2022, doi 10.1145/3470496.3527408 (eq. 4–5, Table 1); table `fab_nodes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon.ranges import Range, between
from catransformers.carbon.yields import YieldModel, die_yield
from catransformers.errors import InputError, Problem
from catransformers.facts import facts
from catransformers.registry import EMBODIED_MODELS
from catransformers.units import CM2_PER_M2, G_PER_KG

Floats = NDArray[np.float64]
ABATEMENTS = (95, 97, 99)
#: The model that counts where none is named.
ACT = "act"
_PER_CM2 = CM2_PER_M2  # 1/cm² → 1/m², kWh/cm² → kWh/m²
_G_PER_CM2 = CM2_PER_M2 / G_PER_KG  # g/cm² → kg/m²


@dataclass(frozen=True, slots=True)
class FabNode:
    """A process node: what a square metre of its wafer costs.

    Args:
        node_nm: the node.
        energy_kwh_per_m2: fab electricity (EPA).
        gases_kg_per_m2: direct emissions after abatement (GPA), by each percentage of `ABATEMENTS`.
        materials_kg_per_m2: purchased materials (MPA).
        defects_per_m2: defect density, or None where no sourced one exists (ACT: below 7 nm).
        interpolated_from: the two nodes of a table that it lies between; empty if it is one of them.
    """

    node_nm: float
    energy_kwh_per_m2: Range
    gases_kg_per_m2: Mapping[int, Range]
    materials_kg_per_m2: Range
    defects_per_m2: Range | None
    interpolated_from: tuple[float, ...] = ()


class EmbodiedModel(Protocol):
    """What a square metre of a node's wafer costs; yield, area and the fab's grid are applied to it alike for all.

    Registered is a class that is made from nothing.
    """

    def fab_node(self, node_nm: float, where: str) -> FabNode:
        """The figures of a node, the same at each call.

        Args:
            node_nm: the node, > 0.
            where: the key or option that holds it, for messages.

        Raises:
            InputError: for a node that the model does not know.
        """


@cache
def fab_node(node_nm: float, model: str = ACT, *, where: str = "node_nm") -> FabNode:
    """The fab figures of a node after an embodied-carbon model, with ranges.

    Raises:
        InputError: for an unknown model, a node that it does not know, or one that lacks an abatement.
    """
    found = EMBODIED_MODELS.find(model)().fab_node(node_nm, where)
    lacking = [f"{abatement} %" for abatement in ABATEMENTS if abatement not in found.gases_kg_per_m2]
    if lacking:
        what = f"the embodied model {model!r} gives no process gases at {', '.join(lacking)} abatement"
        raise InputError(Problem(where, what))
    return found


def _at(quantity: str, node_nm: float, scale: float) -> tuple[Range, tuple[float, ...]] | None:
    """A quantity of the `fab_nodes` table at a node, by linear interpolation in ln(node); None outside it."""
    known = {
        float(name.removeprefix(f"{quantity}_").removesuffix("nm")): fact
        for name, fact in facts("fab_nodes").items()
        if name.startswith(f"{quantity}_")
    }
    if node_nm in known:
        return Range.of(known[node_nm], scale), ()
    below = max((node for node in known if node < node_nm), default=None)
    above = min((node for node in known if node > node_nm), default=None)
    if below is None or above is None:
        return None
    share = math.log(node_nm / below) / math.log(above / below)
    return between(Range.of(known[below], scale), Range.of(known[above], scale), share), (below, above)


def table_nodes() -> tuple[float, ...]:
    """The nodes (nm) of the table, the coarsest first."""
    names = [name for name in facts("fab_nodes") if name.startswith("energy_")]
    return tuple(float(name.removeprefix("energy_").removesuffix("nm")) for name in names)


class Act:
    """ACT: the table `fab_nodes`.

    Reference: ACT (Gupta et al., ISCA 2022), Table 1.
    """

    def fab_node(self, node_nm: float, where: str) -> FabNode:
        """The fab figures of a node of 28 to 3 nm.

        Raises:
            InputError: outside the table.
        """
        energy = _at("energy", node_nm, _PER_CM2) if node_nm > 0 else None
        gases95 = _at("gases95", node_nm, _G_PER_CM2) if energy else None
        gases99 = _at("gases99", node_nm, _G_PER_CM2) if energy else None
        materials = _at("materials", node_nm, _G_PER_CM2) if energy else None
        if energy is None or gases95 is None or gases99 is None or materials is None:
            nodes = ", ".join(f"{node:g}" for node in table_nodes())
            allowed = f"28 to 3 nm: {nodes}, or between them (interpolated)"
            raise InputError(Problem(where, f"no fab figures for {node_nm:g} nm", allowed=allowed))
        low, high = gases99[0].typical, gases95[0].typical  # the range of every abatement: from 99 to 95 %
        gases = {
            95: Range(low, high, high),
            97: Range(low, (low + high) / 2, high),
            99: Range(low, low, high),
        }
        defects = _at("defects", node_nm, _PER_CM2)
        return FabNode(
            node_nm=node_nm,
            energy_kwh_per_m2=energy[0],
            gases_kg_per_m2=MappingProxyType(gases),
            materials_kg_per_m2=materials[0],
            defects_per_m2=defects[0] if defects else None,
            interpolated_from=energy[1],
        )


@dataclass(frozen=True, slots=True)
class DieCarbon:
    """What a good die (or several) emitted, split; kg, arrays of one shape. `yield_loss_kg` is the share of failed
    dies that the good ones carry, `yield_fraction` the share of dies that work.
    """

    energy_kg: Floats
    gases_kg: Floats
    materials_kg: Floats
    yield_loss_kg: Floats
    yield_fraction: Floats

    @property
    def total_kg(self) -> Floats:
        """The sum of the four parts."""
        return np.asarray(self.energy_kg + self.gases_kg + self.materials_kg + self.yield_loss_kg)


def die_carbon(
    area_m2: float | Floats,
    *,
    fab_intensity_kg_per_kwh: float,
    node_nm: float = 22,
    embodied_model: str = ACT,
    abatement: int = 95,
    yield_model: YieldModel,
    defects_per_m2: float | None = None,
    wafer_area_m2: float | Floats | None = None,
    dies: int = 1,
) -> DieCarbon:
    """The carbon of good dies: A·(CI·EPA + GPA + MPA)/Y(A), typical values, split.

    Args:
        area_m2: area of one die, any shape, finite and ≥ 0.
        fab_intensity_kg_per_kwh: the fab's electricity.
        node_nm: of those that the model knows; ACT: 28 to 3.
        embodied_model: by its name in the registry.
        abatement: percentage of process gases abated: 95, 97 or 99 (97: the mean of the two).
        yield_model: see `yields`.
        defects_per_m2: overrides the node's defect density.
        wafer_area_m2: wafer area that a die costs (`yields.wafer_area_per_die`), where its edge waste is to
            count; the die's own area otherwise.
        dies: how many of them.

    Raises:
        InputError: for an unknown model; a node, an abatement or an area out of range; a node without a defect
            density.

    Reference: ACT (Gupta et al., ISCA 2022), eq. 4 and 5.
    """
    area = np.asarray(area_m2, dtype=np.float64)
    if not np.all(np.isfinite(area) & (area >= 0)):
        raise InputError(Problem("area_m2", "a die area is negative or not finite", allowed="finite, ≥ 0"))
    if abatement not in ABATEMENTS:
        raise InputError(Problem("abatement", f"{abatement} is not tabulated", allowed="95, 97, 99"))
    node = fab_node(float(node_nm), embodied_model)
    density = defects_per_m2 if defects_per_m2 is not None else typical_defects(node, yield_model)
    good = die_yield(yield_model, area, density)
    made = dies * (area if wafer_area_m2 is None else np.asarray(wafer_area_m2, dtype=np.float64))
    energy = made * (fab_intensity_kg_per_kwh * node.energy_kwh_per_m2.typical)
    gases = made * node.gases_kg_per_m2[abatement].typical
    materials = made * node.materials_kg_per_m2.typical
    loss = (energy + gases + materials) * (1 / good - 1)
    good = np.broadcast_to(good, area.shape)
    return DieCarbon(energy, gases, materials, loss, good)


def typical_defects(node: FabNode, yield_model: YieldModel, *, where: str = "yield") -> float:
    """The node's defect density (1/m²); 0 for the fixed model, which reads none.

    Raises:
        InputError: if the model needs one and no sourced one exists for the node.
    """
    if yield_model.kind == "fixed":
        return 0.0
    if node.defects_per_m2 is None:
        what = f"the {yield_model} yield needs a defect density, and none is known at {node.node_nm:g} nm"
        allowed = "a fixed yield, a node of 28 to 7 nm, or defect_density_per_cm2"
        raise InputError(Problem(where, what, allowed=allowed))
    return node.defects_per_m2.typical
