"""Where and how long a design is made and used: the setting without which no carbon figure means anything.

A scenario is a named TOML file or such a file with some keys changed. `scenario_keys` reads and checks
single values; this module puts them together, checks what must agree, and resolves the regions.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import cast

from catransformers.carbon.embodied import ACT, FabNode, fab_node, typical_defects
from catransformers.carbon.grid import Basis, GridIntensity, Use, given_intensity, region_intensity
from catransformers.carbon.grid_path import IntensityPath
from catransformers.carbon.parts import Package
from catransformers.carbon.scenario_keys import KEYS, DramPolicy, read_values
from catransformers.carbon.yields import YieldModel
from catransformers.errors import InputError, IntegrityError, Problem, Problems, unknown_name
from catransformers.reading import read_toml
from catransformers.units import CM2_PER_M2, G_PER_KG, GIGA, S_PER_YEAR

#: e^50 times today's intensity at the end of life; far beyond sense, far below what a float holds.
MAX_GROWTH = 50.0
SCENARIO_NAMES = ("default", "always-on", "paper", "paper-code")
#: Keys that say the same in two ways: only one of a pair may be given, and it replaces the other of the base scenario.
EXCLUSIVE = (
    ("use_intensity_g_per_kwh", "use_region"),
    ("use_intensity_g_per_kwh_by_year", "use_region"),
    ("use_intensity_g_per_kwh_by_year", "use_intensity_g_per_kwh"),
    ("use_intensity_g_per_kwh_by_year", "use_intensity_change_per_year"),
    ("fab_intensity_g_per_kwh", "fab_region"),
    ("inferences", "inferences_per_second"),
)
_FAB_KEYS = ("node_nm", "embodied_model", "yield", "defect_density_per_cm2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How a design is made and used. Made by `named_scenario` and `scenario_from_mapping`.

    Args:
        name: what to call it; a changed scenario says what was changed.
        use, fab: grid intensities where the device runs and where the die is made.
        node_nm: process node; `abatement`: percentage of process gases abated (95, 97, 99).
        embodied_model: whose figures of the fab count, by its name in the registry.
        yield_model: as text (`fixed:0.875`, `poisson`, `murphy`, `seeds`, `negative-binomial`).
        defect_density_per_cm2: overrides the node's.
        wafer_diameter_mm: count the edge waste of such a wafer; None counts the die's own area.
        chiplets: equal dies that a design is split into; `chiplet_area_overhead`: the fraction of area that this adds.
        bonding_yield: share of dies that are bonded well; an assembly that fails takes all its dies with it.
        lifetime_years: years of 365 days.
        duty: share of the lifetime in which the device is switched on; otherwise it draws nothing.
        inferences_per_second: mean rate while it is switched on.
        explicit_inferences: the total, where it is given instead of a rate.
        dram: whether DRAM is there `when-needed` by a model, `always` or `never`.
        dram_kind, dram_gb, dram_yield: what DRAM that is.
        package: `none`; `per-package`: an average package for the die and one for the DRAM; `per-area`:
            `package_g_per_cm2` of the dies' silicon, and an average package for the DRAM.
        pue: power usage effectiveness of the place of use (1 for a device of its own).
        use_path: how the grid of use changes over the years.
        site_water_l_per_kwh: water that cooling takes where the device is used.
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
    chiplets: int
    chiplet_area_overhead: float
    bonding_yield: float
    lifetime_years: float
    duty: float
    inferences_per_second: float
    explicit_inferences: float | None
    dram: DramPolicy
    dram_kind: str
    dram_gb: float
    dram_yield: float
    package: Package
    package_g_per_cm2: float | None
    pue: float
    use_path: IntensityPath
    site_water_l_per_kwh: float
    texts_per_image: float
    mixed_basis_allowed: bool
    embodied_model: str = ACT

    @property
    def use_intensity_kg_per_kwh(self) -> float:
        """The grid of use, as the mean over the lifetime."""
        return self.use_path.mean(self.use.intensity_kg_per_kwh, self.lifetime_years)

    @property
    def use_intensity_change_per_year(self) -> float:
        """The fraction by which the grid of use changes every year; 0 where a table says how it changes."""
        return self.use_path.change_per_year

    @property
    def fab_intensity_kg_per_kwh(self) -> float:
        """The grid of the fab."""
        return self.fab.intensity_kg_per_kwh

    @property
    def inferences(self) -> float:
        """Inferences over the lifetime: the given total, or rate × duty × years × 365 days."""
        if self.explicit_inferences is not None:
            return self.explicit_inferences
        return self.inferences_per_second * self.duty * self.lifetime_years * S_PER_YEAR

    @property
    def period_s(self) -> float:
        """Time from one inference to the next while the device is switched on, s."""
        return 1 / self.inferences_per_second

    @property
    def yields(self) -> YieldModel:
        """The yield model, parsed."""
        return YieldModel.parse(self.yield_model)

    @property
    def fab_node(self) -> FabNode:
        """The fab figures of the node."""
        return fab_node(self.node_nm, self.embodied_model)

    @property
    def defects_per_m2(self) -> float:
        """The defect density that the yield model reads (0 for a fixed yield)."""
        if self.defect_density_per_cm2 is not None:
            return self.defect_density_per_cm2 * CM2_PER_M2
        return typical_defects(self.fab_node, self.yields)

    @property
    def assembly_yield(self) -> float:
        """The share of assemblies in which every die is bonded well: Y_bond^n."""
        return self.bonding_yield**self.chiplets

    @property
    def package_kg_per_m2(self) -> float:
        """kg of package per area of silicon, where packages count by area; 0 otherwise."""
        return (self.package_g_per_cm2 or 0.0) * CM2_PER_M2 / G_PER_KG

    def check_node(self, node_nm: float, technology: str) -> None:
        """The scenario must make the dies that a technology describes.

        Args:
            node_nm: the technology's process node.
            technology: its name.

        Raises:
            InputError: if the process nodes differ.
        """
        if node_nm != self.node_nm:
            what = f"{self.node_nm:g} nm, but technology {technology!r} is {node_nm:g} nm"
            raise InputError(Problem("scenario.node_nm", what, hint=f"set node_nm = {node_nm:g} in the scenario"))

    def with_room(self, needed_bytes: float) -> Scenario:
        """The same with a DRAM that holds so much: as it is, or the next power of two of GB that does."""
        needed_gb = needed_bytes / GIGA
        if needed_gb <= self.dram_gb:
            return self
        return replace(self, dram_gb=2.0 ** math.ceil(math.log2(needed_gb)))

    def other_model(self) -> dict[str, str]:
        """The embodied model as an entry of a JSON object, where it is not ACT, which goes without saying."""
        return {} if self.embodied_model == ACT else {"embodied_model": self.embodied_model}

    def to_dict(self) -> dict[str, object]:
        """Plain values with stable keys, for JSON; the regions in full, with basis and source."""
        return {
            "name": self.name,
            "use": self.use.to_dict(),
            "fab": self.fab.to_dict(),
            "use_intensity_g_per_kwh": round(self.use_intensity_kg_per_kwh * G_PER_KG, 9),
            "use_intensity_change_per_year": self.use_intensity_change_per_year,
            "use_intensity_g_per_kwh_by_year": [
                round(value * G_PER_KG, 9) for value in self.use_path.by_year_kg_per_kwh
            ],
            "fab_intensity_g_per_kwh": round(self.fab_intensity_kg_per_kwh * G_PER_KG, 9),
            "mixed_basis_allowed": self.mixed_basis_allowed,
            "node_nm": self.node_nm,
            "node_interpolated_from": list(self.fab_node.interpolated_from),
            **self.other_model(),
            "abatement": self.abatement,
            "yield": self.yield_model,
            "defect_density_per_cm2": self.defects_per_m2 / CM2_PER_M2 if self.defects_per_m2 else None,
            "wafer_diameter_mm": self.wafer_diameter_mm,
            "chiplets": self.chiplets,
            "chiplet_area_overhead": self.chiplet_area_overhead,
            "bonding_yield": self.bonding_yield,
            "lifetime_years": self.lifetime_years,
            "duty": self.duty,
            "inferences_per_second": self.inferences_per_second,
            "inferences": self.inferences,
            "dram": self.dram,
            "dram_kind": self.dram_kind,
            "dram_gb": self.dram_gb,
            "dram_yield": self.dram_yield,
            "package": self.package,
            "package_g_per_cm2": self.package_g_per_cm2,
            "pue": self.pue,
            "site_water_l_per_kwh": self.site_water_l_per_kwh,
            "texts_per_image": self.texts_per_image,
        }

    def describe(self) -> str:
        """All of it on one line, to be printed with every figure."""
        node = f"{self.node_nm:g} nm"
        if self.fab_node.interpolated_from:
            node += " (interpolated)"
        if self.embodied_model != ACT:
            node += f", embodied model {self.embodied_model}"
        change = self.use_path
        grid = str(self.use)
        if change.by_year_kg_per_kwh:
            grid += f", {self.use_intensity_kg_per_kwh * G_PER_KG:.4g} on average over its life"
        elif change.change_per_year:
            grid += f" changing by {change.change_per_year:+.2%} a year"
        dies = "" if self.chiplets == 1 else f"{self.chiplets} chiplets (+{self.chiplet_area_overhead:.0%} area), "
        bonding = "" if self.bonding_yield == 1 else f"bonding yield {self.bonding_yield:g}, "
        by_area = f" ({self.package_g_per_cm2:g} g/cm²)" if self.package_g_per_cm2 is not None else ""
        mixed = ", bases mixed as allowed" if self.use.basis.conflicts(self.fab.basis) else ""
        duty = "" if self.duty == 1 else f" ({self.duty:.4g} of the time on)"
        return (
            f"{self.name}: used in {grid}, made in {self.fab}, {node}, {self.abatement} % abatement, "
            f"yield {self.yield_model}, {dies}{bonding}{self.lifetime_years:g} years{duty}, "
            f"{self.inferences:,.0f} inferences, DRAM {self.dram} ({self.dram_gb:g} GB {self.dram_kind}), "
            f"package {self.package}{by_area}, PUE {self.pue:g}{mixed}"
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


def read_scenario(given: str | Mapping[str, object], where: str = "scenario") -> Scenario:
    """A named scenario, one in a TOML file (its name ends in `.toml`), or keys that change a named one.

    Args:
        given: the name, the file's, or the keys; `base` names the scenario that they change.
        where: what to call the keys in an error message.

    Raises:
        InputError: for an unknown name, an unreadable file, and every mistake in it.
    """
    if not isinstance(given, str):
        return _changed(given, where)
    path = Path(given)
    if path.suffix != ".toml":
        return named_scenario(given)
    table = read_toml(path, "a TOML file with a scenario's keys")
    table = table.get("scenario", table)
    if not isinstance(table, dict):
        raise InputError(Problem(f"{given}: scenario", f"{table!r} is not a table", "[scenario] and its keys"))
    return _changed(table, given)


def _changed(keys: Mapping[str, object], where: str) -> Scenario:
    changes = dict(keys)
    return scenario_from_mapping(str(changes.pop("base", "default")), changes, where)


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
        for a, b in EXCLUSIVE
        if a in overrides and b in overrides
    ]
    merged = dict(read_values(_named_values(base_name), base_name)[0])
    for pair in EXCLUSIVE:
        for key, other in (pair, pair[::-1]):
            if key in values and other not in values:
                merged.pop(other, None)
    merged |= values
    grids = {}
    for side in ("use", "fab"):
        with problems.collect():
            grids[side] = _grid(merged, side, where)
    if not any(key in overrides and key not in values for key in _FAB_KEYS):
        problems += _fab_problems(merged, where, "yield" if "yield" in values else "node_nm")
    problems += _growth_problems(merged, where)
    if not any(key in overrides and key not in values for key in ("package", "package_g_per_cm2")):
        problems += _package_problems(merged, where)
    if len(grids) == 2 and not merged.get("allow_mixed_basis"):
        problems += _basis_problems(grids["use"], grids["fab"], where)
    problems.finish()
    changes = ", ".join(f"{key} = {value}" for key, value in overrides.items() if key != "name")
    name = merged.get("name") or (f"{base_name} with {changes}" if changes else base_name)
    return _build(str(name), merged, grids["use"], grids["fab"])


def _grid(values: Mapping[str, object], side: str, where: str) -> GridIntensity:
    basis = cast(Basis, values.get(f"{side}_basis", Basis()))
    table = values.get(f"{side}_intensity_g_per_kwh_by_year")
    if table is not None:
        first = cast("tuple[float, ...]", table)[0] / G_PER_KG
        return GridIntensity("by-year", "a table of years, the first", first, first, first, basis, None, "given")
    number = values.get(f"{side}_intensity_g_per_kwh")
    if number is not None:
        return given_intensity(cast(float, number), basis=basis, where=f"{where}.{side}_intensity_g_per_kwh")
    region = cast("str | float", values[f"{side}_region"])
    use: Use = "fab" if side == "fab" else "use"
    return region_intensity(region, use=use, basis=basis, where=f"{where}.{side}_region")


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


def _package_problems(values: Mapping[str, object], where: str) -> list[Problem]:
    """A package that counts by area needs its factor, for no sourced one exists; any other package has none."""
    by_area, factor = values.get("package") == "per-area", values.get("package_g_per_cm2")
    if by_area and factor is None:
        what, hint = "missing: no sourced factor per area exists", "give yours, in g per cm² of silicon"
        return [Problem(f"{where}.package_g_per_cm2", what, hint=hint)]
    if factor is not None and not by_area:
        what = f"has no effect: package is {values.get('package')}"
        return [Problem(f"{where}.package_g_per_cm2", what, hint='package = "per-area"')]
    return []


def _fab_problems(values: Mapping[str, object], where: str, told: str) -> list[Problem]:
    """A node that the embodied model does not know, or for whose yield (key `told`) no defect density is known."""
    problems = Problems()
    with problems.collect():
        model = str(values.get("embodied_model", ACT))
        node = fab_node(cast(float, values["node_nm"]), model, where=f"{where}.node_nm")
        if values.get("defect_density_per_cm2") is None:
            typical_defects(node, cast(YieldModel, values["yield"]), where=f"{where}.{told}")
    return problems


def _build(name: str, values: Mapping[str, object], use: GridIntensity, fab: GridIntensity) -> Scenario:
    """The scenario of checked values."""

    def number(key: str) -> float:
        return cast(float, values[key] if key in values else KEYS[key].default)

    def optional(key: str) -> float | None:
        return cast("float | None", values.get(key))

    total = optional("inferences")
    years = number("lifetime_years")
    duty = number("duty")
    rate = total / (years * duty * S_PER_YEAR) if total is not None else number("inferences_per_second")
    table = tuple(g / G_PER_KG for g in cast("tuple[float, ...]", values.get("use_intensity_g_per_kwh_by_year", ())))
    return Scenario(
        name=name,
        use=use,
        fab=fab,
        node_nm=number("node_nm"),
        abatement=int(number("abatement")),
        yield_model=str(values["yield"]),
        defect_density_per_cm2=optional("defect_density_per_cm2"),
        wafer_diameter_mm=optional("wafer_diameter_mm"),
        chiplets=int(number("chiplets")),
        chiplet_area_overhead=number("chiplet_area_overhead"),
        bonding_yield=number("bonding_yield"),
        lifetime_years=years,
        duty=duty,
        inferences_per_second=rate,
        explicit_inferences=total,
        dram=cast(DramPolicy, values["dram"]),
        dram_kind=str(values["dram_kind"]),
        dram_gb=number("dram_gb"),
        dram_yield=number("dram_yield"),
        package=cast(Package, values["package"]),
        package_g_per_cm2=optional("package_g_per_cm2"),
        pue=number("pue"),
        use_path=IntensityPath(number("use_intensity_change_per_year"), table),
        site_water_l_per_kwh=number("site_water_l_per_kwh"),
        texts_per_image=number("texts_per_image"),
        mixed_basis_allowed=bool(values.get("allow_mixed_basis", False)),
        embodied_model=str(values.get("embodied_model", ACT)),
    )
