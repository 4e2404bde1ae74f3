"""Technologies: what every component costs in energy, area and leakage, and at which clock and voltage.

A technology is a TOML file. Its numbers are given in the unit that their key names, or as the name of a row of the
fact table `components`, which holds the source and the range; memories and DRAM are named tables. Everything is
turned to SI here, once. Clock and voltage are given at the nominal operating point; others follow by the alpha-power
law (`voltage`).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from catransformers.errors import InputError, Problem, nearest, unknown_name
from catransformers.facts import facts
from catransformers.hardware.voltage import relative_clock
from catransformers.units import GIGA, MILLI, PICO, UM2_PER_M2, as_float

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


#: Section → key → (field, factor to SI, lowest value, whether the lowest itself is allowed, greatest value).
_NUMBERS: Mapping[str, Mapping[str, tuple[str, float, float, bool, float]]] = {
    "": {
        "node_nm": ("node_nm", 1, 1, True, 250),
        "voltage_v": ("voltage_v", 1, 0, False, 5),
        "voltage_low_v": ("voltage_low_v", 1, 0, False, 5),
        "voltage_high_v": ("voltage_high_v", 1, 0, False, 5),
        "threshold_v": ("threshold_v", 1, 0, True, 5),
        "alpha": ("alpha", 1, 1, True, 2),
        "frequency_mhz": ("frequency_hz", 1e6, 0, False, 1e5),
        "accumulators": ("accumulators", 1, 1, True, 64),
        "partial_sum_bits": ("partial_sum_bytes", 1 / 8, 8, True, 64),
        "global_bandwidth_words": ("global_bandwidth", 1, 1, True, 65536),
    },
    "area": {
        "mac_um2": ("mac_area_m2", 1 / UM2_PER_M2, 0, False, math.inf),
        "register_um2_per_bit": ("register_area_m2_per_bit", 1 / UM2_PER_M2, 0, True, math.inf),
        "vector_lane_um2": ("vector_lane_area_m2", 1 / UM2_PER_M2, 0, True, math.inf),
        "logic_density": ("logic_density", 1, 0, False, 1),
        "overhead_share": ("area_overhead", 1, 0, True, 10),
    },
    "energy": {
        "mac_multiply_pj": ("mac_multiply_j", PICO, 0, True, math.inf),
        "mac_add_pj": ("mac_add_j", PICO, 0, True, math.inf),
        "register_pj_per_bit": ("register_j_per_bit", PICO, 0, True, math.inf),
        "vector_operation_pj": ("vector_operation_j", PICO, 0, True, math.inf),
        "wire_pj_per_bit_mm": ("wire_j_per_bit_m", PICO * 1e3, 0, True, math.inf),
        "clock_share": ("clock_share", 1, 0, True, 10),
    },
    "leakage": {
        "logic_uw_per_um2": ("logic_leakage_w_per_m2", 1e-6 * UM2_PER_M2, 0, True, math.inf),
        "idle_retained_share": ("idle_retained_share", 1, 0, True, 1),
        "idle_gated_share": ("idle_gated_share", 1, 0, True, 1),
    },
    "memory": {
        "sram_area_scale": ("sram_area_scale", 1, 0, False, 1e3),
        "sram_energy_scale": ("sram_energy_scale", 1, 0, False, 1e3),
        "sram_leakage_scale": ("sram_leakage_scale", 1, 0, True, 1e6),
    },
}
_NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "": {"array": ARRAYS},
    "memory": {"sram": SRAM_NAMES, "dram": DRAM_NAMES},
}


def _number(where: str, raw: object, rule: tuple[str, float, float, bool, float]) -> tuple[float, str] | Problem:
    """A value in SI and its source, from a number or the name of a fact."""
    _, factor, low, inclusive, high = rule
    source = "given in the technology file"
    if isinstance(raw, str):
        table = facts("components")
        if raw not in table:
            return unknown_name(where, "fact", raw, table)
        value, source = table[raw].value, table[raw].source
    elif isinstance(raw, int | float) and not isinstance(raw, bool):
        value = as_float(raw)
    else:
        return Problem(where, f"{raw!r} is neither a number nor the name of a fact")
    if not math.isfinite(value) or not low <= value <= high or (value == low and not inclusive):
        bounds = f"{'from' if inclusive else 'above'} {low:g}" + (f" to {high:g}" if math.isfinite(high) else "")
        return Problem(where, f"{value} is out of range", f"a number {bounds}")
    return value * factor, source


def _merged(document: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """A file with what it leaves out taken from its `base`."""
    if "base" not in document:
        return document
    base = document["base"]
    if base not in TECHNOLOGY_NAMES:
        raise InputError(unknown_name(f"{where}: base", "technology", str(base), TECHNOLOGY_NAMES))
    inherited = _read_builtin(base)
    merged: dict[str, Any] = {**inherited, **{k: v for k, v in document.items() if k != "base"}}
    for section in filter(None, _NUMBERS):
        given = document.get(section, {})
        if isinstance(given, Mapping):
            merged[section] = {**inherited[section], **given}
    return merged


def _section(
    prefix: str, content: Mapping[str, Any], section: str, values: dict[str, Any], sources: dict[str, str]
) -> list[Problem]:
    """Read the numbers and names of one section into `values` and `sources`; its problems."""
    problems: list[Problem] = []
    for key, rule in _NUMBERS[section].items():
        if key not in content:
            problems.append(Problem(prefix + key, "missing"))
            continue
        result = _number(prefix + key, content[key], rule)
        if isinstance(result, Problem):
            problems.append(result)
        else:
            values[rule[0]], sources[key] = result
    for key, options in _NAMES.get(section, {}).items():
        if key not in content:
            problems.append(Problem(prefix + key, "missing", ", ".join(options)))
        elif content[key] not in options:
            problems.append(unknown_name(prefix + key, key, str(content[key]), options))
        else:
            values[key] = content[key]
    return problems


def _parse(given: Mapping[str, Any], where: str) -> Technology:
    """The technology of a parsed file.

    Raises:
        InputError: with every problem.
    """
    document = _merged(given, where)
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if not isinstance(document.get("name"), str) or not document["name"].strip():
        problems.append(Problem(f"{where}: name", "missing or not text"))
    for section, keys in _NUMBERS.items():
        content = document.get(section, {}) if section else document
        prefix = f"{where}: {section}." if section else f"{where}: "
        if not isinstance(content, Mapping):
            problems.append(Problem(f"{where}: {section}", "is not a table"))
            continue
        known = {*keys, *_NAMES.get(section, {}), *(() if section else ("name", *filter(None, _NUMBERS)))}
        problems += [
            Problem(prefix + key, "unknown key", hint=nearest(key, known)) for key in content if key not in known
        ]
        problems += _section(prefix, content, section, values, sources)
    problems += _voltage_problems(values, where)
    accumulators = values.get("accumulators", 1)
    if accumulators != 2 ** math.floor(math.log2(accumulators)):
        problems.append(Problem(f"{where}: accumulators", f"{accumulators:g} is not a power of two"))
    if problems:
        raise InputError(problems)
    vector = facts("vector_operations")
    values["dram"] = dram_kind(values["dram"])
    values["accumulators"] = round(accumulators)
    return Technology(
        name=document["name"],
        vector_operations=MappingProxyType({kind: vector[f"{kind}_operations"].value for kind in VECTOR_KINDS}),
        vector_passes=MappingProxyType({kind: vector[f"{kind}_passes"].value for kind in VECTOR_KINDS}),
        sources=MappingProxyType(sources),
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
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(name_or_path, f"cannot be read: {error}")) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(Problem(name_or_path, f"is not valid TOML: {error}")) from error
    return _parse(document, name_or_path)
