"""`catransformers carbon die` and `carbon memory`: what making a part emits, split, with its range."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import click

from catransformers.carbon.embodied import fab_node, typical_defects
from catransformers.carbon.grid import region_intensity
from catransformers.carbon.making import assess_die, assess_memory
from catransformers.carbon.parts import MEMORY_CLASSES, MemoryClass, Package, memory_per_gb
from catransformers.carbon.scenario import named_scenario
from catransformers.carbon.scenario_keys import KEYS
from catransformers.carbon.yields import YieldModel
from catransformers.cli.carbon_inputs import key_number, missing, plain_number, whole_number
from catransformers.cli.output import json_option, print_json
from catransformers.errors import InputError, Problem, Problems, present, unknown_name
from catransformers.reports.terminal.parts import show_die, show_memory

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
    kind, per_cm2 = present(packaging)
    scenario = replace(
        named_scenario("default"),
        name="one package",
        fab=present(grid),
        node_nm=present(nm),
        abatement=int(str(gases)),
        yield_model=str(model),
        defect_density_per_cm2=density,
        wafer_diameter_mm=wafer,
        chiplets=present(number),
        chiplet_area_overhead=0.0,
        bonding_yield=present(bonded),
        dram="never",
        package=kind,
        package_g_per_cm2=per_cm2,
    )
    answer = assess_die(present(area), scenario)
    if as_json:
        print_json(answer.to_dict())
    else:
        show_die(answer)


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
    if kind and known:
        problems.of(memory_per_gb, kind, of, where="--kind")
    amount = problems.of(_gigabytes, gb)
    good = None if memory_yield is None else problems.of(_share, memory_yield)
    problems.finish()
    found = assess_memory(present(kind), present(amount), of, good)
    if as_json:
        print_json(found.to_dict())
    else:
        show_memory(found)


def _gigabytes(text: str | None) -> float:
    if text is None:
        missing("--gb", "an amount in GB")
    return key_number(str(text), "dram_gb", "--gb")


def _share(text: str) -> float:
    good = plain_number(text, "--yield", "in (0, 1]")
    if not 0 < good <= 1:
        raise InputError(Problem("--yield", f"{text} is not a yield", "in (0, 1]"))
    return good
