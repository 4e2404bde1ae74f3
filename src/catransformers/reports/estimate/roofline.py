"""The roofline of a design: how fast each operator runs, and which roof is above it.

An operator of I operations a byte can run at no more than min(peak, I · bandwidth): under the flat roof it is limited
by arithmetic, under a slope by the memory that feeds it. Everything comes through the local buffers and the global one
and, where weights are streamed, from DRAM: an operator is a point a memory, on one level. A product has two operations
a multiply-accumulate; a vector operator has the steps of its lanes, and a flat roof of its own. What rides on a product
runs in that product's time and has no point.

Reference: S. Williams, A. Waterman, D. Patterson, *Roofline*, CACM 52(4), 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from catransformers.designs.estimate import Estimate
from catransformers.reports.wording import plural
from catransformers.units import GIGA

#: Points nearer than this, in decades, share a label.
_SAME = 0.035
#: An operator ran by itself if it took, rounding aside, no fewer cycles than its busiest resource.
_ALONE = 1 - 1e-9

#: Memory → what it is called, and its marker in static and interactive pictures.
MEMORIES = {
    "local": ("local buffers", "s", "square-open"),
    "dram": ("DRAM", "D", "diamond-open"),
    "global": ("global buffer", "o", "circle"),
}


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """One operator, all its runs.

    Args:
        row: its number among the rows of the estimate.
        name, component, kind: what it is.
        operations: two a multiply-accumulate; of a vector operator, steps of lanes.
        gops: achieved, 10⁹ operations a second.
        share: of the latency of an inference.
        bound: the resource that sets its pace.
        intensity: operations a byte through `global` and, where it moves any, `local` and `dram`.
    """

    row: int
    name: str
    component: str
    kind: str
    operations: float
    gops: float
    share: float
    bound: str
    intensity: dict[str, float]

    @property
    def label(self) -> str:
        """Component and name."""
        return f"{self.component} {self.name}" if self.component else self.name


@dataclass(frozen=True, slots=True)
class Roofline:
    """Roofs and operators of a design.

    Args:
        points: the operators that run by themselves, longest first.
        riding: how many others ride on a product.
        peak_gops: of the multipliers; `vector_gops` of the vector unit, 10⁹ operations a second.
        bandwidth: of `local` (all cores'), `global` and, if weights are streamed, `dram`, 10⁹ bytes a second.
    """

    points: tuple[RooflinePoint, ...]
    riding: int
    peak_gops: float
    vector_gops: float
    bandwidth: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The roofs as plain data with stable keys: `roofline` in `estimate --json`."""
        return {
            "peak_gops": self.peak_gops,
            "vector_gops": self.vector_gops,
            "bandwidth_gb_per_s": dict(self.bandwidth),
        }

    @property
    def intensities(self) -> tuple[float, float]:
        """Lowest and highest operations a byte that a picture needs: of the points and of the ridges."""
        ridges = [self.peak_gops / bandwidth for bandwidth in self.bandwidth.values()]
        found = [value for point in self.points for value in point.intensity.values()] + ridges
        return min(found), max(found)

    @property
    def bottom(self) -> float:
        """10⁹ operations a second where a picture begins."""
        return min([point.gops for point in self.points] + [self.vector_gops]) / 2


def roofline(estimate: Estimate) -> Roofline:
    """The roofline of a design, from the busy cycles and bytes of its operators."""
    cost, tech = estimate.cost, estimate.technology
    points, riding = [], 0
    for number, row in enumerate(cost.rows):
        if row.cycles < max(row.busy_cycles.values()) * _ALONE or not row.bytes_moved["global"]:
            riding += 1
            continue
        operations = 2.0 * row.m * row.k * row.n * row.count
        if row.kind != "gemm":
            operations = row.m * row.n * row.count * tech.vector_operations[row.kind]
        moved = {name: row.bytes_moved[name] for name in MEMORIES if row.bytes_moved[name] > 0}
        points.append(
            RooflinePoint(
                number,
                row.name,
                row.component,
                row.kind,
                operations,
                operations / row.latency_s / GIGA,
                row.latency_s / cost.latency_s,
                row.bound,
                {name: operations / count for name, count in moved.items()},
            )
        )
    machine = estimate.accelerator
    bandwidth = {
        "local": machine.cores * machine.local_bandwidth * cost.frequency_hz / GIGA,
        "global": tech.global_bandwidth * cost.frequency_hz / GIGA,
    }
    if not cost.resident:
        bandwidth["dram"] = tech.dram.bandwidth / GIGA
    return Roofline(
        tuple(sorted(points, key=lambda point: -point.share)),
        riding,
        2 * machine.pes * cost.frequency_hz / GIGA,
        machine.cores * machine.pe_x * cost.frequency_hz / GIGA,
        bandwidth,
    )


def caption(found: Roofline) -> str:
    """What the picture shows, in words."""
    text = (
        "Each circle is an operator at the bytes that it moves through the global buffer; its area is its share of the "
        "latency, its colour the part of the model."
    )
    also = " and a diamond at those from and to DRAM" if "dram" in found.bandwidth else ""
    text += (
        f" A square is the same operator at the bytes through the local buffers{also}: where it meets that memory's "
    )
    text += "roof, the memory sets its pace."
    text += " Vector operators count steps of lanes and are below their own roof."
    if found.riding:
        text += f" {plural(found.riding, 'operator')} that ride on a product are not drawn."
    return text


def roof_lines(found: Roofline) -> dict[str, tuple[list[float], list[float]]]:
    """Each roof as a line by name: x in operations a byte, y in 10⁹ operations a second.

    The slopes go from the left or the bottom of the picture to the multipliers' peak; the flat roofs span the picture.
    """
    low, high = found.intensities
    low, high = low / 2, high * 2
    lines = {}
    for memory, bandwidth in found.bandwidth.items():
        start = max(low, found.bottom / bandwidth)
        ends = [start, found.peak_gops / bandwidth], [start * bandwidth, found.peak_gops]
        lines[f"{MEMORIES[memory][0]}, {bandwidth:,.4g} GB/s"] = ends
    lines[f"multipliers, {found.peak_gops:,.4g} GOPS"] = ([low, high], [found.peak_gops] * 2)
    lines[f"vector unit, {found.vector_gops:,.4g} GOPS"] = ([low, high], [found.vector_gops] * 2)
    return lines


def grouped(found: Roofline) -> list[list[RooflinePoint]]:
    """The operators by falling share of the latency, near ones together: those share a label."""
    groups: list[list[RooflinePoint]] = []
    for point in found.points:
        for members in groups:
            first = members[0]
            across = abs(math.log10(point.intensity["global"] / first.intensity["global"]))
            if across < _SAME and abs(math.log10(point.gops / first.gops)) < _SAME:
                members.append(point)
                break
        else:
            groups.append([point])
    return groups
