"""One run of a study: what its steps (warm start, base model, search, final test) work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catransformers.config.study import StudyConfig
from catransformers.errors import CatransformersError
from catransformers.execution.energy_ledger import EnergyLedger
from catransformers.execution.events import Listener
from catransformers.execution.intensity_gate import IntensityGate
from catransformers.execution.jobs import Done, Jobs, failed
from catransformers.execution.messages import Job, Request, request_of
from catransformers.search.costs.space import Costs
from catransformers.search.strategies import Strategy
from catransformers.study.directory import StudyDirectory
from catransformers.study.records import EvaluationRecord, Pool
from catransformers.study.store import Store


class StudyFailure(CatransformersError):  # noqa: N818 - an end, not a mistake of the user's
    """A piece of work that the study cannot do without has failed; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class StudyRun:
    """A study that is open for work; whoever holds it has the study's lock.

    Args:
        config: the study.
        directory: its folder.
        store: what is known of it, open for writing.
        costs: every model on every accelerator.
        chooser: proposes the trials.
        jobs: runs requests.
        ledger: the energy that was spent.
        gate: says whether a trial may begin.
        listen: told what happens.
    """

    config: StudyConfig
    directory: StudyDirectory
    store: Store
    costs: Costs
    chooser: Strategy
    jobs: Jobs
    ledger: EnergyLedger
    gate: IntensityGate
    listen: Listener

    def request(self, job: Job, subject: int | None, dimensions: Mapping[str, int]) -> Request:
        """The request for one piece of the study's work."""
        return request_of(self.config, job, subject, dimensions)

    def commit_energy(self, folder: Path | None = None, *, ended: bool = False) -> None:
        """Commit the loop's own energy so far, and that of all attempts at the work in a folder."""
        self.store.add_energy(self.ledger.records(folder, ended=ended))


def evaluation_of(done: Done, pool: Pool) -> EvaluationRecord:
    """A finished job as an evaluation.

    Raises:
        StudyFailure: if the job failed.
    """
    result = done.result
    if failed(done) or result.accuracy is None or result.standard_error is None:
        subject = "the base model" if done.request.subject is None else f"the model of trial {done.request.subject}"
        raise StudyFailure(f"{subject} could not be evaluated on the {pool} pool: {result.error}")
    return EvaluationRecord(
        done.request.subject,
        pool,
        result.accuracy,
        result.standard_error,
        result.difference,
        result.difference_se,
        result.metrics,
    )
