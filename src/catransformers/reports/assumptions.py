"""Assumptions of a scenario in words: no carbon figure is shown without these lines.

One sentence for the top of a page, and a row for each assumption with its value and where it comes from.
"""

from __future__ import annotations

from catransformers.carbon.grid import GridIntensity
from catransformers.carbon.scenario import Scenario
from catransformers.registry import FAMILIES
from catransformers.reports.wording import NBSP, number, percent, plain
from catransformers.units import CM2_PER_M2, G_PER_KG

Row = tuple[str, str, str]


def sentence(scenario: Scenario) -> str:
    """The scenario as one sentence: how long and how often, where used, where and how made."""
    return (
        f"One device runs {_rate(scenario.inferences_per_second)} a second for "
        f"{plain(scenario.lifetime_years)} years ({_count(scenario.inferences)} in all) on electricity of "
        f"{intensity_text(scenario.use_intensity_kg_per_kwh)} ({scenario.use.name}); its die is made in a "
        f"{scenario.node_nm:g}{NBSP}nm process on electricity of {intensity_text(scenario.fab_intensity_kg_per_kwh)} "
        f"({scenario.fab.name})."
    )


def assumptions(scenario: Scenario, family: str = "clip") -> tuple[Row, ...]:
    """Every assumption that counts for models of a `family`, as (what, value, source or note)."""
    change = scenario.use_intensity_change_per_year
    node = scenario.fab_node
    between = " and ".join(f"{value:g} nm" for value in node.interpolated_from)
    dram = {
        "when-needed": "only where weights and activations do not fit in the global buffer",
        "always": "in every device",
        "never": "in no device",
    }[scenario.dram]
    rows: list[Row] = [
        ("Scenario", scenario.name, ""),
        ("Lifetime", f"{plain(scenario.lifetime_years)} years", "of 365 days"),
        (
            "Use",
            f"{_count(scenario.inferences)} inferences",
            f"{_rate(scenario.inferences_per_second)} a second, on average over the lifetime",
        ),
        ("Between inferences", "asleep", "weights on chip are kept alive, DRAM refreshes itself, the rest is gated"),
        ("Electricity in use", intensity_text(scenario.use.intensity_kg_per_kwh), _source(scenario.use)),
        ("Electricity of the fab", intensity_text(scenario.fab_intensity_kg_per_kwh), _source(scenario.fab)),
        ("Process node", f"{scenario.node_nm:g} nm", f"interpolated between {between}" if between else ""),
        ("Process gases abated", f"{scenario.abatement} %", ""),
        ("Yield", scenario.yield_model, _defects(scenario)),
        ("DRAM", f"{scenario.dram_gb:g} GB {scenario.dram_kind}", dram),
        ("Package", scenario.package, ""),
        ("Power usage effectiveness", plain(scenario.pue), ""),
    ]
    if change:
        mean = intensity_text(scenario.use_intensity_kg_per_kwh)
        row = ("Grid of use changes by", f"{percent(change, sign=True)} a year", f"mean over the lifetime {mean}")
        rows.insert(5, row)
    if FAMILIES[family].pairs:
        rows.insert(4, ("Texts per image", plain(scenario.texts_per_image), "encoded in one inference"))
    if scenario.duty != 1:
        rows.insert(3, ("Duty", percent(scenario.duty), "share of its life in which the device is on"))
    if scenario.chiplets > 1:
        rows.append(("Chiplets", f"{scenario.chiplets}", f"bonding yield {plain(scenario.bonding_yield)}"))
    for model in scenario.other_model().values():
        rows.append(("Embodied carbon", f"after {model}", "a model of another package"))
    if scenario.site_water_l_per_kwh:
        rows.append(("Water on site", f"{plain(scenario.site_water_l_per_kwh)} L/kWh", ""))
    if scenario.wafer_diameter_mm is not None:
        rows.append(("Wafer edge counted", f"{scenario.wafer_diameter_mm:g} mm", ""))
    if scenario.mixed_basis_allowed:
        rows.append(("Mixed bases", "allowed", "the two grids count emissions differently"))
    return tuple(rows)


def intensity_text(intensity_kg_per_kwh: float) -> str:
    """How much carbon a kilowatt-hour carries: `475 g CO₂e/kWh`."""
    return f"{number(intensity_kg_per_kwh * G_PER_KG)}{NBSP}g{NBSP}CO₂e/kWh"


def _source(grid: GridIntensity) -> str:
    year = f", {grid.year}" if grid.year else ""
    return f"{grid.name}{year}; basis: {grid.basis}; source: {grid.source}"


def _defects(scenario: Scenario) -> str:
    density = scenario.defects_per_m2 / CM2_PER_M2
    return f"{plain(density)} defects per cm²" if density else ""


def _rate(per_second: float) -> str:
    shown = f"{per_second:g}" if float(f"{per_second:.3g}") == per_second else number(per_second)
    return "one inference" if per_second == 1 else f"{shown} inferences"


def _count(value: float) -> str:
    for scale, word in ((1e9, "billion"), (1e6, "million")):
        if value >= scale:
            return f"{number(value / scale)} {word}"
    return f"{value:,.0f}"
