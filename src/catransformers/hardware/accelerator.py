"""The hardware template: one accelerator, and a table of many as arrays.

An accelerator is `cores` tensor cores, each an array of `pe_x` × `pe_y` multiply-accumulate units with a local buffer
and a vector unit of `pe_x` lanes, around one shared global buffer (section 4.2 of the design). What a unit costs is the
technology's matter; a space of accelerators is an `AcceleratorTable`, a structure of arrays. The supply voltage is an
attribute too: another operating point (DVFS) of the same silicon is another accelerator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catransformers.errors import Problem, Problems, nearest
from catransformers.reading import Number, from_to
from catransformers.units import KIB, MIB, TERA

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def _whole(low: float, high: float) -> Number:
    return Number(low, high, step=1, allowed=from_to(low, high, "an integer"))


def _amount(low: float, high: float) -> Number:
    return Number(low, high, allowed=from_to(low, high))


#: Attribute → what it may be: what the component tables can cost.
LIMITS: Mapping[str, Number] = {
    "cores": _whole(1, 64),
    "pe_x": _whole(1, 1024),
    "pe_y": _whole(1, 1024),
    "local_kib": _amount(0.25, 16 * 1024),
    "local_bandwidth": _whole(1, 2048),
    "global_mib": _amount(1 / 64, 128),
    "voltage_v": _amount(0.2, 2.0),
}

ATTRIBUTES = tuple(LIMITS)
PLACE = "accelerator."
#: Those that may be left out: None (in tables NaN) is the technology's nominal value.
OPTIONAL = ("voltage_v",)
REQUIRED = tuple(name for name in ATTRIBUTES if name not in OPTIONAL)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One point of the hardware template.

    Args:
        cores: tensor cores.
        pe_x: processing elements of a core along x; also the lanes of its vector unit.
        pe_y: processing elements of a core along y.
        local_kib: local buffer of each core, KiB.
        local_bandwidth: words (8-bit values) a cycle that a local buffer reads and writes, together.
        global_mib: shared global buffer, MiB.
        voltage_v: supply, V; None is the technology's nominal. The clock follows it (`Technology.frequency_at`).

    Raises:
        InputError: for every value outside `LIMITS`, all at once.
    """

    cores: int
    pe_x: int
    pe_y: int
    local_kib: float
    local_bandwidth: int
    global_mib: float
    voltage_v: float | None = None

    def __post_init__(self) -> None:
        problems = Problems()
        for name, rule in LIMITS.items():
            value = getattr(self, name)
            if value is not None or name not in OPTIONAL:
                problems.of(rule, value, PLACE + name)
        problems.finish()

    @classmethod
    def parse(cls, text: str) -> Accelerator:
        """Read `cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2` (any order, spaces ignored).

        `voltage_v=0.7` may be added.

        Raises:
            InputError: for every unknown, missing, repeated or bad attribute, all at once.
        """
        problems = Problems()
        values: dict[str, float] = {}
        for item in filter(None, (part.strip() for part in text.strip().strip("{}").split(","))):
            name, separator, raw = (part.strip() for part in item.partition("="))
            if not separator:
                problems.append(Problem("accelerator", f"{item!r} is not name=value", ", ".join(ATTRIBUTES)))
            elif name not in LIMITS:
                hint = nearest(name, ATTRIBUTES)
                problems.append(Problem("accelerator", f"unknown attribute {name!r}", ", ".join(ATTRIBUTES), hint))
            elif name in values:
                problems.append(Problem(PLACE + name, "given twice"))
            else:
                values[name] = LIMITS[name].low
                try:
                    values[name] = float(raw)
                except ValueError:
                    problems.append(Problem(PLACE + name, f"{raw!r} is not a number"))
                problems.of(LIMITS[name], values[name], PLACE + name)
        missing = [name for name in REQUIRED if name not in values]
        if missing:
            problems.append(Problem("accelerator", f"missing {', '.join(missing)}"))
        problems.finish()
        return cls(**{name: int(v) if LIMITS[name].step else v for name, v in values.items()})  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, float]:
        """Plain data, in the order of the template; whole numbers as int, a nominal voltage left out."""
        values = {name: getattr(self, name) for name in ATTRIBUTES}
        return {name: int(v) if float(v).is_integer() else float(v) for name, v in values.items() if v is not None}

    def __str__(self) -> str:
        return ",".join(f"{name}={value!r}" for name, value in self.to_dict().items())

    @property
    def pes(self) -> int:
        """Multiply-accumulate units of all cores."""
        return self.cores * self.pe_x * self.pe_y

    def peak_tops(self, frequency_hz: float) -> float:
        """Tera-operations a second at full use of a clock, a multiply-accumulate counted as two operations."""
        return self.pes * (2 * frequency_hz / TERA)


@dataclass(frozen=True, slots=True, eq=False)
class AcceleratorTable:
    """Many accelerators as arrays of one length A; `table[i]` is the i-th as an `Accelerator`.

    A voltage of NaN is the technology's nominal one.
    """

    cores: IntArray
    pe_x: IntArray
    pe_y: IntArray
    local_kib: FloatArray
    local_bandwidth: IntArray
    global_mib: FloatArray
    voltage_v: FloatArray

    def __post_init__(self) -> None:
        if len({getattr(self, name).shape for name in ATTRIBUTES}) != 1 or self.cores.ndim != 1:
            raise ValueError("the columns of an accelerator table must be vectors of one length")

    @classmethod
    def of(cls, accelerators: Iterable[Accelerator]) -> AcceleratorTable:
        """The table of some accelerators, in their order."""
        rows = list(accelerators)
        columns = {name: [getattr(row, name) for row in rows] for name in REQUIRED}
        voltages = [math.nan if row.voltage_v is None else row.voltage_v for row in rows]
        return cls.from_columns({**columns, "voltage_v": voltages})

    @classmethod
    def from_columns(cls, columns: Mapping[str, npt.ArrayLike]) -> AcceleratorTable:
        """The table of equally long columns, by attribute name; voltages may be left out."""
        given = {"voltage_v": np.full(np.shape(columns["cores"]), np.nan), **columns}
        floats = {name: np.asarray(given[name], dtype=np.float64) for name in ATTRIBUTES}
        return cls(
            floats["cores"].astype(np.int64),
            floats["pe_x"].astype(np.int64),
            floats["pe_y"].astype(np.int64),
            floats["local_kib"],
            floats["local_bandwidth"].astype(np.int64),
            floats["global_mib"],
            floats["voltage_v"],
        )

    def __len__(self) -> int:
        return len(self.cores)

    def __getitem__(self, index: int) -> Accelerator:
        return Accelerator(
            int(self.cores[index]),
            int(self.pe_x[index]),
            int(self.pe_y[index]),
            float(self.local_kib[index]),
            int(self.local_bandwidth[index]),
            float(self.global_mib[index]),
            None if math.isnan(self.voltage_v[index]) else float(self.voltage_v[index]),
        )

    def __iter__(self) -> Iterator[Accelerator]:
        return (self[i] for i in range(len(self)))

    def select(self, index: npt.ArrayLike) -> AcceleratorTable:
        """The rows of a boolean mask (A,) or of indices."""
        chosen = np.asarray(index)
        return AcceleratorTable(**{name: getattr(self, name)[chosen] for name in ATTRIBUTES})

    def columns(self) -> dict[str, IntArray | FloatArray]:
        """The columns by name."""
        return {name: getattr(self, name) for name in ATTRIBUTES}

    @property
    def pes(self) -> IntArray:
        """Multiply-accumulate units of each accelerator (A,)."""
        return self.cores * self.pe_x * self.pe_y

    @property
    def local_bytes(self) -> FloatArray:
        """Bytes of one core's local buffer (A,)."""
        return self.local_kib * KIB

    @property
    def global_bytes(self) -> FloatArray:
        """Bytes of the global buffer (A,)."""
        return self.global_mib * MIB

    def peak_tops(self, frequency_hz: float | FloatArray) -> FloatArray:
        """Tera-operations a second at full use (A,), two operations a multiply-accumulate; clocks one or (A,)."""
        return np.asarray(self.pes * (2 * frequency_hz / TERA), dtype=np.float64)


def distinct_rows(rows: FloatArray) -> tuple[FloatArray, IntArray]:
    """The distinct rows of a matrix (N, C), sorted, and for each row which of them it is, (N,); quick for one row."""
    if len(rows) == 1:
        return rows, np.zeros(1, dtype=np.int64)
    found, inverse = np.unique(rows, axis=0, return_inverse=True)
    return found, inverse.ravel()
