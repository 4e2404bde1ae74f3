"""`ct.search()` and `ct.open_study()`: a study as a Python object, running or read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catransformers.carbon.scenario import Scenario, read_scenario
from catransformers.config.study import Changes, StudyConfig, parse, read, read_tables
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import QUANTITIES
from catransformers.display import Displayed
from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.execution.loop import run_study
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.assemble import check
from catransformers.exports.from_study import export_trial
from catransformers.lazy import lazy
from catransformers.reports.study.derive import read_results
from catransformers.reports.study.other_scenario import results_under
from catransformers.reports.study.write import write_report
from catransformers.search.analysis.limited_fronts import LimitedFronts, fronts_under
from catransformers.search.costs.designs import DesignCost
from catransformers.search.fronts import FrontMember
from catransformers.study.records import EvaluationRecord, TrialRecord

if TYPE_CHECKING:
    import pandas
else:
    pandas = lazy("pandas")


@dataclass(frozen=True, eq=False, repr=False)
class Study(Displayed):
    """A study: its trials, and the fronts that follow from them. Nothing here trains anything.

    Args:
        results: everything that the study knows.
    """

    results: StudyResults

    @property
    def name(self) -> str:
        """The study's name."""
        return self.results.config.name

    @property
    def front(self) -> tuple[FrontMember, ...]:
        """The designs that no other beats, by rising cost: each with its `trial` and its `design`."""
        return self.results.front

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """The finished trials, by number."""
        return self.results.trials

    @property
    def base(self) -> DesignCost:
        """The unpruned base model on its own best accelerator."""
        return self.results.costs.base_best

    @property
    def base_accuracy(self) -> EvaluationRecord | None:
        """The base model's accuracy on the validation pool; None before it was measured."""
        return self.results.evaluation(None, "validation")

    def under(self, scenario: str | Scenario | Mapping[str, object]) -> Study:
        """The same trials ranked under another scenario: nothing is trained or costed again.

        Args:
            scenario: a scenario, its name, the path of a TOML file, or keys that change a named one.

        Raises:
            InputError: for an unknown or impossible scenario, or one of another process node.
        """
        situation = scenario if isinstance(scenario, Scenario) else read_scenario(scenario)
        return Study(results_under(self.results, situation))

    def fronts(self, limits: Mapping[str, float] | Sequence[Mapping[str, float]]) -> LimitedFronts:
        """The front under other limits, or under several sets of limits, comparable with one another.

        Args:
            limits: by the study's keys, e.g. `{"max_latency_ms": 10}`; the study's other limits stay.

        Raises:
            InputError: for unknown keys and values that are no limits, all at once.
        """
        sets = [limits] if isinstance(limits, Mapping) else list(limits)
        changed = [_limits(self.results.costs.limits, one) for one in sets]
        return fronts_under(self.results.costs, self.trials, changed)

    def to_rows(self) -> list[dict[str, Any]]:
        """One flat row a trial: outcome, dimensions, and what its model costs on its best accelerator (SI)."""
        on_front = {member.trial.number for member in self.front}
        return [self._row(trial, on_front) for trial in self.trials]

    def _row(self, trial: TrialRecord, on_front: set[int]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "trial": trial.number,
            "status": trial.status,
            "accuracy": trial.accuracy,
            "accuracy_se": trial.accuracy_se,
            "on_front": trial.number in on_front,
            "params": trial.parameters,
            **trial.dimensions,
        }
        if trial.accuracy is None:
            return row
        design = self.results.costs.best(self.results.costs.space.index(trial.dimensions))
        return row | {
            "accelerator": str(design.accelerator),
            "latency_s": design.latency_s,
            "energy_j": design.energy_j,
            "area_m2": design.area_m2,
            "embodied_kg": design.embodied_kg,
            "operational_kg": design.operational_kg,
            "total_kg": design.total_kg,
        }

    def to_frame(self) -> pandas.DataFrame:
        """`to_rows` as a pandas data frame.

        Raises:
            InputError: if pandas is not installed.
        """
        try:
            return pandas.DataFrame(self.to_rows())
        except ModuleNotFoundError as error:
            problem = Problem("pandas", "is not installed, and a data frame needs it", hint="pip install pandas")
            raise InputError([problem]) from error

    def report(self, out: str | PathLike[str] | None = None) -> Path:
        """Write the study's report; its page. By default into `report` in the study's folder."""
        return write_report(self.results, None if out is None else Path(out)).folder / "report.html"

    def __repr__(self) -> str:
        return f"<Study {self.name!r}: {len(self.trials)} trials, {len(self.front)} designs on the front>"


def _limits(own: Limits, given: Mapping[str, float]) -> Limits:
    keys = {row.limit: row for row in QUANTITIES.values()}
    problems, changes = Problems(), {}
    for key, value in given.items():
        if key not in keys:
            problems.append(unknown_name("limits", "limit", key, keys))
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            problems.append(Problem(f"limits: {key}", f"{value!r} is no limit", "a number above 0"))
        else:
            changes[keys[key].name] = value / keys[key].factor
    problems.finish()
    return own.but(**changes)


def open_study(folder: str | PathLike[str]) -> Study:
    """The study in a folder; a search may be writing to it meanwhile.

    Raises:
        InputError: if there is no study with trials in it, or it is damaged.
    """
    return Study(read_results(Path(folder)))


def search(
    study: str | PathLike[str] | StudyConfig | Mapping[str, Any],
    out: str | PathLike[str] | None = None,
    **changes: Mapping[str, Any],
) -> Study:
    """Run a study, or go on with the one in its folder.

    Args:
        study: the path of a TOML file, its tables as a mapping, or a configuration.
        out: the study's folder; by default `runs/` and the study's name.
        changes: keys to change, by section: `search={"trials": 10}`.

    Returns:
        The finished study.

    Raises:
        InputError: for everything that is wrong with the study; nothing is written.
        InfeasibleError: if no model has an accelerator that keeps the limits; nothing is written.
    """
    config, problems, where = _config(study, changes)
    if problems:
        raise InputError([*problems, *check(config, where)])
    if config.trains_nothing:
        hint = "`catransformers.sweep` gives the front of a fixed model"
        raise InputError(Problem("objectives.mode", "'hardware' trains nothing", "another mode", hint))
    folder = Path("runs") / config.name if out is None else Path(out)
    return Study(run_study(config, folder, where=where))


def _config(
    study: str | PathLike[str] | StudyConfig | Mapping[str, Any], changes: Changes
) -> tuple[StudyConfig, list[Problem], str]:
    """The configuration with its changes, what is wrong with it, and what to call it."""
    if isinstance(study, str | PathLike):
        return *read(Path(study), changes), str(study)
    if isinstance(study, StudyConfig):
        return *parse(study.to_toml(), "study", changes), "study"
    return *read_tables(study, "study", changes), "study"


def export(
    study: Study | str | PathLike[str],
    trial: int,
    format: str = "catransformers",  # noqa: A002 - the option's name
    out: str | PathLike[str] | None = None,
    *,
    final: bool = False,
) -> Path:
    """Write a trial's model and its model card for other tools.

    Args:
        study: the study, or its folder.
        trial: number of the trial.
        format: `catransformers`, `huggingface`, `open_clip`, `timm` or `onnx`.
        out: the folder; by default in `exports` of the study's own.
        final: the model after its final training.

    Returns:
        The folder with the files.

    Raises:
        InputError: if there is no such trial, training or format, or the format cannot hold the model.
        IntegrityError: if the model's file is damaged.
    """
    results = study.results if isinstance(study, Study) else open_study(study).results
    return export_trial(results, trial, format, None if out is None else Path(out), final=final)[0]
