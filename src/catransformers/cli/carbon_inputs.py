"""What the carbon commands share when they read: numbers checked as a scenario's keys are, and designs.

Options are taken as text and read here, so that all mistakes of a command line are reported at once.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from catransformers.carbon.comparison import Candidate
from catransformers.carbon.scenario import Scenario
from catransformers.carbon.scenario_keys import KEYS
from catransformers.cli.inputs import read_model
from catransformers.designs import estimate as design
from catransformers.errors import InputError, Problem, Problems
from catransformers.hardware.accelerator import Accelerator
from catransformers.hardware.technology import Technology
from catransformers.units import MM2_PER_M2

DESIGN_HELP = "MODEL@ACCELERATOR, MODEL:DIMENSION=VALUE,…@ACCELERATOR, or a file of `estimate --json`"
#: What a file of `estimate --json` must hold: numbers, and whether the weights stay on chip.
_NUMBERS = ("area_mm2", "energy_j", "latency_s", "idle_w", "needed_bytes")
_LARGEST = 1e12  # far beyond any device, far below what sums and products of floats hold


def plain_number(text: str, where: str, allowed: str = "a number") -> float:
    """A finite number.

    Raises:
        InputError: if it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(Problem(where, f"{text!r} is not a finite number", allowed))
    return number


def key_number(text: str, key: str, where: str) -> float:
    """A number within what a scenario's `key` allows; whole numbers where the key counts something.

    Raises:
        InputError: if it is no number or out of range.
    """
    number = plain_number(text, where)
    read: Any = KEYS[key].read
    return float(read(int(number) if number.is_integer() else number, where))


def missing(where: str, allowed: str) -> None:
    """A required option that was not given.

    Raises:
        InputError: always.
    """
    raise InputError(Problem(where, "missing", allowed))


def whole_number(text: str, where: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`.

    Raises:
        InputError: otherwise.
    """
    allowed = f"a whole number, {low:,} to {high:,}"
    try:
        number = int(text)
    except ValueError:
        raise InputError(Problem(where, f"{text!r} is not a whole number", allowed)) from None
    if not low <= number <= high:
        raise InputError(Problem(where, f"{text} is out of range", allowed))
    return number


def read_design(text: str, tech: Technology | None, scenario: Scenario | None) -> Candidate | None:
    """A design as the carbon model sees it, from `MODEL@ACCELERATOR` or a file of `estimate --json`.

    Args:
        text: the design; a text that ends in `.json` is a file.
        tech, scenario: what it is estimated with; None where they could not be read, and then only the design's own
            mistakes are found and None is returned.

    Raises:
        InputError: with every mistake in it.
    """
    if text.endswith(".json"):
        return _from_file(text, scenario)

    model, at, hardware = text.partition("@")
    if not at:
        raise InputError(Problem(text, "not a design", DESIGN_HELP, "e.g. ViT-B-16@cores=1,pe_x=256,…"))
    name, _, changes = model.partition(":")
    settings = tuple(part for part in changes.split(",") if part.strip())
    problems = Problems()
    spec = problems.of(read_model, name, settings)
    machine = problems.of(Accelerator.parse, hardware)
    problems[:] = [
        Problem(f"{text}: {problem.where.removeprefix('--set ')}", problem.what, problem.allowed, problem.hint)
        for problem in problems
    ]
    problems.finish()
    if spec is None or machine is None or tech is None or scenario is None:
        return None
    found = design.estimate(spec, machine, technology=tech, scenario=scenario)
    return _candidate(text, found.to_dict())


def _from_file(path: str, scenario: Scenario | None) -> Candidate | None:
    """The figures that stand in the file; nothing is estimated again."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(path, f"cannot be read: {error.strerror}", DESIGN_HELP)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(Problem(path, f"not JSON: {error}", DESIGN_HELP)) from error
    if isinstance(data, dict) and isinstance(data.get("estimate"), dict):  # a report's design.json
        data = data["estimate"]
    if not isinstance(data, dict):
        raise InputError(Problem(path, "not an object", DESIGN_HELP))
    problems = Problems(
        Problem(
            f"{path}: {key}", _fault(data, key), f"a number ≥ 0 and ≤ {_LARGEST:g}", "make it with `estimate --json`"
        )
        for key in _NUMBERS
        if _fault(data, key)
    )
    if not isinstance(data.get("weights_on_chip"), bool):
        problems.append(Problem(f"{path}: weights_on_chip", "missing or not a truth value", "true, false"))
    if scenario is not None:
        problems += _disagreements(path, data, scenario)
    problems.finish()
    return _candidate(path, data)


def _fault(data: dict[str, Any], key: str) -> str:
    """What is wrong with a number of the file, or an empty text."""
    if key not in data:
        return "missing"
    value = data[key]
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST
    return "" if good else f"{value!r} is not such a number"


def _disagreements(path: str, data: dict[str, Any], scenario: Scenario) -> list[Problem]:
    """Where the scenario that the file was estimated under would have changed the hardware's figures."""
    made = data.get("scenario")
    if not isinstance(made, dict):
        return []
    pairs = (("node_nm", scenario.node_nm), ("texts_per_image", scenario.texts_per_image))
    hint = "estimate it again under this scenario"
    return [
        Problem(f"{path}: scenario.{key}", f"estimated with {made[key]}, the scenario has {wanted:g}", hint=hint)
        for key, wanted in pairs
        if key in made and made[key] != wanted
    ]


def _candidate(name: str, figures: dict[str, Any]) -> Candidate:
    return Candidate(
        name=name,
        area_m2=figures["area_mm2"] / MM2_PER_M2,
        energy_j=float(figures["energy_j"]),
        latency_s=float(figures["latency_s"]),
        idle_w=float(figures["idle_w"]),
        needs_dram=not figures["weights_on_chip"],
        needed_bytes=float(figures["needed_bytes"]),
    )
