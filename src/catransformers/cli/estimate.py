"""`catransformers estimate`: one model on one accelerator, explained operator by operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from catransformers.cli.inputs import (
    Collector,
    hardware_option,
    model_options,
    read_model,
    scenario_option,
    technology_option,
)
from catransformers.cli.output import carbon, console, json_option, print_json, quantity, table

if TYPE_CHECKING:
    from catransformers.design import Estimate


@click.command()
@model_options
@hardware_option
@technology_option
@scenario_option
@json_option
def estimate(
    model: str, settings: tuple[str, ...], hardware: str, technology: str, scenario: str, as_json: bool
) -> None:
    """Latency, energy, area and carbon of one model on one accelerator.

    Nothing is trained or measured: the figures come from the cost model and the carbon model, with every operator's
    cycles, utilisation, binding resource and energy.

    In the table, busy is the share of the multipliers' peak; bound by is what limits the operator: the multipliers
    (compute), a core's buffer (local), the shared buffer (global), DRAM, or the vector unit. An activation, sum or
    softmax that rides on the product before it adds no cycles of its own.

    \b
    Examples:
      catransformers estimate --model ViT-B-16 \\
        --hardware cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2
      catransformers estimate --model embedded --set text.layers=3 --scenario always-on --json \\
        --hardware cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1
    """
    from catransformers import design  # noqa: PLC0415
    from catransformers.hardware.accelerator import Accelerator  # noqa: PLC0415
    from catransformers.hardware.technology import technology as read_technology  # noqa: PLC0415

    collect = Collector()
    spec = collect(read_model, model, settings)
    machine = collect(Accelerator.parse, hardware)
    tech = collect(read_technology, technology)
    situation = collect(design.read_scenario, scenario)
    collect.finish()
    assert spec and machine and tech and situation  # noqa: S101 - finish() has raised otherwise
    result = design.estimate(spec, machine, technology=tech, scenario=situation)
    if as_json:
        print_json(result.to_dict())
    else:
        _show(model, result)


def _show(name: str, result: Estimate) -> None:
    screen = console()
    cost, print_ = result.cost, result.footprint
    dimensions = ", ".join(f"{key} {value}" for key, value in result.model.dimensions().items())
    screen.print(f"[bold]{name}[/] ({dimensions})")
    screen.print(f"on [bold]{result.accelerator}[/], {result.technology.name}, {result.tops:.3g} TOPS peak")
    screen.print(f"under {result.scenario.describe()}\n")
    where = "on chip, no DRAM" if cost.resident else "in DRAM, streamed for each inference"
    low, _, high = result.range_kg
    screen.print(
        table(
            "One inference",
            ("", "value", ""),
            [
                ("parameters", f"{result.parameters:,}", f"weights {where}"),
                ("work", quantity(result.macs, "MAC"), ""),
                ("latency", quantity(cost.latency_s, "s"), f"{1 / cost.latency_s:,.4g} a second at most"),
                (
                    "energy",
                    quantity(cost.energy_j, "J"),
                    f"{quantity(cost.energy_j / (2 * result.macs), 'J')} per operation",
                ),
                ("area", f"{cost.area_m2 * 1e6:.4g} mm²", "die"),
            ],
        )
    )
    screen.print(
        table(
            "Carbon over its life",
            ("", "value", ""),
            [
                ("die", carbon(float(print_.die_kg)), ""),
                ("DRAM", carbon(float(print_.dram_kg)), ""),
                ("package", carbon(float(print_.package_kg)), ""),
                ("use", carbon(float(print_.operational_kg)), f"{result.scenario.inferences:,.0f} inferences"),
                (
                    "total",
                    carbon(float(print_.total_kg)),
                    f"{carbon(low)} to {carbon(high)}: p5 to p95 of the carbon factors",
                ),
            ],
        )
    )
    if not result.meets_rate:
        rate = f"{result.scenario.inferences_per_second:g} inferences a second"
        screen.print(
            f"[bold]One device cannot do that[/]: the scenario counts {rate}, this design manages "
            f"{1 / cost.latency_s:,.4g}. Use is counted for the inferences asked for, making for one device.\n"
        )
    screen.print(
        table(
            "Operators",
            ("part", "operator", "kind", "shape (m × k × n)", "times", "cycles", "busy", "bound by", "energy", "share"),
            [
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
                    f"{row.energy_j / cost.energy_j:.1%}",
                )
                for row in cost.rows
            ],
            left=4,
        )
    )
    split: dict[str, float] = {}
    for row in cost.rows:
        for part, joules in row.energy_split_j.items():
            split[part] = split.get(part, 0.0) + joules
    screen.print(
        table(
            "Energy by component",
            ("component", "energy", "share"),
            [
                (part, quantity(joules, "J"), f"{joules / cost.energy_j:.1%}")
                for part, joules in sorted(split.items(), key=lambda item: -item[1])
                if joules > 0
            ],
        )
    )
