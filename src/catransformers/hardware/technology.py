"""Technologies: what every component costs in energy, area and leakage, and at which clock and voltage.

A technology is a TOML file. Its numbers are given in the unit that their key names, or as the name of a row of the
fact table `components`, which holds the source and the range; memories and DRAM are named tables. Everything is
turned to SI here, once. Clock and voltage are given at the nominal operating point; others follow by the alpha-power
law (`voltage`).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from catransformers.errors import InputError, Problem, Problems, nearest, unknown_name
from catransformers.facts import facts
from catransformers.hardware.voltage import relative_clock
from catransformers.reading import Choice, Number, Rule, Table, Unknown, from_to, read_table, read_toml
from catransformers.units import GIGA, MILLI, PICO, UM2_PER_M2

TECHNOLOGY_NAMES = ("default-22nm", "paper")
SRAM_NAMES = ("cacti7-22nm", "paper")
DRAM_NAMES = ("lpddr2", "lpddr4", "lpddr5", "ddr3", "ddr4", "gddr5", "hbm2", "paper")
ARRAYS = ("systolic", "broadcast")
VECTOR_KINDS = ("softmax", "norm", "activation", "add", "multiply", "rotary", "embedding")


@dataclass(frozen=True, slots=True)
class Dram:
    """Off-chip memory.

    Args:
        name: its kind.
        bandwidth: bytes a second.
        energy_j_per_byte: of a byte moved.
        background_w: power while the chip runs.
        self_refresh_w: power while the chip waits.
    """

    name: str
    bandwidth: float
    energy_j_per_byte: float
    background_w: float
    self_refresh_w: float


@dataclass(frozen=True, slots=True)
class Technology:
    """Energy, area and leakage of every component of the template, in SI units.

    Args:
        name: what it is called.
        node_nm: process node, nm.
        voltage_v: nominal supply; `voltage_low_v` to `voltage_high_v` are the supplies that the chip works at.
        threshold_v, alpha: of the transistors, for the alpha-power law.
        frequency_hz: clock of the whole chip at the nominal supply.
        array: `systolic` (a fold pays its skew) or `broadcast` (operands reach all elements at once).
        accumulators: stationary values that a processing element holds, each as wide as a partial sum.
        partial_sum_bytes: bytes of a partial sum until its reduction is complete.
        global_bandwidth: words (8-bit values) a cycle that the global buffer reads and writes, together.
        mac_area_m2, register_area_m2_per_bit, vector_lane_area_m2: cells of the logic.
        logic_density: share of a placed block of logic that its cells fill.
        area_overhead: control and interconnect as a share of all other area.
        mac_multiply_j: an 8 × 8-bit product; other widths scale with the product of the widths.
        mac_add_j: an accumulation.
        register_j_per_bit: a register bit clocked; a multiply-accumulate clocks both operands and its partial sum.
        vector_operation_j: one step of one lane of the vector unit.
        wire_j_per_bit_m: a bit moved one metre on chip.
        clock_share: energy of clock and sequencing in each cycle, as a share of what all multipliers, registers and
            lanes take in a fully busy one; it is spent in idle cycles of a running operator too.
        logic_leakage_w_per_m2: leakage of logic by its area.
        idle_retained_share: leakage of a memory that keeps its content while the chip waits, as a share of its own.
        idle_gated_share: leakage of whatever is power gated while the chip waits, likewise.
        sram: name of the SRAM table, with `sram_area_scale`, `sram_energy_scale`, `sram_leakage_scale` on top.
        dram: the off-chip memory.
        vector_operations, vector_passes: steps a value, and reads of each value, by kind of vector operator.
        sources: where each number comes from, by its key in the file.
    """

    name: str
    node_nm: float
    voltage_v: float
    voltage_low_v: float
    voltage_high_v: float
    threshold_v: float
    alpha: float
    frequency_hz: float
    array: str
    accumulators: int
    partial_sum_bytes: float
    global_bandwidth: float
    mac_area_m2: float
    register_area_m2_per_bit: float
    vector_lane_area_m2: float
    logic_density: float
    area_overhead: float
    mac_multiply_j: float
    mac_add_j: float
    register_j_per_bit: float
    vector_operation_j: float
    wire_j_per_bit_m: float
    clock_share: float
    logic_leakage_w_per_m2: float
    idle_retained_share: float
    idle_gated_share: float
    sram: str
    sram_area_scale: float
    sram_energy_scale: float
    sram_leakage_scale: float
    dram: Dram
    vector_operations: Mapping[str, float]
    vector_passes: Mapping[str, float]
    sources: Mapping[str, str] = field(compare=False, default_factory=lambda: MappingProxyType({}))

    def with_dram(self, name: str) -> Technology:
        """This technology with another kind of DRAM beside it.

        Raises:
            InputError: for an unknown kind.
        """
        return replace(self, dram=dram_kind(name))

    @property
    def register_bits(self) -> float:
        """Register bits of a processing element: its accumulators, one value that streams, and as many that it meets.

        Folds of r1 × r2 that share a pass need min(r1, r2) values of one operand at hand while the other passes by;
        with a = 2^e accumulators that is 2^⌊e/2⌋ at most.
        """
        held: int = 1 << ((self.accumulators.bit_length() - 1) // 2)
        return 8.0 * (1 + held) + 8 * self.partial_sum_bytes * self.accumulators

    @property
    def pe_area_m2(self) -> float:
        """Silicon of a processing element: its multiplier, adder and registers, placed."""
        return (self.mac_area_m2 + self.register_bits * self.register_area_m2_per_bit) / self.logic_density

    @property
    def lane_area_m2(self) -> float:
        """Silicon of a lane of the vector unit, placed."""
        return self.vector_lane_area_m2 / self.logic_density

    def mac_j(self, weight_bits: int = 8, activation_bits: int = 8) -> float:
        """Energy of a multiply-accumulate of the given widths, J."""
        return self.mac_multiply_j * weight_bits * activation_bits / 64 + self.mac_add_j

    def register_j(self, weight_bits: int = 8, activation_bits: int = 8) -> float:
        """Energy of the registers of a processing element for one multiply-accumulate, J."""
        return (weight_bits + activation_bits + 8 * self.partial_sum_bytes) * self.register_j_per_bit

    @property
    def clock_j_per_pe(self) -> float:
        """Energy of the clock for one processing element and cycle, J."""
        return self.clock_share * (self.mac_j() + self.register_j())

    @property
    def clock_j_per_lane(self) -> float:
        """Energy of the clock for one lane of the vector unit and cycle, J."""
        return self.clock_share * self.vector_operation_j

    def voltages(self, voltage_v: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Supplies with the nominal one in the place of NaN.

        Raises:
            InputError: for a supply that the chip does not work at.
        """
        asked = np.asarray(voltage_v, dtype=np.float64)
        found = np.where(np.isnan(asked), self.voltage_v, asked)
        outside = np.unique(found[(found < self.voltage_low_v) | (found > self.voltage_high_v)])
        if outside.size:
            allowed = f"{self.voltage_low_v:g} to {self.voltage_high_v:g} V"
            shown = ", ".join(f"{v:g}" for v in outside)
            raise InputError(Problem("voltage_v", f"{shown} V: technology {self.name!r} does not work at it", allowed))
        return found

    def frequency_at(self, voltage_v: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The clock at supplies (NaN: the nominal one), Hz, by the alpha-power law.

        Raises:
            InputError: for a supply that the chip does not work at.
        """
        clock = relative_clock(self.voltages(voltage_v), self.voltage_v, self.threshold_v, self.alpha)
        return np.asarray(self.frequency_hz * clock)


def dram_kind(name: str, where: str = "technology.memory.dram") -> Dram:
    """A kind of DRAM by name, from the fact table `dram`.

    Raises:
        InputError: for an unknown kind.
    """
    if name not in DRAM_NAMES:
        raise InputError(unknown_name(where, "DRAM kind", name, DRAM_NAMES))
    table = facts("dram")
    return Dram(
        name,
        table[f"{name}_bandwidth"].value * GIGA,
        table[f"{name}_energy"].value * PICO * 8,
        table[f"{name}_background_power"].value * MILLI,
        table[f"{name}_self_refresh_power"].value * MILLI,
    )


@dataclass(frozen=True, slots=True)
class _Amount:
    """A number in the unit that its key names, or the name of a fact; `factor` leads to the SI unit of the field."""

    field: str
    factor: float
    low: float
    high: float = math.inf
    above: bool = False

    def __call__(self, raw: object, where: str) -> tuple[str, float, str]:
        """The field, its value in SI and its source; raises an `InputError`."""
        source, number = "given in the technology file", raw
        if isinstance(raw, str):
            table = facts("components")
            if raw not in table:
                raise InputError(unknown_name(where, "fact", raw, table))
            number, source = table[raw].value, table[raw].source
        allowed = from_to(self.low, self.high, above=self.above)
        kind = "is neither a number nor the name of a fact"
        value = Number(self.low, self.high, self.above, allowed=allowed, kind=kind)(number, where)
        return self.field, value * self.factor, source


@dataclass(frozen=True, slots=True)
class _Section:
    """A table of a technology file."""

    rules: Mapping[str, Rule]

    def read(self, given: object, place: str, problems: Problems, unknown: Unknown) -> dict[str, Any]:
        """What is right in it; raises an `InputError` if it is no table."""
        if not isinstance(given, Mapping):
            raise InputError(Problem(place, "is not a table"))
        return read_table(given, self.rules, f"{place}.", problems, unknown=unknown)


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(Problem(where, "missing or not text"))
    return value


_SECTIONS: Mapping[str, _Section] = {
    "area": _Section(
        {
            "mac_um2": _Amount("mac_area_m2", 1 / UM2_PER_M2, 0, above=True),
            "register_um2_per_bit": _Amount("register_area_m2_per_bit", 1 / UM2_PER_M2, 0),
            "vector_lane_um2": _Amount("vector_lane_area_m2", 1 / UM2_PER_M2, 0),
            "logic_density": _Amount("logic_density", 1, 0, 1, above=True),
            "overhead_share": _Amount("area_overhead", 1, 0, 10),
        }
    ),
    "energy": _Section(
        {
            "mac_multiply_pj": _Amount("mac_multiply_j", PICO, 0),
            "mac_add_pj": _Amount("mac_add_j", PICO, 0),
            "register_pj_per_bit": _Amount("register_j_per_bit", PICO, 0),
            "vector_operation_pj": _Amount("vector_operation_j", PICO, 0),
            "wire_pj_per_bit_mm": _Amount("wire_j_per_bit_m", PICO * 1e3, 0),
            "clock_share": _Amount("clock_share", 1, 0, 10),
        }
    ),
    "leakage": _Section(
        {
            "logic_uw_per_um2": _Amount("logic_leakage_w_per_m2", 1e-6 * UM2_PER_M2, 0),
            "idle_retained_share": _Amount("idle_retained_share", 1, 0, 1),
            "idle_gated_share": _Amount("idle_gated_share", 1, 0, 1),
        }
    ),
    "memory": _Section(
        {
            "sram_area_scale": _Amount("sram_area_scale", 1, 0, 1e3, above=True),
            "sram_energy_scale": _Amount("sram_energy_scale", 1, 0, 1e3, above=True),
            "sram_leakage_scale": _Amount("sram_leakage_scale", 1, 0, 1e6),
            "sram": Choice(SRAM_NAMES, kind="sram"),
            "dram": Choice(DRAM_NAMES, kind="dram"),
        }
    ),
}
_RULES: Mapping[str, Rule | Table] = {
    "name": _name,
    "node_nm": _Amount("node_nm", 1, 1, 250),
    "voltage_v": _Amount("voltage_v", 1, 0, 5, above=True),
    "voltage_low_v": _Amount("voltage_low_v", 1, 0, 5, above=True),
    "voltage_high_v": _Amount("voltage_high_v", 1, 0, 5, above=True),
    "threshold_v": _Amount("threshold_v", 1, 0, 5),
    "alpha": _Amount("alpha", 1, 1, 2),
    "frequency_mhz": _Amount("frequency_hz", 1e6, 0, 1e5, above=True),
    "accumulators": _Amount("accumulators", 1, 1, 64),
    "partial_sum_bits": _Amount("partial_sum_bytes", 1 / 8, 8, 64),
    "global_bandwidth_words": _Amount("global_bandwidth", 1, 1, 65536),
    "array": Choice(ARRAYS, kind="array"),
    **_SECTIONS,
}


def _merged(document: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """A file with what it leaves out taken from its `base`."""
    if "base" not in document:
        return document
    base = document["base"]
    if base not in TECHNOLOGY_NAMES:
        raise InputError(unknown_name(f"{where}: base", "technology", str(base), TECHNOLOGY_NAMES))
    inherited = _read_builtin(base)
    merged: dict[str, Any] = {**inherited, **{k: v for k, v in document.items() if k != "base"}}
    for section in _SECTIONS:
        given = document.get(section, {})
        if isinstance(given, Mapping):
            merged[section] = {**inherited[section], **given}
    return merged


def _unknown_key(prefix: str, key: str, known: Collection[str]) -> Problem:
    return Problem(prefix + key, "unknown key", hint=nearest(key, known))


def _parse(given: Mapping[str, Any], where: str) -> Technology:
    """The technology of a parsed file.

    Raises:
        InputError: with every problem.
    """
    problems = Problems()
    whole = {"name": None} | {section: {} for section in _SECTIONS} | dict(_merged(given, where))
    read = read_table(whole, _RULES, f"{where}: ", problems, unknown=_unknown_key)
    found = {key: value for key, value in read.items() if key not in _SECTIONS}
    for section in _SECTIONS:
        found |= read.get(section, {})
    amounts = {key: value for key, value in found.items() if isinstance(value, tuple)}
    values: dict[str, Any] = {key: value for key, value in found.items() if key not in amounts}
    values |= {field: value for field, value, _ in amounts.values()}
    problems += _voltage_problems(values, where)
    accumulators = values.get("accumulators", 1)
    if accumulators != 2 ** math.floor(math.log2(accumulators)):
        problems.append(Problem(f"{where}: accumulators", f"{accumulators:g} is not a power of two"))
    problems.finish()
    vector = facts("vector_operations")
    values["dram"] = dram_kind(values["dram"])
    values["accumulators"] = round(accumulators)
    return Technology(
        vector_operations=MappingProxyType({kind: vector[f"{kind}_operations"].value for kind in VECTOR_KINDS}),
        vector_passes=MappingProxyType({kind: vector[f"{kind}_passes"].value for kind in VECTOR_KINDS}),
        sources=MappingProxyType({key: source for key, (*_, source) in amounts.items()}),
        **values,
    )


def _voltage_problems(values: Mapping[str, Any], where: str) -> list[Problem]:
    """What is wrong with voltages that are each fine: threshold < low ≤ nominal ≤ high."""
    order = ("threshold_v", "voltage_low_v", "voltage_v", "voltage_high_v")
    found = []
    for lower, upper in pairwise(order):
        if lower in values and upper in values:
            low, high = values[lower], values[upper]
            if low > high or (lower == "threshold_v" and low == high):
                found.append(Problem(f"{where}: {upper}", f"{high:g} is not above {lower} = {low:g}"))
    return found


@cache
def _builtin(name: str) -> Technology:
    return _parse(_read_builtin(name), name)


def _read_builtin(name: str) -> dict[str, Any]:
    path = files("catransformers.data").joinpath(f"technologies/{name}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def technology(name_or_path: str) -> Technology:
    """A technology by its name, or read from a user's TOML file.

    A user's file may start with `base = "default-22nm"` and then give only what differs.

    Args:
        name_or_path: one of `TECHNOLOGY_NAMES`, or the path of a file that ends in `.toml`.

    Raises:
        InputError: for an unknown name, a file that cannot be read or is not TOML, and for every unknown, missing or
            impossible value in it (NaN and infinity included), all at once.
    """
    if name_or_path in TECHNOLOGY_NAMES:
        return _builtin(name_or_path)
    path = Path(name_or_path)
    if path.suffix != ".toml":
        raise InputError(unknown_name("technology", "technology", name_or_path, TECHNOLOGY_NAMES))
    return _parse(read_toml(path, "a technology's TOML file"), name_or_path)
