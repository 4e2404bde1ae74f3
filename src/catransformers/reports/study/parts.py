"""Breakdowns of a total: carbon by part, energy by component, latency by operator."""

from __future__ import annotations

from dataclasses import dataclass

from catransformers.designs.estimate import Estimate

#: Operators shown by name; the rest of each encoder is summed.
SHOWN_OPERATORS = 8

ENERGY_NAMES = {
    "mac": "multipliers",
    "register": "registers",
    "local": "local buffers",
    "global": "global buffer",
    "dram": "DRAM",
    "vector": "vector unit",
    "clock": "clock",
    "leakage": "leakage",
}


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a total: `key` names its colour, `name` is for people."""

    key: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """The time of one kind of operator in one encoder, over all its layers."""

    component: str
    name: str
    latency_s: float
    bound: str


def carbon_parts(estimate: Estimate) -> tuple[Share, ...]:
    """Die, DRAM, package and use, kgCO2e."""
    print_ = estimate.footprint
    return (
        Share("die", "die", float(print_.die_kg)),
        Share("dram", "DRAM", float(print_.dram_kg)),
        Share("package", "package", float(print_.package_kg)),
        Share("operational", "use", float(print_.operational_kg)),
    )


def energy_parts(estimate: Estimate) -> tuple[Share, ...]:
    """Energy of one inference by component, J, in the order of `ENERGY_NAMES`."""
    sums = dict.fromkeys(ENERGY_NAMES, 0.0)
    for row in estimate.cost.rows:
        for component, joules in row.energy_split_j.items():
            sums[component] = sums.get(component, 0.0) + joules
    return tuple(Share(key, ENERGY_NAMES.get(key, key), joules) for key, joules in sums.items())


def operator_rows(estimate: Estimate) -> tuple[OperatorTime, ...]:
    """The operators that take most time, longest first, and the rest of each encoder in one row."""
    rows = [OperatorTime(row.component, row.name, row.latency_s, row.bound) for row in estimate.cost.rows]
    rows.sort(key=lambda row: -row.latency_s)
    shown, rest = rows[:SHOWN_OPERATORS], rows[SHOWN_OPERATORS:]
    for component in dict.fromkeys(row.component for row in rest):
        own = [row for row in rest if row.component == component]
        bounds = {row.bound for row in own}
        bound = bounds.pop() if len(bounds) == 1 else "several resources"
        shown.append(
            OperatorTime(component, f"other {component} ({len(own)})", sum(row.latency_s for row in own), bound)
        )
    return tuple(shown)
