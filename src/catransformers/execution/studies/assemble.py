"""From a study's configuration to what it is made of (space, accelerators, costs), and all that is wrong with it.

`check` finds what the structure of the file cannot show: names that mean nothing, data that are not there, spaces that
are empty. Nothing is written, and all problems are told at once.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from catransformers.accuracy.tasks import TASKS, Progress, data_problems, open_task
from catransformers.carbon.grid import region_intensity
from catransformers.carbon.scenario import Scenario, read_scenario
from catransformers.config.study import StudyConfig
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import QUANTITIES, Objectives
from catransformers.energy.choose import problems_of
from catransformers.errors import InfeasibleError, InputError, Problem, Problems, unknown_name
from catransformers.execution.intensity_gate import check_gate
from catransformers.execution.studies.base_model import base_spec, open_base
from catransformers.file_cache import cache_folder
from catransformers.hardware import spaces
from catransformers.hardware.accelerator import AcceleratorTable
from catransformers.hardware.technology import Technology, technology
from catransformers.registry import STRATEGIES
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.costs.large_space import enumerable, large_space_cost
from catransformers.search.costs.space import Costs
from catransformers.search.space import ModelSpace, model_space

MAX_MODELS = 1 << 62  # models are numbered by whole numbers of 64 bits


def limits_of(config: StudyConfig, scenario: Scenario) -> Limits:
    """A study's limits in SI units. Whatever the file says, an inference must be done before the next is due."""
    section = config.objectives
    bounds = {name: value / QUANTITIES[name].factor for name, value in section.limits.items()}
    limits = Limits(**{**bounds, "parameters": section.limits.get("parameters")}, accuracy=section.min_accuracy)
    due = scenario.period_s
    return limits.but(latency=due) if due < (limits.latency or math.inf) else limits


def objectives_of(config: StudyConfig) -> Objectives:
    """What a study minimises."""
    return Objectives(config.objectives.quantities, config.objectives.carbon_quantile)


def scenario_of(config: StudyConfig) -> Scenario:
    """A study's scenario: `base` names one, the other keys change it.

    Raises:
        InputError: with everything that is wrong with it.
    """
    return read_scenario(config.scenario)


def model_space_of(config: StudyConfig) -> ModelSpace:
    """A study's model space.

    Raises:
        InputError: with everything that is wrong with it.
    """
    overrides = {name: values.to_dict() for name, values in config.model.space.items()}
    space = model_space(base_spec(config.model), overrides)
    if space.size > MAX_MODELS:
        what, hint = (
            f"{float(space.size):.3g} models",
            f'give fewer values, for instance "{space.names[0]}" = {{ step = 2 }}',
        )
        raise InputError(Problem("model.space", what, f"at most {MAX_MODELS:.2g}", hint))
    return space


def accelerators_of(config: StudyConfig, tech: Technology | None) -> AcceleratorTable:
    """A study's accelerators in its technology; without one only the names and values of the space are checked.

    Raises:
        InputError: with everything that is wrong with the section.
        InfeasibleError: if no accelerator is left.
    """
    section = config.hardware
    return spaces.space(
        section.space,
        max_tops=section.max_tops,
        frequency_hz=tech.frequency_at if tech is not None else 1.0,
        overrides=section.dimensions or None,
    )


def assemble(config: StudyConfig) -> Costs:
    """Cost a study's whole space. Exact, seconds, no torch for the models that this package knows by name.

    Of a space that is too large for that a coarse part is costed, and every other model when it is asked for.

    Raises:
        InputError: for names that mean nothing and values that cannot be; all at once.
        InfeasibleError: if no accelerator is left in the hardware space.
    """
    problems = Problems()
    models = problems.of(model_space_of, config)
    scenario = problems.of(scenario_of, config)
    tech = problems.of(technology, config.hardware.technology)
    table = problems.of(accelerators_of, config, tech)
    if scenario is not None and tech is not None:
        problems.of(scenario.check_node, tech.node_nm, tech.name)
    if models is None or scenario is None or tech is None or table is None or problems:
        raise InputError(problems)
    cost = space_cost if enumerable(models, len(table)) else large_space_cost
    return cost(
        models,
        table,
        tech,
        scenario,
        objectives_of(config),
        limits_of(config, scenario),
        cache_dir=cache_folder("costs"),
    )


def check(config: StudyConfig, where: str = "", progress: Progress | None = None) -> list[Problem]:
    """Everything that is wrong with a study beyond the structure of its file; opens the base model and the data.

    Of a study in mode `hardware`, which needs neither weights nor data, only what it needs is looked at.

    Args:
        config: the study.
        where: what to call the file in messages.
        progress: called now and then with how many of how many samples of the data were looked at.
    """
    problems = Problems()
    scenario = problems.of(scenario_of, config)
    tech = problems.of(technology, config.hardware.technology)
    if scenario is not None and tech is not None:
        problems.of(scenario.check_node, tech.node_nm, tech.name)
    try:
        problems.of(accelerators_of, config, tech)
    except InfeasibleError as error:
        problems.append(Problem("hardware", str(error)))
    if config.trains_nothing:
        problems.of(base_spec, config.model)
        if config.objectives.min_accuracy is not None:
            what = "cannot be told in mode hardware, in which no accuracy is measured"
            problems.append(Problem("objectives.min_accuracy", what, hint="leave it out, or choose another mode"))
    else:
        problems.of(STRATEGIES.check, config.search.strategy)
        problems.of(model_space_of, config)
        problems += _check_learning(config, progress)
    found = list(dict.fromkeys(problems))
    return [replace(problem, where=f"{where}: {problem.where}") for problem in found] if where else found


def check_device(config: StudyConfig) -> list[Problem]:
    """What is wrong with the device here and now; a study may go on on another machine than it began on."""
    if config.execution.device == "cpu":
        return []
    import torch  # noqa: PLC0415 - only a study that trains needs it

    return [] if torch.cuda.is_available() else [Problem("execution.device", "no CUDA device can be used here", "cpu")]


def check_machine(config: StudyConfig) -> list[Problem]:
    """What is wrong with the device, the energy meter, the named grid and what to wait for, here and now."""
    problems = Problems(check_device(config))
    if config.execution.region is not None:
        region = config.execution.region
        problems.of(region_intensity, region, where="execution.region")
    return problems + problems_of(config.execution) + check_gate(config.execution)


def _check_learning(config: StudyConfig, progress: Progress | None) -> list[Problem]:
    """What is wrong with the base model's weights, the task, its data and the device."""
    problems = Problems(check_machine(config))
    if config.accuracy.precision == "fp16" and config.execution.device == "cpu":
        problems.append(Problem("accuracy.precision", "fp16 needs a GPU", "auto, fp32, bf16"))
    known = Problems().of(base_spec, config.model) is not None  # if not, the model space has said so
    base = problems.of(open_base, config.model) if known else None
    if config.accuracy.task not in TASKS:
        return [*problems, unknown_name("accuracy.task", "task", config.accuracy.task, TASKS)]
    if base is None:
        return problems + data_problems(config.accuracy) + _missing_data(config)
    task: Any = problems.of(open_task, config.accuracy, base)
    if task is not None:
        problems.of(task.check, progress)
    return problems


def _missing_data(config: StudyConfig) -> list[Problem]:
    """What can be said of the data without a base model to open the task with."""
    data = config.accuracy.data
    if data is None or any(sign in data for sign in "*?[{") or Path(data).expanduser().exists():
        return []  # a pattern names files that the task looks for itself
    return [Problem("accuracy.data", f"{data} does not exist")]
