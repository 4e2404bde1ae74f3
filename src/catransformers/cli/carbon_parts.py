"""`catransformers carbon die` and `carbon memory`: what making a part emits, split, with its range."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import click

from catransformers.carbon.embodied import fab_node, typical_defects
from catransformers.carbon.footprint import die_split, embodied_split
from catransformers.carbon.grid import region_intensity
from catransformers.carbon.impacts import other_impacts
from catransformers.carbon.parts import MEMORY_CLASSES, MemoryClass, Package, default_memory_yield, memory_per_gb
from catransformers.carbon.scenario import Scenario, named_scenario
from catransformers.carbon.scenario_keys import KEYS
from catransformers.carbon.uncertainty import draw_factors, total_quantiles
from catransformers.carbon.yields import YieldModel, dies_per_wafer
from catransformers.cli.carbon_inputs import key_number, missing, plain_number, whole_number
from catransformers.cli.output import json_option, print_json
from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.facts import facts
from catransformers.reports.terminal.screen import carbon, console, quantity, table
from catransformers.units import MILLI, MM2_PER_M2

SAMPLES = 10_000
MAX_DIES = 64


@click.command()
@click.option("--area-mm2", metavar="MM2", help="Area of one die.  [required]")
@click.option("--node", default="22", show_default=True, metavar="NM", help="Process node, 28 to 3 nm.")
@click.option(
    "--fab", default="TW", show_default=True, metavar="REGION|G/KWH", help="Where it is made, or the grid's g/kWh."
)
@click.option("--abatement", default="95", show_default=True, metavar="95|97|99", help="% of process gases abated.")
@click.option(
    "--yield",
    "yield_model",
    default="negative-binomial",
    show_default=True,
    metavar="Y|MODEL",
    help="A number in (0, 1], or poisson, murphy, seeds, negative-binomial.",
)
@click.option("--defects", metavar="PER_CM2", help="Defect density.  [default: the node's]")
@click.option("--wafer-mm", metavar="MM", help="Count the edge waste of a wafer of this diameter.")
@click.option("--dies", default="1", show_default=True, metavar="N", help="How many such dies, in one package.")
@click.option("--bonding-yield", default="1", show_default=True, metavar="Y", help="Share of dies bonded well.")
@click.option(
    "--package",
    default="none",
    show_default=True,
    metavar="none|per-package|G/CM2",
    help="No package, an average IC package, or g per cm² of silicon.",
)
@json_option
def die(
    area_mm2: str | None,
    node: str,
    fab: str,
    abatement: str,
    yield_model: str,
    defects: str | None,
    wafer_mm: str | None,
    dies: str,
    bonding_yield: str,
    package: str,
    as_json: bool,
) -> None:
    """What making a die emits: fab energy, process gases, materials, yield loss; and its package, if asked for.

    \b
    Examples:
      catransformers carbon die --area-mm2 10 --node 22 --fab TW --abatement 95 --yield 0.875
      catransformers carbon die --area-mm2 100 --node 7 --dies 4 --bonding-yield 0.99 --wafer-mm 300
    """
    problems = Problems()
    area = problems.of(_area, area_mm2)
    nm = problems.of(key_number, node, "node_nm", "--node")
    grid = problems.of(_fab, fab)
    gases = problems.of(lambda: KEYS["abatement"].read(_integer(abatement), "--abatement"))
    model = problems.of(YieldModel.parse, yield_model, where="--yield")
    density = None if defects is None else problems.of(key_number, defects, "defect_density_per_cm2", "--defects")
    wafer = None if wafer_mm is None else problems.of(key_number, wafer_mm, "wafer_diameter_mm", "--wafer-mm")
    number = problems.of(whole_number, dies, "--dies", 1, MAX_DIES)
    bonded = problems.of(key_number, bonding_yield, "bonding_yield", "--bonding-yield")
    packaging = problems.of(_package, package)
    if nm is not None and model is not None and defects is None:
        problems.of(_defects_known, nm, model)
    problems.finish()
    assert area and nm and grid and gases and model and number and bonded and packaging  # noqa: S101 - finish() raised

    kind, per_cm2 = packaging
    scenario = replace(
        named_scenario("default"),
        name="one package",
        fab=grid,
        node_nm=nm,
        abatement=int(str(gases)),
        yield_model=str(model),
        defect_density_per_cm2=density,
        wafer_diameter_mm=wafer,
        chiplets=number,
        chiplet_area_overhead=0.0,
        bonding_yield=bonded,
        dram="never",
        package=kind,
        package_g_per_cm2=per_cm2,
    )
    answer = _assess_die(area, scenario)
    if as_json:
        print_json(answer.to_dict())
    else:
        answer.show()


def _area(text: str | None) -> float:
    if text is None:
        missing("--area-mm2", "the area of a die in mm²")
    area = plain_number(str(text), "--area-mm2", "mm², > 0")
    if not 0 < area <= MAX_AREA_MM2:
        raise InputError(Problem("--area-mm2", f"{text} is out of range", f"mm², > 0 and ≤ {MAX_AREA_MM2:,}"))
    return area


MAX_AREA_MM2 = 100_000  # a whole wafer of 300 mm is 70,686


def _fab(text: str) -> Any:
    return region_intensity(text, use="fab", where="--fab")


def _integer(text: str) -> object:
    return int(text) if text.strip().isdigit() else text


def _package(text: str) -> tuple[Package, float | None]:
    if text == "none":
        return "none", None
    if text == "per-package":
        return "per-package", None
    try:
        float(text)
    except ValueError:
        allowed = "none, per-package, or a number of g per cm² of silicon"
        raise InputError(Problem("--package", f"{text!r} is not a package", allowed)) from None
    return "per-area", key_number(text, "package_g_per_cm2", "--package")


def _defects_known(nm: float, model: Any) -> None:
    try:
        typical_defects(fab_node(nm), model, where="--yield")
    except InputError as error:
        first = error.problems[0]
        allowed = first.allowed.replace("defect_density_per_cm2", "--defects")
        raise InputError(replace(first, allowed=allowed)) from error


@dataclass(frozen=True)
class _Die:
    """What is said of some dies in a package."""

    area_mm2: float
    scenario: Scenario
    split_kg: dict[str, Any]
    total_kg: float
    range_kg: tuple[float, float, float]
    yield_fraction: float
    dies_per_wafer: float | None
    impacts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        situation = self.scenario
        low, middle, high = self.range_kg
        wafer = None
        if situation.wafer_diameter_mm is not None:
            wafer = {"diameter_mm": situation.wafer_diameter_mm, "dies_per_wafer": self.dies_per_wafer}
        defects = situation.defects_per_m2 / 1e4
        return {
            "area_mm2": self.area_mm2,
            "dies": situation.chiplets,
            "node_nm": situation.node_nm,
            "node_interpolated_from": list(situation.fab_node.interpolated_from),
            "abatement": situation.abatement,
            "fab": situation.fab.to_dict(),
            "yield": {
                "model": situation.yield_model,
                "fraction": self.yield_fraction,
                "defect_density_per_cm2": defects or None,
                "bonding": situation.bonding_yield,
            },
            "wafer": wafer,
            "package": situation.package,
            "split_kg": self.split_kg,
            "total_kg": self.total_kg,
            "total_kg_p5": low,
            "total_kg_p50": middle,
            "total_kg_p95": high,
            "g_per_cm2": self.total_kg * 1e3 / (self.area_mm2 * situation.chiplets / 100),
            "other_impacts": self.impacts,
        }

    def show(self) -> None:
        situation = self.scenario
        node = f"{situation.node_nm:g} nm"
        if situation.fab_node.interpolated_from:
            node += f" (interpolated between {' and '.join(f'{n:g}' for n in situation.fab_node.interpolated_from)})"
        dies = "a die" if situation.chiplets == 1 else f"{situation.chiplets} dies"
        screen = console()
        bonding = "" if situation.bonding_yield == 1 else f", bonding yield {situation.bonding_yield:g} a die"
        screen.print(
            f"[bold]{dies} of {self.area_mm2:g} mm²[/], {node}, made in {situation.fab}, "
            f"{situation.abatement} % abatement,\nyield {self.yield_fraction:.4f} ({situation.yield_model})"
            f"{bonding}, package {situation.package}"
        )
        if self.dies_per_wafer is not None:
            screen.print(f"{self.dies_per_wafer:,.1f} dies on a wafer of {situation.wafer_diameter_mm:g} mm")
        rows = [
            (part.replace("_", " "), carbon(kg), f"{kg / self.total_kg:.1%}")
            for part, kg in self.split_kg.items()
            if kg
        ]
        low, _, high = self.range_kg
        rows.append(("total", carbon(self.total_kg, 7), f"{carbon(low)} to {carbon(high)} (p5 to p95)"))
        screen.print(table("Carbon of making it", ("", "value", ""), rows))
        per_area = self.total_kg * 1e3 / (self.area_mm2 * situation.chiplets / 100)
        screen.print(f"{per_area:,.4f} g CO₂e per cm² of die. Of the fab's electricity: {_impact_words(self.impacts)}.")


def _impact_words(impacts: dict[str, Any]) -> str:
    known = [
        f"{name.replace('_', ' ')} {quantity(impact['fab'], impact['unit'])}"
        for name, impact in impacts.items()
        if impact["fab"] is not None
    ]
    return ", ".join(known) or "water, primary energy and minerals are not known there"


def _assess_die(area_mm2: float, scenario: Scenario) -> _Die:
    area = area_mm2 / MM2_PER_M2
    silicon = area * scenario.chiplets
    split = embodied_split(silicon, False, scenario)
    # the area is what the user says, not what our model of the hardware estimates
    draws = replace(draw_factors(scenario, SAMPLES), area_relative=1.0)
    low, middle, high = (
        float(value) for value in total_quantiles(silicon, 0.0, False, scenario, draws, probabilities=(0.05, 0.5, 0.95))
    )
    wafer = scenario.wafer_diameter_mm
    impacts = {
        name: {"unit": found.impact.unit, "fab": None if found.fab is None else float(found.fab)}
        for name, found in other_impacts(silicon, 0.0, scenario).items()
    }
    return _Die(
        area_mm2=area_mm2,
        scenario=scenario,
        split_kg={part: kg for part, kg in split.to_dict().items() if part != "memory"},
        total_kg=float(split.total_kg),
        range_kg=(low, middle, high),
        yield_fraction=float(die_split(silicon, scenario).yield_fraction),
        dies_per_wafer=None if wafer is None else float(dies_per_wafer(area, wafer * MILLI)),
        impacts=impacts,
    )


@click.command()
@click.option("--kind", metavar="KIND", help="For example lpddr4, nand_20nm, exosx16.  [required]")
@click.option("--gb", metavar="GB", help="How much of it.  [required]")
@click.option("--class", "memory_class", default="dram", show_default=True, metavar="dram|ssd|hdd", help="Which table.")
@click.option("--yield", "memory_yield", metavar="Y", help="In (0, 1].  [default: 0.875; 1 for disks]")
@json_option
def memory(kind: str | None, gb: str | None, memory_class: str, memory_yield: str | None, as_json: bool) -> None:
    """What making memory or storage emits: GB × (kg per GB) ÷ yield.

    \b
    Examples:
      catransformers carbon memory --kind lpddr4 --gb 1
      catransformers carbon memory --class ssd --kind nand_20nm --gb 512
    """
    problems = Problems()
    known = memory_class in MEMORY_CLASSES
    if not known:
        problems.append(unknown_name("--class", "class", memory_class, MEMORY_CLASSES))
    of = cast("MemoryClass", memory_class)
    if kind is None:
        problems.of(missing, "--kind", "a kind of memory: lpddr4, ddr4_10nm, nand_20nm, …")
    per_gb = problems.of(memory_per_gb, kind, of, where="--kind") if kind and known else None
    amount = problems.of(_gigabytes, gb)
    good = None if memory_yield is None else problems.of(_share, memory_yield)
    problems.finish()
    assert kind and amount is not None and per_gb is not None  # noqa: S101 - finish() has raised otherwise
    share = default_memory_yield(of) if good is None else good
    source = facts("memory_carbon")[kind].source
    total, low, high = (amount * value / share for value in (per_gb.typical, per_gb.low, per_gb.high))
    if as_json:
        print_json(
            {
                "class": memory_class,
                "kind": kind,
                "gb": amount,
                "yield": share,
                "g_per_gb": per_gb.typical * 1e3,
                "total_kg": total,
                "total_kg_low": low,
                "total_kg_high": high,
                "source": source,
            }
        )
        return
    screen = console()
    screen.print(
        f"[bold]{amount:g} GB of {kind}[/] ({memory_class}): {carbon(total, 7)}, {carbon(low)} to {carbon(high)}"
    )
    screen.print(f"{per_gb.typical * 1e3:g} g per GB ÷ yield {share:g}. Source: {source}")


def _gigabytes(text: str | None) -> float:
    if text is None:
        missing("--gb", "an amount in GB")
    return key_number(str(text), "dram_gb", "--gb")


def _share(text: str) -> float:
    good = plain_number(text, "--yield", "in (0, 1]")
    if not 0 < good <= 1:
        raise InputError(Problem("--yield", f"{text} is not a yield", "in (0, 1]"))
    return good
