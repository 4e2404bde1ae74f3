"""Everything around the die: DRAM, storage, packages and boards, by amount.

    memory = GB·(kg/GB)/Y,   package = ICs·(kg/IC),   board = area·(kg/m²)

Source: ACT's tables of memory makers' reports, package and board (tables `memory_carbon`, `embodied_other`).
The memory makers' yield is applied as ACT does (0.875 for DRAM and flash; none for disks).
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from catransformers.carbon.ranges import Range
from catransformers.errors import InputError, Problem, unknown_name
from catransformers.facts import facts, rows
from catransformers.units import G_PER_KG

MemoryClass = Literal["dram", "ssd", "hdd"]
MEMORY_CLASSES: tuple[MemoryClass, ...] = ("dram", "ssd", "hdd")
Package = Literal["none", "per-package", "per-area"]
PACKAGES: tuple[Package, ...] = ("none", "per-package", "per-area")


@cache
def memory_kinds(memory_class: MemoryClass) -> tuple[str, ...]:
    """The names of all DRAM, SSD or HDD kinds of the table."""
    return tuple(row["name"] for row in rows("memory_carbon") if row["class"] == memory_class)


def default_memory_yield(memory_class: MemoryClass) -> float:
    """The yield that ACT divides by: 0.875, and 1 for disks."""
    return facts("embodied_other")["hdd_yield" if memory_class == "hdd" else "dram_yield"].value


def memory_per_gb(kind: str, memory_class: MemoryClass = "dram", *, where: str = "dram_kind") -> Range:
    """kg per GB of a kind of memory, before yield.

    Raises:
        InputError: for an unknown kind.
    """
    if kind not in memory_kinds(memory_class):
        raise InputError(unknown_name(where, f"kind of {memory_class}", kind, memory_kinds(memory_class)))
    return Range.of(facts("memory_carbon")[kind], 1 / G_PER_KG)


def package_per_ic(package: Package) -> Range:
    """kg of packaging one IC: nothing, or ACT's average package (for `per-area`: that of the DRAM, bought packaged)."""
    if package == "none":
        return Range(0.0, 0.0, 0.0)
    return Range.of(facts("embodied_other")["package_per_ic"], 1 / G_PER_KG)


def board_carbon(area_m2: float, layers: int) -> float:
    """kg of a printed circuit board; layer counts that are not tabulated (2, 4, 6, 8) count per layer.

    Raises:
        InputError: for fewer than one layer or a negative area.
    """
    if layers < 1 or not 0 <= area_m2 < float("inf"):
        what = f"a board of {area_m2} m² and {layers} layers"
        raise InputError(Problem("board", what, allowed="area ≥ 0, layers ≥ 1"))
    table = facts("embodied_other")
    whole = table.get(f"board_{layers}_layers")
    per_m2 = whole.value if whole else layers * table["board_per_layer"].value
    return area_m2 * per_m2
