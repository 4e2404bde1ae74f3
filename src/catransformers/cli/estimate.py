"""`catransformers estimate`: one model on one accelerator, explained operator by operator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from catransformers.carbon.scenario import read_scenario
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
from catransformers.errors import InputError, Problem, Problems, present
from catransformers.hardware.accelerator import Accelerator
from catransformers.hardware.technology import technology as read_technology
from catransformers.lazy import lazy
from catransformers.reports.terminal.estimate import energy_by_operator, show_estimate
from catransformers.reports.terminal.screen import console
from catransformers.workloads.operators import Workload

if TYPE_CHECKING:
    from catransformers.designs import explain
    from catransformers.reports.estimate import data, roofline_page
    from catransformers.reports.terminal import explanation as words
else:  # only where they are asked for
    explain = lazy("catransformers.designs.explain")
    data = lazy("catransformers.reports.estimate.data")
    roofline_page = lazy("catransformers.reports.estimate.roofline_page")
    words = lazy("catransformers.reports.terminal.explanation")

#: Pictures that `--roofline` writes.
_PICTURES = (".svg", ".png", ".html")


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
    situation = problems.of(read_scenario, scenario)
    problems.of(Workload("", (), 0, 0).with_bits, weight_bits, activation_bits)
    problems.of(_check_picture, picture)
    problems.finish()
    result = design.estimate(
        spec or model,
        present(machine),
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        technology=present(tech),
        scenario=present(situation),
    )
    explanation = explain.explain(result) if explained else None
    if picture is not None:
        roofline_page.write_roofline(result, f"{model} on {machine}", picture)
    if as_json:
        print_json(data.estimate_object(result, explanation, rooflines=picture is not None))
        return
    show_estimate(model, result)
    screen = console()
    if explained or energy:
        screen.print(energy_by_operator(result))
    if explanation is not None:
        words.show_explanation(screen, explanation)
    if picture is not None:
        screen.print(f"Written: {picture}", highlight=False, markup=False, soft_wrap=True)


def _check_picture(path: Path | None) -> None:
    if path is not None and path.suffix.lower() not in _PICTURES:
        raise InputError(Problem(f"--roofline {path}", "no kind of picture", ", ".join(_PICTURES)))
