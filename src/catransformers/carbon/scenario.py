"""Where and how long a design is made and used: the setting without which no carbon figure means anything.

A scenario is a named TOML file or such a file with some keys changed. `scenario_keys` reads and checks
single values; this module puts them together, checks what must agree, and resolves the regions.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import cast

from catransformers.carbon.embodied import FabNode, fab_node, typical_defects
from catransformers.carbon.grid import GridIntensity, given_intensity, mean_intensity, region_intensity
from catransformers.carbon.parts import Package
from catransformers.carbon.scenario_keys import KEYS, DramPolicy, read_values
from catransformers.carbon.yields import YieldModel
from catransformers.errors import InputError, IntegrityError, Problem, unknown_name
from catransformers.units import CM2_PER_M2, G_PER_KG, S_PER_YEAR

#: e^50 times today's intensity at the end of life; far beyond sense, far below what a float holds.
MAX_GROWTH = 50.0
SCENARIO_NAMES = ("default", "always-on", "paper", "paper-code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How a design is made and used. Made by `named_scenario` and `scenario_from_mapping`.

    Args:
        name: what to call it; a changed scenario says what was changed.
        use, fab: grid intensities where the device runs and where the die is made.
        node_nm: process node; `abatement`: percentage of process gases abated (95, 97, 99).
        yield_model: as text (`fixed:0.875`, `poisson`, `murphy`, `seeds`, `negative-binomial`).
        defect_density_per_cm2: overrides the node's.
        wafer_diameter_mm: count the edge waste of such a wafer; None counts the die's own area.
        lifetime_years: years of 365 days; `inferences_per_second`: mean rate over the whole lifetime.
        explicit_inferences: the total, where it is given instead of a rate.
        dram: whether DRAM is there `when-needed` by a model, `always` or `never`.
        dram_kind, dram_gb, dram_yield: what DRAM that is.
        package: `none`, or `per-package`: an average package for the die and one for the DRAM.
        pue: power usage effectiveness of the place of use (1 for a device of its own).
        use_intensity_change_per_year: fraction by which the grid of use changes every year (−0.05: 5 % less).
        texts_per_image: how many texts one inference encodes beside its image (may be a fraction).
    """

    name: str
    use: GridIntensity
    fab: GridIntensity
    node_nm: float
    abatement: int
    yield_model: str
    defect_density_per_cm2: float | None
    wafer_diameter_mm: float | None
    lifetime_years: float
    inferences_per_second: float
    explicit_inferences: float | None
    dram: DramPolicy
    dram_kind: str
    dram_gb: float
    dram_yield: float
    package: Package
    pue: float
    use_intensity_change_per_year: float
    texts_per_image: float
    mixed_basis_allowed: bool

    @property
    def use_region(self) -> str:
        """The code of the region of use."""
        return self.use.code

    @property
    def fab_region(self) -> str:
        """The code of the region of the fab."""
        return self.fab.code

    @property
    def use_intensity_kg_per_kwh(self) -> float:
        """The grid of use, as the mean over the lifetime."""
        change = self.use_intensity_change_per_year
        return mean_intensity(self.use.intensity_kg_per_kwh, change, self.lifetime_years)

    @property
    def fab_intensity_kg_per_kwh(self) -> float:
        """The grid of the fab."""
        return self.fab.intensity_kg_per_kwh

    @property
    def inferences(self) -> float:
        """Inferences over the lifetime: the given total, or rate × years × 365 days."""
        if self.explicit_inferences is not None:
            return self.explicit_inferences
        return self.inferences_per_second * self.lifetime_years * S_PER_YEAR

    @property
    def yields(self) -> YieldModel:
        """The yield model, parsed."""
        return YieldModel.parse(self.yield_model)

    @property
    def fab_node(self) -> FabNode:
        """The fab figures of the node."""
        return fab_node(self.node_nm)

    @property
    def defects_per_m2(self) -> float:
        """The defect density that the yield model reads (0 for a fixed yield)."""
        if self.defect_density_per_cm2 is not None:
            return self.defect_density_per_cm2 * CM2_PER_M2
        return typical_defects(self.fab_node, self.yields)

    def to_dict(self) -> dict[str, object]:
        """Plain values with stable keys, for JSON; the regions in full, with basis and source."""
        return {
            "name": self.name,
            "use": self.use.to_dict(),
            "fab": self.fab.to_dict(),
            "use_intensity_g_per_kwh": round(self.use_intensity_kg_per_kwh * G_PER_KG, 9),
            "use_intensity_change_per_year": self.use_intensity_change_per_year,
            "fab_intensity_g_per_kwh": round(self.fab_intensity_kg_per_kwh * G_PER_KG, 9),
            "mixed_basis_allowed": self.mixed_basis_allowed,
            "node_nm": self.node_nm,
            "node_interpolated_from": list(self.fab_node.interpolated_from),
            "abatement": self.abatement,
            "yield": self.yield_model,
            "defect_density_per_cm2": self.defects_per_m2 / CM2_PER_M2 if self.defects_per_m2 else None,
            "wafer_diameter_mm": self.wafer_diameter_mm,
            "lifetime_years": self.lifetime_years,
            "inferences_per_second": self.inferences_per_second,
            "inferences": self.inferences,
            "dram": self.dram,
            "dram_kind": self.dram_kind,
            "dram_gb": self.dram_gb,
            "dram_yield": self.dram_yield,
            "package": self.package,
            "pue": self.pue,
            "texts_per_image": self.texts_per_image,
        }

    def describe(self) -> str:
        """All of it on one line, to be printed with every figure."""
        node = f"{self.node_nm:g} nm"
        if self.fab_node.interpolated_from:
            node += " (interpolated)"
        return (
            f"{self.name}: used in {self.use}, made in {self.fab}, {node}, {self.abatement} % abatement, "
            f"yield {self.yield_model}, {self.lifetime_years:g} years, {self.inferences:,.0f} inferences, "
            f"DRAM {self.dram} ({self.dram_gb:g} GB {self.dram_kind}), package {self.package}, PUE {self.pue:g}"
        )


@cache
def _named_values(name: str) -> Mapping[str, object]:
    """The keys and values of a shipped scenario."""
    path = files("catransformers.data").joinpath("scenarios", f"{name}.toml")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise IntegrityError(f"the shipped scenario {name!r} cannot be read: {error}") from error


def named_scenario(name: str) -> Scenario:
    """A shipped scenario.

    Raises:
        InputError: for an unknown name.
    """
    return scenario_from_mapping(name, {}, "scenario")


def scenario_from_mapping(base_name: str, overrides: Mapping[str, object], where: str) -> Scenario:
    """A shipped scenario with some keys changed, as in a study's `[scenario]`.

    Args:
        base_name: one of `SCENARIO_NAMES`.
        overrides: keys of `scenario_keys.KEYS` with their new values.
        where: what to call the source in an error message, for example `study.toml: scenario`.

    Raises:
        InputError: with every problem found: unknown keys (nearest named), wrong types, values out of range,
            unknown regions, keys that contradict each other, bases that differ.
    """
    if base_name not in SCENARIO_NAMES:
        raise InputError(unknown_name(where, "scenario", base_name, SCENARIO_NAMES))
    values, problems = read_values(overrides, where)
    problems += [
        Problem(f"{where}.{a}", f"contradicts {b}: give one of them")
        for a, b in (
            ("use_intensity_g_per_kwh", "use_region"),
            ("fab_intensity_g_per_kwh", "fab_region"),
            ("inferences", "inferences_per_second"),
        )
        if a in overrides and b in overrides
    ]
    base = _named_values(base_name)
    if "inferences" in base and "lifetime_years" in overrides and "inferences_per_second" not in overrides:
        what = f"has no effect: {base_name!r} counts {base['inferences']:,} inferences, whatever the years"
        problems.append(Problem(f"{where}.lifetime_years", what, hint="give inferences_per_second as well"))
    merged = dict(read_values(base, base_name)[0])
    for key, other in (
        ("use_intensity_g_per_kwh", "use_region"),
        ("fab_intensity_g_per_kwh", "fab_region"),
        ("inferences", "inferences_per_second"),
        ("inferences_per_second", "inferences"),
    ):
        if key in values:
            merged.pop(other, None)
    merged |= values
    grids = {}
    for side in ("use", "fab"):
        try:
            grids[side] = _grid(merged, side, where)
        except InputError as error:
            problems += error.problems
    if not any(key in overrides and key not in values for key in ("node_nm", "yield", "defect_density_per_cm2")):
        problems += _defect_problems(merged, f"{where}.yield" if "yield" in values else f"{where}.node_nm")
    problems += _growth_problems(merged, where)
    if len(grids) == 2 and not merged.get("allow_mixed_basis"):
        problems += _basis_problems(grids["use"], grids["fab"], where)
    if problems:
        raise InputError(problems)
    changes = ", ".join(f"{key} = {value}" for key, value in overrides.items() if key != "name")
    name = merged.get("name") or (f"{base_name} with {changes}" if changes else base_name)
    return _build(str(name), merged, grids["use"], grids["fab"])


def _grid(values: Mapping[str, object], side: str, where: str) -> GridIntensity:
    number = values.get(f"{side}_intensity_g_per_kwh")
    if number is not None:
        return given_intensity(cast(float, number), where=f"{where}.{side}_intensity_g_per_kwh")
    region = cast("str | float", values[f"{side}_region"])
    return region_intensity(region, use="fab" if side == "fab" else "use", where=f"{where}.{side}_region")


def _basis_problems(use: GridIntensity, fab: GridIntensity, where: str) -> list[Problem]:
    conflicts = use.basis.conflicts(fab.basis)
    if not conflicts:
        return []
    what = f"mixes bases ({'; '.join(conflicts)}): use is {use.name} ({use.basis}), fab is {fab.name} ({fab.basis})"
    hint = "choose regions of one basis, give a number in g/kWh, or set allow_mixed_basis = true"
    return [Problem(f"{where}.use_region", what, hint=hint)]


def _growth_problems(values: Mapping[str, object], where: str) -> list[Problem]:
    """A yearly change and a lifetime that are each fine, but together take the grid beyond any number."""
    change, years = (cast(float, values.get(key, 0.0)) for key in ("use_intensity_change_per_year", "lifetime_years"))
    if math.log1p(change) * years <= MAX_GROWTH:
        return []
    what = f"{change:g} a year for {years:g} years: no grid grows like that"
    return [Problem(f"{where}.use_intensity_change_per_year", what)]


def _defect_problems(values: Mapping[str, object], where: str) -> list[Problem]:
    """A node and a yield model that are each fine but do not go together: no defect density is known."""
    if values.get("defect_density_per_cm2") is not None:
        return []
    try:
        typical_defects(fab_node(cast(float, values["node_nm"])), cast(YieldModel, values["yield"]), where=where)
    except InputError as error:
        return list(error.problems)
    return []


def _build(name: str, values: Mapping[str, object], use: GridIntensity, fab: GridIntensity) -> Scenario:
    """The scenario of checked values."""

    def number(key: str) -> float:
        return cast(float, values[key] if key in values else KEYS[key].default)

    def optional(key: str) -> float | None:
        return cast("float | None", values.get(key))

    total = optional("inferences")
    years = number("lifetime_years")
    rate = total / (years * S_PER_YEAR) if total is not None else number("inferences_per_second")
    return Scenario(
        name=name,
        use=use,
        fab=fab,
        node_nm=number("node_nm"),
        abatement=int(number("abatement")),
        yield_model=str(values["yield"]),
        defect_density_per_cm2=optional("defect_density_per_cm2"),
        wafer_diameter_mm=optional("wafer_diameter_mm"),
        lifetime_years=years,
        inferences_per_second=rate,
        explicit_inferences=total,
        dram=cast(DramPolicy, values["dram"]),
        dram_kind=str(values["dram_kind"]),
        dram_gb=number("dram_gb"),
        dram_yield=number("dram_yield"),
        package=cast(Package, values["package"]),
        pue=number("pue"),
        use_intensity_change_per_year=number("use_intensity_change_per_year"),
        texts_per_image=number("texts_per_image"),
        mixed_basis_allowed=bool(values.get("allow_mixed_basis", False)),
    )
