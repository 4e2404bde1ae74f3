"""`catransformers sweep`: one model on every accelerator of a space, and the exact front."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from catransformers.cli.inputs import (
    levers_are_options,
    model_options,
    precision_options,
    read_model,
    scenario_option,
    technology_option,
)
from catransformers.cli.output import json_option, print_json
from catransformers.designs.quantities import OF_DESIGNS, QUANTITIES, UNUSUAL, USUAL
from catransformers.designs.sweep import Sweep, SweepInputs
from catransformers.errors import InputError, Problem, Problems, present
from catransformers.hardware.accelerator import Accelerator
from catransformers.reports.sweep.page import write_sweep
from catransformers.reports.terminal.screen import console
from catransformers.reports.terminal.sweep import show_sweep

#: Options that `estimate` shares, and their defaults.
_USUAL = {"technology": "default-22nm", "scenario": "default", "weight-bits": 8, "activation-bits": 8}


#: The most TOPS, unless told otherwise.
MAX_TOPS = 20


def _limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--max-latency-ms` and so on: an option a quantity."""
    for row in (QUANTITIES[name] for name in reversed(OF_DESIGNS)):
        usual: dict[str, Any] = {"default": MAX_TOPS, "show_default": True} if row.name == "tops" else {}
        command = click.option(row.option, row.limit, type=float, metavar=row.metavar, help=row.says, **usual)(command)
    return command


@click.command()
@model_options
@click.option("--space", default="edge", show_default=True, metavar="NAME", help="edge, micro or edge-full.")
@click.option(
    "--values",
    multiple=True,
    metavar="ATTRIBUTE=V,V…",
    help="Other values of an attribute of the space, e.g. pe_x=64,128 or voltage_v=0.6,0.7,0.8 (repeatable).",
)
@precision_options
@technology_option
@scenario_option
@click.option(
    "--objectives",
    default=",".join(USUAL),
    show_default=True,
    metavar="NAME,…",
    help=f"What the front minimises; also {', '.join(UNUSUAL)}.",
)
@click.option(
    "--carbon-quantile",
    type=click.Choice(["p50", "p95"]),
    default="p50",
    show_default=True,
    help="What carbon means as objective and limit: typical, or the 95th percentile of its range.",
)
@_limit_options
@click.option(
    "--cache-dir", type=click.Path(path_type=Path), help="Keep operators' costs in this folder for the next time."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write front.csv, front.json, front.svg, sweep.html there."
)
@click.option("--all", "everything", is_flag=True, help="Show the whole front, not its first 20 by carbon.")
@json_option
@levers_are_options
def sweep(
    model: str,
    settings: tuple[str, ...],
    space: str,
    values: tuple[str, ...],
    weight_bits: int,
    activation_bits: int,
    technology: str,
    scenario: str,
    objectives: str,
    carbon_quantile: str,
    cache_dir: Path | None,
    out: Path | None,
    everything: bool,
    as_json: bool,
    **limits: float | None,
) -> None:
    """One model on every accelerator of a space: the exact front, no training, seconds.

    A design is on the front if no other one within the limits is at least as good in every objective and better in one.
    The knee is the one that comes nearest to the best of every objective at once.

    \b
    Examples:
      catransformers sweep --model ViT-B-16 --max-latency-ms 50
      catransformers sweep --model embedded --space micro --scenario always-on --out runs/sweep
      catransformers sweep --model ViT-B-16 --values voltage_v=0.6,0.7,0.8 --objectives carbon,latency
    """
    problems = Problems()
    spec = problems.of(read_model, model, settings)
    chosen = _all_values(problems, values)
    problems.of(_folder, out)
    inputs = problems.of(
        SweepInputs.read,
        spec or "embedded",
        space,
        values=chosen,
        technology=technology,
        scenario=scenario,
        objectives=[name.strip() for name in objectives.split(",") if name.strip()],
        limits=limits,
        carbon_quantile=carbon_quantile,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
    )
    problems.finish()
    inputs = present(inputs)
    began = time.monotonic()
    with console(stderr=True).status(f"Costing {model} on {len(inputs.table):,} accelerators …"):
        result = inputs.run(str(cache_dir) if cache_dir else None)
    seconds = time.monotonic() - began
    files = _write(result, model, out)
    if as_json:
        print_json(result.to_dict())
    else:
        show_sweep(result, model, seconds, everything)
        given = (technology, scenario, weight_bits, activation_bits)
        look = _estimate_command(model, settings, result.table[result.knee], given)
        console().print(f"Why the knee costs what it does: {look}", markup=False, soft_wrap=True)
        for file in files:
            console().print(f"Written: {file}", highlight=False, markup=False, soft_wrap=True)


def _all_values(problems: Problems, values: Sequence[str]) -> dict[str, list[float]]:
    """What every `--values` says, by attribute."""
    chosen: dict[str, list[float]] = {}
    for text in values:
        parsed = problems.of(_values, text)
        if parsed is not None and parsed[0] in chosen:
            problems.append(Problem(f"--values {text}", f"{parsed[0]} is given twice"))
        elif parsed is not None:
            chosen[parsed[0]] = parsed[1]
    return chosen


def _estimate_command(
    model: str, settings: Sequence[str], machine: Accelerator, given: tuple[str, str, int, int]
) -> str:
    """The command that explains one design of the sweep; `given` are its options in the order of `_USUAL`."""
    options = "".join(f" --set {setting}" for setting in settings)
    for (name, usual), value in zip(_USUAL.items(), given, strict=True):
        options += f" --{name} {value}" if value != usual else ""
    return f"catransformers estimate --model {model} --hardware {machine}{options} --explain"


def _values(text: str) -> tuple[str, list[float]]:
    """`pe_x=64,128` as `("pe_x", [64, 128])`.

    Raises:
        InputError: for what is no NAME=NUMBER,NUMBER….
    """
    name, _, numbers = (part.strip() for part in text.partition("="))
    try:
        return name, [float(number) for number in numbers.split(",")]
    except ValueError:
        raise InputError(Problem(f"--values {text}", "not ATTRIBUTE=NUMBER,NUMBER…", "e.g. pe_x=64,128")) from None


def _folder(out: Path | None) -> None:
    """Refuse a file where a folder is wanted, before anything is costed."""
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(Problem(f"--out {out}", "is a file", "a folder, or a name for a new one"))


def _write(result: Sweep, model: str, out: Path | None) -> list[Path]:
    if out is None:
        return []

    return write_sweep(result, model, out)
