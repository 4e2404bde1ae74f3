"""`catransformers estimate`: one model on one accelerator, explained operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from catransformers.cli.inputs import (
    hardware_option,
    model_options,
    precision_options,
    read_model,
    scenario_option,
    technology_option,
)
from catransformers.cli.output import json_option, print_json
from catransformers.designs import estimate as design
from catransformers.designs.estimate import Estimate
from catransformers.designs.explain import QUANTITIES, Change, Explanation, explain, peak_power_w
from catransformers.errors import InputError, Problem, Problems
from catransformers.files import write_whole
from catransformers.hardware.accelerator import Accelerator
from catransformers.hardware.technology import technology as read_technology
from catransformers.reports.estimate.explanation import conclusions, effect, findings, what
from catransformers.reports.estimate.roofline import roofline
from catransformers.reports.estimate.roofline_page import roofline_page, roofline_picture
from catransformers.reports.terminal.screen import carbon, console, quantity, table
from catransformers.reports.wording import breakable
from catransformers.workloads.operators import Workload

if TYPE_CHECKING:
    from rich.console import Console


#: Pictures that `--roofline` writes.
_PICTURES = (".svg", ".png", ".html")
_BLOCKS = {"mac": "array", "local": "local buffers", "vector": "vector unit", "global": "global buffer"}


@click.command()
@model_options
@hardware_option
@precision_options
@technology_option
@scenario_option
@click.option("--explain", "explained", is_flag=True, help="Say what binds, and what would help most.")
@click.option("--energy", is_flag=True, help="Show every operator's energy by component.")
@click.option(
    "--roofline",
    "picture",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw every operator under the roofs: .svg, .png or .html (interactive).",
)
@json_option
def estimate(
    model: str,
    settings: tuple[str, ...],
    hardware: str,
    weight_bits: int,
    activation_bits: int,
    technology: str,
    scenario: str,
    explained: bool,
    energy: bool,
    picture: Path | None,
    as_json: bool,
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
        --hardware cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2 --explain
      catransformers estimate --model embedded --set text.layers=3 --scenario always-on --json \\
        --hardware cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1
    """

    problems = Problems()
    spec = problems.of(read_model, model, settings)
    machine = problems.of(Accelerator.parse, hardware)
    tech = problems.of(read_technology, technology)
    situation = problems.of(design.read_scenario, scenario)
    problems.of(Workload("", (), 0, 0).with_bits, weight_bits, activation_bits)
    problems.of(_check_picture, picture)
    problems.finish()
    assert spec and machine and tech and situation  # noqa: S101 - finish() has raised otherwise
    result = design.estimate(
        spec,
        machine,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        technology=tech,
        scenario=situation,
    )
    explanation = explain(result) if explained else None
    if picture is not None:
        _draw(result, f"{model} on {machine}", picture)
    if as_json:
        print_json(_object(result, explanation, picture))
        return
    _show(model, result)
    screen = console()
    if explained or energy:
        screen.print(_energy_by_operator(result))
    if explanation is not None:
        _explain(screen, explanation)
    if picture is not None:
        screen.print(f"Written: {picture}", highlight=False, markup=False, soft_wrap=True)


def _check_picture(path: Path | None) -> None:
    if path is not None and path.suffix.lower() not in _PICTURES:
        raise InputError(Problem(f"--roofline {path}", "no kind of picture", ", ".join(_PICTURES)))


def _draw(result: Estimate, title: str, path: Path) -> None:

    kind = path.suffix.lower()[1:]
    if kind == "html":
        write_whole(path, roofline_page(result, title))
    else:
        write_whole(path, roofline_picture(result, title, cast(Literal["svg", "png"], kind)))


def _object(result: Estimate, explanation: Explanation | None, picture: Path | None) -> dict[str, Any]:
    """What `--json` prints: the estimate, and what else was asked for."""
    data = result.to_dict()
    if explanation is not None:
        data["explain"] = {
            **explanation.to_dict(),
            "findings": [breakable(text) for text in findings(explanation)],
            "conclusions": {name: breakable(text) for name, text in conclusions(explanation).items()},
        }
    if picture is not None:
        found = roofline(result)
        data["roofline"] = found.to_dict()
        points = {point.row: point for point in found.points}
        for number, row in enumerate(data["breakdown"]):
            point = points.get(number)
            row["gops"] = None if point is None else point.gops
            row["intensity_ops_per_byte"] = None if point is None else dict(point.intensity)
    return data


def _explain(screen: Console, explanation: Explanation) -> None:
    """What binds, the neighbours as a table, and the conclusions."""

    screen.print("[bold]What binds now[/]\n")
    for sentence in findings(explanation):
        screen.print(f"  {breakable(sentence)}", markup=False)
    screen.print()
    screen.print(
        table(
            "What a change would do, by carbon",
            ("change", "what", *QUANTITIES, ""),
            [
                (
                    change.name,
                    what(change),
                    *(breakable(effect(change.relative[name])) for name in QUANTITIES),
                    _notes(change, explanation.estimate),
                )
                for change in explanation.changes
            ],
            left=2,
        )
    )
    for sentence in conclusions(explanation).values():
        screen.print(breakable(sentence), markup=False)


def _notes(change: Change, estimate: Estimate) -> str:
    """What else a change brings: the weights on or off the chip, a rate that is not met, an open question."""
    notes = []
    if change.weights_on_chip != estimate.cost.resident:
        notes.append("fits on chip" if change.weights_on_chip else "needs DRAM")
    if change.meets_rate != estimate.meets_rate:
        notes.append("fast enough" if change.meets_rate else "too slow")
    if change.outlook:
        notes.append("accuracy unknown")
    return ", ".join(notes)


def _energy_by_operator(result: Estimate) -> Any:
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
        ("power", quantity(result.power_w, "W"), f"while it runs; {quantity(peak_power_w(cost), 'W')} at most"),
        ("idle power", quantity(cost.idle_w, "W"), f"while it waits; {quantity(mean, 'W')} on average over its life"),
    ]


def _mebibytes(count: float) -> str:
    """Bytes in MiB, or in KiB below one."""
    return f"{count / 2**20:,.4g} MiB" if count >= 2**20 else f"{count / 2**10:,.4g} KiB"


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
            ],
        )
    )
    screen.print(table("The chip", ("", "value", ""), _silicon(result)))
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
                    f"{carbon(low)} to {carbon(high)}: p5 to p95",
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
