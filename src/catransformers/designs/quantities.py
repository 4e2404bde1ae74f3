"""The quantities (objectives, metrics) that a design is judged by: one row each, from which all else is derived.

Keys of studies, options of commands, limits, JSON keys, words and formulas come from `QUANTITIES`: a new quantity is
one more row here. Carbon and water are what the making of a device takes plus a price times the energy of its life;
they, latency, energy, area and peak throughput are *columns* of a design table (`designs.table`), the others are made
of these.

Reference: M. Elgamal et al., HotCarbon 2023 (tCDP, carbon × delay); ISO/IEC 21031:2024 (SCI, carbon per inference).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.units import G_PER_KG, MILLI, MM2_PER_M2, TERA

CarbonQuantile = Literal["p50", "p95"]
CO2E = "g\N{NO-BREAK SPACE}CO₂e"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity of a design; it is better if less.

    Args:
        name: as people give it.
        unit: inside the package: SI; water in litres, carbon per inference in grams.
        limit: key of the limit on it; the option is the same with dashes.
        shown: unit of that limit.
        says: what the limit is, for the help of its option.
        key: of its column in JSON and CSV.
        axis: in words, for an axis.
        least: what a design that has the least of it is.
        saving: how a design has less of it.
        base: the unit that SI prefixes stand before.
        factor: from `unit` to `shown`.
        scale: from `unit` to `base`.
        prefixes: which of them people use: `all`, those of `small` numbers, or `none`.
        of: the columns, or quantities before this one, that it is made of; itself where it is a column.
        formula: of these, arrays of any shape; it is never less where one of them is more, but for those in `falls`.
        falls: those of `of` that it falls with.
        minimised: whether it can be an objective.
        of_model: whether it is the model's, whatever the accelerator; then it is a whole number.
    """

    name: str
    unit: str
    limit: str
    shown: str
    says: str
    key: str
    axis: str
    least: str
    saving: str
    base: str
    factor: float = 1.0
    scale: float = 1.0
    prefixes: Literal["all", "small", "none"] = "all"
    of: tuple[str, ...] = ()
    formula: Callable[..., Any] | None = None
    falls: tuple[str, ...] = ()
    minimised: bool = True
    of_model: bool = False

    @property
    def option(self) -> str:
        """The option of a command that limits it: `--max-latency-ms`."""
        return f"--{self.limit.replace('_', '-')}"

    @property
    def metavar(self) -> str:
        """What stands for the number in that option's help: `MS`, `KG·S`."""
        return (self.limit.removeprefix(f"max_{self.name}").strip("_") or self.shown).upper().replace("_", "·")

    @property
    def of_accelerator(self) -> bool:
        """Whether no model has a say in it."""
        return {*(self.of or (self.name,))} <= {"area", "tops"}


def _product(one: Any, other: Any) -> Any:
    return one * other


#: All of them, in the order in which limits are listed.
QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        row.name: row
        for row in (
            Quantity(
                "latency", "s", "max_latency_ms", "ms", "Longest time of an inference.", "latency_s",
                "latency", "fastest", "takes {} less time", "s", factor=1 / MILLI, prefixes="small",
            ),
            Quantity(
                "energy", "J", "max_energy_mj", "mJ", "Most energy of an inference.", "energy_j",
                "energy per inference", "lowest-energy", "uses {} less energy", "J", factor=1 / MILLI,
            ),
            Quantity(
                "area", "m2", "max_area_mm2", "mm2", "Largest die.", "area_mm2",
                "die area", "smallest", "has {} less silicon", "mm²",
                factor=MM2_PER_M2, scale=MM2_PER_M2, prefixes="none",
            ),
            Quantity(
                "power", "W", "max_power_w", "W", "Highest mean power while an inference runs.", "power_w",
                "mean power while it runs", "lowest-power", "draws {} less power", "W",
                of=("energy", "latency"), formula=lambda energy, latency: energy / latency, falls=("latency",),
            ),
            Quantity(
                "tops", "TOPS", "max_tops", "TOPS", "Highest peak throughput.", "tops",
                "peak throughput", "lowest-peak", "has {} less peak throughput", "OPS", scale=TERA, minimised=False,
            ),
            Quantity(
                "carbon", "kgCO2e", "max_carbon_kg", "kgCO2e", "Most carbon over the device's life.", "total_kg",
                "carbon over the device's life", "lowest-carbon", "emits {} less carbon", CO2E, scale=G_PER_KG,
            ),
            Quantity(
                "tcdp", "kgCO2e s", "max_tcdp_kg_s", "kgCO2e s", "Most carbon × latency.", "tcdp_kg_s",
                "carbon × latency", "lowest-tCDP", "has {} less carbon × latency", "g·s", scale=G_PER_KG,
                of=("carbon", "latency"), formula=_product,
            ),
            Quantity(
                "water", "L", "max_water_l", "L", "Most water over the device's life.", "water_l",
                "water over the device's life", "lowest-water", "takes {} less water", "L",
            ),
            Quantity(
                "energy_delay", "J s", "max_energy_delay_j_s", "J s", "Most energy × latency.",
                "energy_delay_j_s",
                "energy × latency", "lowest energy-delay", "has {} less energy × latency", "J·s",
                of=("energy", "latency"), formula=_product,
            ),
            Quantity(
                "sci", "gCO2e", "max_sci_g", "gCO2e", "Most carbon per inference, making included.", "sci_g",
                "carbon per inference", "lowest-SCI", "emits {} less carbon an inference", CO2E,
                of=("carbon", "inferences"), formula=lambda carbon, number: carbon * G_PER_KG / number,
                falls=("inferences",),
            ),
            Quantity(
                "parameters", "parameters", "max_parameters", "parameters", "Most parameters of a model.",
                "params", "parameters", "smallest", "has {} less parameters", "parameters",
                minimised=False, of_model=True,
            ),
        )
    }
)  # fmt: skip

#: Those of designs, which depend on the accelerator.
OF_DESIGNS: tuple[str, ...] = tuple(name for name, row in QUANTITIES.items() if not row.of_model)
#: What a front may minimise, carbon first: the order in which fronts are sorted and objectives named.
OBJECTIVES: tuple[str, ...] = tuple(sorted((n for n in OF_DESIGNS if QUANTITIES[n].minimised), key="carbon".__ne__))
#: Those that every design lists; the others are listed where they are minimised or limited.
USUAL: tuple[str, ...] = OBJECTIVES[:4]
UNUSUAL: tuple[str, ...] = OBJECTIVES[4:]


def columns_of(names: Sequence[str] | set[str]) -> set[str]:
    """The columns of a design table that some quantities are made of."""
    found: set[str] = set()
    for name in names:
        row = QUANTITIES.get(name)
        found |= {name} if row is None or row.formula is None else columns_of(row.of)
    return found


@dataclass(frozen=True, slots=True)
class Objectives:
    """What is minimised beside maximising accuracy.

    Args:
        minimise: one quantity or several different ones, of `OBJECTIVES`.
        carbon_quantile: what `carbon` means, as objective, as limit and in what is made of it: `p50` is the footprint
            at the typical value of every factor, `p95` the 95th percentile of its range, which one design in twenty
            exceeds.

    Raises:
        ValueError: for no, repeated or unknown quantities.
    """

    minimise: tuple[str, ...] = ("carbon",)
    carbon_quantile: CarbonQuantile = "p50"

    def __post_init__(self) -> None:
        if not self.minimise or len(set(self.minimise)) != len(self.minimise):
            raise ValueError(f"not one quantity, or several different quantities: {self.minimise}")
        unknown = [name for name in self.minimise if name not in OBJECTIVES]
        if unknown or self.carbon_quantile not in get_args(CarbonQuantile):
            raise ValueError(f"unknown quantities {unknown} or quantile {self.carbon_quantile!r}")

    @property
    def first(self) -> str:
        """The first quantity, by which designs are listed."""
        return self.minimise[0]


def read_objectives(names: Sequence[str]) -> tuple[str, ...]:
    """The objectives in the order of `OBJECTIVES`.

    Raises:
        InputError: for every unknown or repeated name, and if there is none.
    """
    problems = Problems(
        unknown_name("objectives", "objective", n, OBJECTIVES) for n in dict.fromkeys(names) if n not in OBJECTIVES
    )
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        problems.append(Problem("objectives", f"given twice: {', '.join(repeated)}"))
    if not names:
        problems.append(Problem("objectives", "none given", ", ".join(OBJECTIVES)))
    problems.finish()
    return tuple(name for name in OBJECTIVES if name in names)


def read_quantile(name: str) -> CarbonQuantile:
    """`p50` or `p95`.

    Raises:
        InputError: for another name.
    """
    if name not in get_args(CarbonQuantile):
        raise InputError(unknown_name("carbon_quantile", "quantile", name, get_args(CarbonQuantile)))
    return cast(CarbonQuantile, name)
