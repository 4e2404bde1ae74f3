"""A study read back: its configuration, costs, trials and evaluations, and the front that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from catransformers.config.study import StudyConfig, read
from catransformers.errors import InputError, Problem
from catransformers.execution.energy_ledger import uncommitted
from catransformers.execution.studies.assemble import assemble
from catransformers.search.costs.space import Costs
from catransformers.search.fronts import FrontMember, convergence, derive_front
from catransformers.search.space import FloatArray
from catransformers.study.directory import StudyDirectory
from catransformers.study.records import EnergyRecord, EvaluationRecord, Pool, TrialRecord
from catransformers.study.store import Store


@dataclass(frozen=True)
class StudyResults:
    """All that a study knows. Fronts are derived here and now, never stored.

    Args:
        directory: where it lies.
        config: the study.
        costs: every model on every accelerator.
        trials: the finished trials by number.
        evaluations: the base model's accuracies, and the front's on the test pool.
        energy: what each attempt at the study's work took.
    """

    directory: StudyDirectory
    config: StudyConfig
    costs: Costs
    trials: tuple[TrialRecord, ...]
    evaluations: tuple[EvaluationRecord, ...]
    energy: tuple[EnergyRecord, ...] = ()

    @cached_property
    def front(self) -> tuple[FrontMember, ...]:
        """The designs that no other beats, by rising cost."""
        return derive_front(self.costs, self.trials)

    @cached_property
    def convergence(self) -> FloatArray:
        """(trials,) hypervolume after each trial."""
        return convergence(self.costs, self.trials)

    def evaluation(self, subject: int | None, pool: Pool) -> EvaluationRecord | None:
        """The evaluation of a trial's model, or of the base model (None), on a pool; None if there is none."""
        return next((e for e in self.evaluations if e.subject == subject and e.pool == pool), None)

    @property
    def finished(self) -> bool:
        """Whether the search has made all its trials, or tried every feasible model."""
        trained = sum(not trial.untrained for trial in self.trials)
        return len(self.trials) >= self.planned or trained >= self._most

    @property
    def planned(self) -> int:
        """Number of trials that the study asks for, with those that it adopted."""
        return self.config.search.trials + sum(trial.proposal.adopted for trial in self.trials)

    @property
    def _most(self) -> int:
        """How many trials there can be; of a space too large to go through, as many as it has models.

        Strategies that choose accelerators too may try a model on each of them.
        """
        found = self.costs.feasible_models
        models = self.costs.space.size if found is None else found
        chosen = any(trial.proposal.accelerator is not None for trial in self.trials)
        return models * len(self.costs.table) if chosen else models


def load_study(root: str | PathLike[str]) -> StudyResults:
    """Read a study's folder; a search may be writing to it meanwhile.

    Raises:
        InputError: if there is no study in the folder.
        IntegrityError: if its store cannot be read.
    """
    root = Path(root)
    directory = StudyDirectory(root)
    if root.is_file():
        hint = "`catransformers search` runs a study file and names the study's folder, by default runs/ and its name"
        raise InputError(Problem(str(root), "is a file", "a folder that `search` made", hint))
    nothing = Problem(str(root), "there is no study in this folder", "a folder that `search` made")
    if not directory.config.is_file():
        raise InputError(nothing)
    config, problems = read(directory.config)
    if problems:
        raise InputError(problems)
    if config.trains_nothing:
        what = "holds a study in mode hardware, in which no model is trained"
        raise InputError(Problem(str(root), what, "a folder with trained models", "`report` and `status` read it"))
    if not directory.database.is_file():
        raise InputError(nothing)
    with Store(directory.database) as store:
        trials, evaluations = store.trials(), store.evaluations()
        energy = store.energy()
    energy += uncommitted(directory, energy)
    return StudyResults(directory, config, assemble(config), tuple(trials), tuple(evaluations), tuple(energy))
