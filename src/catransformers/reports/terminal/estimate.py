"""One design in a terminal: latency, energy, area, carbon, every operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catransformers.designs.estimate import Estimate
from catransformers.reports.terminal.screen import carbon, console, quantity, table

_BLOCKS = {"mac": "array", "local": "local buffers", "vector": "vector unit", "global": "global buffer"}


def energy_by_operator(result: Estimate) -> Any:
    """Every operator's energy by component."""
    rows = result.cost.rows
    parts = [part for part in rows[0].energy_split_j if any(row.energy_split_j[part] > 0 for row in rows)]
    return table(
        "Energy by operator and component",
        ("part", "operator", *parts, "total"),
        [
            (
                row.component,
                row.name,
                *(quantity(row.energy_split_j[part], "J", 3) for part in parts),
                quantity(row.energy_j, "J", 3),
            )
            for row in rows
        ],
        left=2,
    )


def _silicon(result: Estimate) -> list[Sequence[str]]:
    """What the chip is made of and draws beside its work: rows of (what, value, note)."""
    cost = result.cost
    blocks = sorted(cost.area_split_m2.items(), key=lambda item: -item[1])
    split = ", ".join(f"{_BLOCKS.get(name, name)} {area / cost.area_m2:.0%}" for name, area in blocks if area > 0)
    over = cost.needed_bytes - cost.buffer_bytes
    fits = f"{_mebibytes(over)} too much for" if over > 0 else f"{_mebibytes(-over)} to spare in"
    mean = result.life_energy_j / result.scenario.period_s if result.meets_rate else result.power_w
    return [
        ("area", f"{result.area_mm2:.4g} mm²", split),
        ("memory needed", _mebibytes(cost.needed_bytes), f"{fits} the global buffer's {_mebibytes(cost.buffer_bytes)}"),
        ("SRAM cells", f"{cost.memories['local']}, {cost.memories['global']}", "local and global buffers"),
        ("clock", f"{cost.frequency_hz / 1e6:,.4g} MHz", ""),
        ("power", quantity(result.power_w, "W"), f"while it runs; {quantity(cost.peak_power_w, 'W')} at most"),
        ("idle power", quantity(cost.idle_w, "W"), f"while it waits; {quantity(mean, 'W')} on average over its life"),
    ]


def _mebibytes(count: float) -> str:
    """Bytes in MiB, or in KiB below one."""
    return f"{count / 2**20:,.4g} MiB" if count >= 2**20 else f"{count / 2**10:,.4g} KiB"


def show_estimate(name: str, result: Estimate) -> None:
    """The design, its cost, its chip, its carbon, every operator and the energy by component."""
    screen = console()
    dimensions = ", ".join(f"{key} {value}" for key, value in result.model.dimensions().items())
    screen.print(f"[bold]{name}[/] ({dimensions})")
    screen.print(f"on [bold]{result.accelerator}[/], {result.technology.name}, {result.tops:.3g} TOPS peak")
    screen.print(f"under {result.scenario.describe()}\n")
    screen.print(table("One inference", ("", "value", ""), _inference(result)))
    screen.print(table("The chip", ("", "value", ""), _silicon(result)))
    screen.print(table("Carbon over its life", ("", "value", ""), _carbon(result)))
    if not result.meets_rate:
        rate = f"{result.scenario.inferences_per_second:g} inferences a second"
        screen.print(
            f"[bold]One device cannot do that[/]: the scenario counts {rate}, this design manages "
            f"{1 / result.cost.latency_s:,.4g}. Use is counted for the inferences asked for, making for one device.\n"
        )
    titles = ("part", "operator", "kind", "shape (m × k × n)", "times", "cycles", "busy", "bound by", "energy", "share")
    screen.print(table("Operators", titles, _operators(result), left=4))
    screen.print(table("Energy by component", ("component", "energy", "share"), _energy_by_component(result)))


def _inference(result: Estimate) -> list[Sequence[str]]:
    cost = result.cost
    where = "on chip, no DRAM" if cost.resident else "in DRAM, streamed for each inference"
    per_operation = quantity(cost.energy_j / (2 * result.macs), "J")
    return [
        ("parameters", f"{result.parameters:,}", f"weights {where}"),
        ("work", quantity(result.macs, "MAC"), ""),
        ("latency", quantity(cost.latency_s, "s"), f"{1 / cost.latency_s:,.4g} a second at most"),
        ("energy", quantity(cost.energy_j, "J"), f"{per_operation} per operation"),
    ]


def _carbon(result: Estimate) -> list[Sequence[str]]:
    made, (low, _, high) = result.footprint, result.range_kg
    return [
        ("die", carbon(float(made.die_kg)), ""),
        ("DRAM", carbon(float(made.dram_kg)), ""),
        ("package", carbon(float(made.package_kg)), ""),
        ("use", carbon(float(made.operational_kg)), f"{result.scenario.inferences:,.0f} inferences"),
        ("total", carbon(float(made.total_kg)), f"{carbon(low)} to {carbon(high)}: p5 to p95"),
    ]


def _operators(result: Estimate) -> list[Sequence[str]]:
    return [
        (
            row.component,
            row.name,
            row.kind,
            f"{row.m} × {row.k} × {row.n}" if row.kind == "gemm" else f"{row.m} × {row.n}",
            f"{row.count:,.6g}",
            f"{row.cycles:,.0f}",
            f"{row.utilization:.0%}",
            row.bound,
            quantity(row.energy_j, "J", 3),
            f"{row.energy_j / result.cost.energy_j:.1%}",
        )
        for row in result.cost.rows
    ]


def _energy_by_component(result: Estimate) -> list[Sequence[str]]:
    split: dict[str, float] = {}
    for row in result.cost.rows:
        for part, joules in row.energy_split_j.items():
            split[part] = split.get(part, 0.0) + joules
    return [
        (part, quantity(joules, "J"), f"{joules / result.cost.energy_j:.1%}")
        for part, joules in sorted(split.items(), key=lambda item: -item[1])
        if joules > 0
    ]
