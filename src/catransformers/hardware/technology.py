"""Technologies: what every component costs in energy, area and leakage, and at which clock and voltage.

A technology is a TOML file. Its numbers are given in the unit that their key names, or as the name of a row of the
fact table `components`, which holds the source and the range; memories and DRAM are named tables. Everything is
turned to SI here, once. Frequency and voltage are attributes, so that another operating point is another value.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from catransformers.errors import InputError, Problem, nearest, unknown_name
from catransformers.facts import facts
from catransformers.units import GIGA, MILLI, PICO, UM2_PER_M2, as_float

TECHNOLOGY_NAMES = ("default-22nm", "paper")
SRAM_NAMES = ("cacti7-22nm", "paper")
DRAM_NAMES = ("lpddr2", "lpddr4", "ddr3", "gddr5", "hbm2", "paper")
ARRAYS = ("systolic", "broadcast")
VECTOR_KINDS = ("softmax", "norm", "activation", "add", "embedding")


@dataclass(frozen=True, slots=True)
class Dram:
    """Off-chip memory: `bandwidth` in bytes a second, `energy_j_per_byte` moved, `background_w` while the chip runs."""

    name: str
    bandwidth: float
    energy_j_per_byte: float
    background_w: float


@dataclass(frozen=True, slots=True)
class Technology:
    """Energy, area and leakage of every component of the template, in SI units.

    Args:
        name: what it is called.
        node_nm: process node, nm.
        voltage_v: supply.
        frequency_hz: clock of the whole chip.
        array: `systolic` (a fold pays its skew) or `broadcast` (operands reach all elements at once).
        accumulators: stationary values that a processing element holds, each as wide as a partial sum.
        partial_sum_bytes: bytes of a partial sum until its reduction is complete.
        global_bandwidth: words (8-bit values) a cycle that the global buffer reads and writes, together.
        mac_area_m2, register_area_m2_per_bit, vector_lane_area_m2: silicon of the logic.
        area_overhead: control and interconnect as a share of all other area.
        mac_multiply_j: an 8 × 8-bit product; other widths scale with the product of the widths.
        mac_add_j: an accumulation.
        register_j_per_bit: a register bit clocked; a multiply-accumulate clocks both operands and its partial sum.
        vector_operation_j: one step of one lane of the vector unit.
        wire_j_per_bit_m: a bit moved one metre on chip.
        control_energy: clock and control as a share of the dynamic energy of the logic.
        logic_leakage_w_per_m2: leakage of logic by its area.
        sram: name of the SRAM table, with `sram_area_scale`, `sram_energy_scale`, `sram_leakage_scale` on top.
        dram: the off-chip memory.
        vector_operations, vector_passes: steps a value, and reads of each value, by kind of vector operator.
        sources: where each number comes from, by its key in the file.
    """

    name: str
    node_nm: float
    voltage_v: float
    frequency_hz: float
    array: str
    accumulators: int
    partial_sum_bytes: float
    global_bandwidth: float
    mac_area_m2: float
    register_area_m2_per_bit: float
    vector_lane_area_m2: float
    area_overhead: float
    mac_multiply_j: float
    mac_add_j: float
    register_j_per_bit: float
    vector_operation_j: float
    wire_j_per_bit_m: float
    control_energy: float
    logic_leakage_w_per_m2: float
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
        """Register bits of a processing element: two 8-bit operands and its accumulators."""
        return 2 * 8 + 8 * self.partial_sum_bytes * self.accumulators

    def mac_j(self, weight_bits: int = 8, activation_bits: int = 8) -> float:
        """Energy of a multiply-accumulate of the given widths, J, its control included."""
        return (self.mac_multiply_j * weight_bits * activation_bits / 64 + self.mac_add_j) * (1 + self.control_energy)

    def register_j(self, weight_bits: int = 8, activation_bits: int = 8) -> float:
        """Energy of the registers of a processing element for one multiply-accumulate, J, their control included."""
        bits = weight_bits + activation_bits + 8 * self.partial_sum_bytes
        return bits * self.register_j_per_bit * (1 + self.control_energy)

    def lane_j(self) -> float:
        """Energy of one step of one vector lane, J, its control included."""
        return self.vector_operation_j * (1 + self.control_energy)


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
    )


#: Section → key → (field, factor to SI, lowest value, whether the lowest itself is allowed, greatest value).
_NUMBERS: Mapping[str, Mapping[str, tuple[str, float, float, bool, float]]] = {
    "": {
        "node_nm": ("node_nm", 1, 1, True, 250),
        "voltage_v": ("voltage_v", 1, 0, False, 5),
        "frequency_mhz": ("frequency_hz", 1e6, 0, False, 1e5),
        "accumulators": ("accumulators", 1, 1, True, 64),
        "partial_sum_bits": ("partial_sum_bytes", 1 / 8, 8, True, 64),
        "global_bandwidth_words": ("global_bandwidth", 1, 1, True, 65536),
    },
    "area": {
        "mac_um2": ("mac_area_m2", 1 / UM2_PER_M2, 0, False, math.inf),
        "register_um2_per_bit": ("register_area_m2_per_bit", 1 / UM2_PER_M2, 0, True, math.inf),
        "vector_lane_um2": ("vector_lane_area_m2", 1 / UM2_PER_M2, 0, True, math.inf),
        "overhead_share": ("area_overhead", 1, 0, True, 10),
    },
    "energy": {
        "mac_multiply_pj": ("mac_multiply_j", PICO, 0, True, math.inf),
        "mac_add_pj": ("mac_add_j", PICO, 0, True, math.inf),
        "register_pj_per_bit": ("register_j_per_bit", PICO, 0, True, math.inf),
        "vector_operation_pj": ("vector_operation_j", PICO, 0, True, math.inf),
        "wire_pj_per_bit_mm": ("wire_j_per_bit_m", PICO * 1e3, 0, True, math.inf),
        "control_share": ("control_energy", 1, 0, True, 10),
    },
    "leakage": {"logic_uw_per_um2": ("logic_leakage_w_per_m2", 1e-6 * UM2_PER_M2, 0, True, math.inf)},
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
        return _parse(_read_builtin(name_or_path), name_or_path)
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
