"""A study as a file: TOML read into one frozen, validated `StudyConfig`, every mistake told at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import tomli_w

from catransformers.carbon.scenario import read_scenario
from catransformers.config.section import Section, Within, key
from catransformers.config.sections import (
    AccuracySection,
    ExecutionSection,
    HardwareSection,
    ImportanceSection,
    ModelSection,
    ObjectivesSection,
    SearchSection,
)
from catransformers.errors import InputError, Problem, Problems
from catransformers.reading import Unknown, parse_toml, read_toml, unknown_key

T = TypeVar("T", bound=Section)

#: The sections that have no say where nothing is trained.
TRAINING = ("accuracy", "search", "execution")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _name(value: Any, where: str) -> str:
    """The name of a study, which is a folder's too."""
    if not isinstance(value, str):
        raise InputError(Problem(where, f"{value!r} should be a valid string"))
    if not NAME.fullmatch(value):
        allowed = "letters, digits, '.', '_', '-', starting with a letter or digit"
        raise InputError(Problem(where, f"{value!r} cannot be used", allowed))
    return value


class _Scenario:
    """A scenario's keys, as a scenario file has them; they stay as they are given."""

    def read(self, given: Any, place: str, problems: Problems, _: Unknown) -> dict[str, Any]:
        """The keys, also those that are wrong: what is made of them elsewhere is not made of others."""
        if not isinstance(given, Mapping):
            raise InputError(Problem(place, f"{given!r} should be a table"))
        problems.of(read_scenario, given, place)
        return dict(given)


@dataclass(frozen=True)
class StudyConfig(Section):
    """One study: see section 6 of the design, and `docs/study-file.md` for every key."""

    name: str = key(_name)
    model: ModelSection = key(Within(ModelSection), ModelSection)
    hardware: HardwareSection = key(Within(HardwareSection), HardwareSection)
    scenario: Mapping[str, Any] = key(_Scenario(), dict)
    objectives: ObjectivesSection = key(Within(ObjectivesSection), lambda: ObjectivesSection.read({}))
    accuracy: AccuracySection = key(Within(AccuracySection), AccuracySection)
    search: SearchSection = key(Within(SearchSection), SearchSection)
    execution: ExecutionSection = key(Within(ExecutionSection), ExecutionSection)
    #: The keys that the file has, and those of its tables (`model.space`).
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    #: Keys that may change when a study is resumed; everything else defines the study.
    RESUMABLE: ClassVar[tuple[str, ...]] = (
        "search.trials",
        "accuracy.workers",
        "execution.workers",
        "execution.measure",
        "execution.region",
        "execution.start",
        "execution.expected_hours",
        "execution.pause_above_g_per_kwh",
        "execution.max_pause_hours",
        "execution.intensity_region",
        "execution.intensity_profile",
        "execution.intensity_source",
    )

    @classmethod
    def completed(cls, good: dict[str, Any], prefix: str, problems: Problems) -> dict[str, Any]:
        """A draft has a name, too."""
        return {"name": "unnamed", **good}

    @property
    def trains_nothing(self) -> bool:
        """Whether the model is fixed and only its accelerator is chosen: mode `hardware`."""
        return self.objectives.mode == "hardware"

    def without_training(self) -> StudyConfig:
        """The same with all that says how models are pruned, trained and chosen at its default."""
        model = replace(self.model, space={}, importance=ImportanceSection())
        default = StudyConfig(name=self.name)
        return replace(self, model=model, **{name: getattr(default, name) for name in TRAINING})

    def to_toml(self) -> str:
        """The resolved study as TOML: every default written out; `parse` reads it back to an equal config.

        Of a study that trains nothing the sections that have no say are left out.
        """
        data = self.to_dict(*(TRAINING if self.trains_nothing else ()))
        if self.trains_nothing:
            data["model"] = self.model.to_dict("space", "importance")
        return tomli_w.dumps(_said(data))


def _said(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table and those in it without what is not given: TOML has no word for nothing."""
    return {
        name: _said(value) if isinstance(value, Mapping) else value
        for name, value in table.items()
        if value is not None
    }


#: Keys by section that take the place of a study's own, or are added to them: `{"search": {"trials": 10}}`.
Changes = Mapping[str, Mapping[str, Any]]


def read(path: Path, changes: Changes = MappingProxyType({})) -> tuple[StudyConfig, list[Problem]]:
    """Read a study file; see `parse`. Paths in it count from its own folder and come back absolute.

    Args:
        path: of the file.
        changes: keys in the place of the file's.

    Raises:
        InputError: if there is no such file, it cannot be read, or it is not TOML (with the line).
    """
    config, problems = read_tables(read_toml(path, "a TOML study file"), str(path), changes)
    return _anchored(config, path.parent), problems


def _anchored(config: StudyConfig, folder: Path) -> StudyConfig:
    """The config with its paths made absolute: they count from the study file's folder, wherever one runs it."""

    def path(value: str) -> str:
        return str((folder / Path(value).expanduser()).resolve())

    def anchor(section: T, *names: str) -> T:
        values = {name: getattr(section, name) for name in names}
        return replace(section, **{name: path(value) for name, value in values.items() if value is not None})

    model, tech, others = config.model, config.hardware.technology, config.search.warm_start
    # "embedded" and the like stay names even beside a folder that is called so
    named = ["pretrained", *(["base"] if "/" in model.base or model.base.startswith(".") else [])]
    there = [name for name in named if (value := getattr(model, name)) and (folder / value).exists()]
    return replace(
        config,
        model=anchor(model, *there),
        hardware=anchor(config.hardware, *(["technology"] if tech.endswith(".toml") else [])),
        accuracy=anchor(config.accuracy, "data", "class_names", "templates"),
        search=replace(config.search, warm_start=others and tuple(map(path, others))),
        execution=anchor(config.execution, "intensity_profile"),
    )


def parse(text: str, where: str, changes: Changes = MappingProxyType({})) -> tuple[StudyConfig, list[Problem]]:
    """Check a study's text; `where` names it in messages, `changes` are keys in the place of its own.

    Returns:
        The config, and every problem of structure, type or range. When there are problems, the config has
        defaults in the place of what was wrong: good only for finding the mistakes in the rest.

    Raises:
        InputError: if the text is not TOML.
    """
    return read_tables(parse_toml(text, where), where, changes)


def read_tables(
    tables: Mapping[str, Any], where: str, changes: Changes = MappingProxyType({})
) -> tuple[StudyConfig, list[Problem]]:
    """Check a study's tables; as `parse`."""
    data = dict(tables)
    for section, keys in changes.items():
        own = data.get(section, {})
        data[section] = {**own, **keys} if isinstance(own, Mapping) and isinstance(keys, Mapping) else keys
    problems = Problems()
    config = StudyConfig.draft(data, f"{where}: ", problems, _unknown_key)
    within = {f"{name}.{inner}" for name, table in data.items() if isinstance(table, Mapping) for inner in table}
    return replace(config, given=frozenset(data) | within), problems


def _unknown_key(prefix: str, name: str, known: Collection[str]) -> Problem:
    """The problem of a key that there is not, with the tables in which it would be right."""
    sections = {n: rule.kind.rules() for n, rule in StudyConfig.rules().items() if isinstance(rule, Within)}
    homes = [f"[{section}]" for section, keys in sections.items() if name in keys]
    problem = unknown_key(prefix, name, known)
    return replace(problem, hint=f"it belongs to {' or '.join(homes)}") if homes else problem
