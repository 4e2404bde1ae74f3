"""A study in mode `hardware`: the exact front of its base model over its accelerators. Nothing is trained or chosen.

Every accelerator is costed, so there is no search, no store and nothing to resume: the study's folder holds the
resolved study and its report, and whoever reads it works the front out anew, in seconds. Task, data, weights and torch
are not needed; limits, scenario and accelerators mean what they mean in any other study.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from catransformers.carbon.scenario import Scenario
from catransformers.config.study import StudyConfig, read
from catransformers.designs.limits import Limits, Shortfall
from catransformers.designs.sweep import Sweep, SweepInputs
from catransformers.errors import InputError, Problems
from catransformers.execution.studies.assemble import accelerators_of, check, limits_of, objectives_of, scenario_of
from catransformers.execution.studies.base_model import base_spec
from catransformers.execution.studies.open_study import open_study
from catransformers.file_cache import cache_folder
from catransformers.hardware.technology import technology
from catransformers.search.costs.enumerated import check_room
from catransformers.search.space import ModelSpace
from catransformers.study.directory import StudyDirectory
from catransformers.workloads import families


@dataclass(frozen=True, slots=True)
class HardwareStudy:
    """A finished study in mode `hardware`; there are no others.

    Args:
        directory: where it lies.
        config: the study.
        sweep: its base model on every accelerator, and the front.
    """

    directory: StudyDirectory
    config: StudyConfig
    sweep: Sweep


def run_hardware_study(config: StudyConfig, out: Path, *, where: str = "") -> HardwareStudy:
    """Cost the base model of a study in mode `hardware` on every accelerator, and keep the study in the folder `out`.

    Args:
        config: the study.
        out: its folder; made if need be.
        where: what to call the study file in messages.

    Raises:
        InputError: for everything that is wrong with the study, or a folder with another one; nothing is written.
        InfeasibleError: if no accelerator keeps all limits; nothing is written.
        StudyBusyError: if another process works in the folder.
    """
    problems = Problems(check(config, where))
    problems.finish()
    config = config.without_training()
    found = hardware_front(config)
    directory = StudyDirectory(out)
    with directory.lock():
        open_study(config, directory)
    return HardwareStudy(directory, config, found)


def hardware_front(config: StudyConfig, scenario: Scenario | None = None) -> Sweep:
    """The base model of a study on every one of its accelerators, under its limits.

    Args:
        config: the study, which `check` has nothing against.
        scenario: another one than the study's.

    Raises:
        InputError: if the DRAM is too small for the model, or the scenario's dies are of another process node.
        InfeasibleError: if no accelerator keeps all limits: which limit, by how much, what would relax it.
    """
    spec, tech = base_spec(config.model), technology(config.hardware.technology)
    situation = scenario_of(config) if scenario is None else scenario
    table, limits, objectives = accelerators_of(config, tech), limits_of(config, situation), objectives_of(config)
    check_room(ModelSpace(spec, {name: (size,) for name, size in spec.dimensions().items()}), table, situation)
    _check_parameters(families.parameters(spec), limits)
    inputs = SweepInputs.read(
        spec,
        table,
        technology=tech,
        scenario=situation,
        objectives=objectives.minimise,
        limits=limits.but(parameters=None),
        carbon_quantile=objectives.carbon_quantile,
    )
    return replace(inputs, space=config.hardware.space).run(cache_folder("costs"))


def _check_parameters(own: int, limits: Limits) -> None:
    if limits.parameters is not None and own > limits.parameters:
        raise Shortfall("parameters", own, limits.parameters).told(
            "the model, which is fixed in this mode, exceeds the limit on parameters",
            (f"raise objectives.max_parameters to {own} or more", "another model.base"),
        )


def read_hardware_study(root: Path, scenario: Scenario | None = None) -> HardwareStudy | None:
    """The study in a folder, its front worked out anew; None if there is none, or one of another mode.

    Args:
        root: the folder.
        scenario: another one than the study's.

    Raises:
        InputError: if its file is damaged, and as `hardware_front`.
        InfeasibleError: as `hardware_front`.
    """
    directory = StudyDirectory(root)
    if not directory.config.is_file():
        return None
    config, problems = read(directory.config)
    if problems:
        raise InputError(problems)
    return HardwareStudy(directory, config, hardware_front(config, scenario)) if config.trains_nothing else None
