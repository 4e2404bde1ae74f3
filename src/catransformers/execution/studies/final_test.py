"""The last act of a study: the base model and the front's models meet the test pool, once.

Nothing was chosen by the test pool, so its accuracies are not flattered by the choice of the best. Each difference to
the base model is taken pair by pair, with its standard error.
"""

from __future__ import annotations

from catransformers.config.study import StudyConfig
from catransformers.errors import CatransformersError
from catransformers.execution.events import Listener, TestFinished, TestStarted
from catransformers.execution.jobs import Done, Jobs, failed
from catransformers.execution.ledger import Ledger
from catransformers.execution.messages import request_of
from catransformers.search.costs.space import Costs
from catransformers.search.fronts import derive_front
from catransformers.study.directory import StudyDirectory
from catransformers.study.records import EvaluationRecord, Pool
from catransformers.study.store import Store


class StudyFailure(CatransformersError):  # noqa: N818 - an end, not a mistake of the user's
    """A piece of work that the study cannot do without has failed; the text has the end of its log."""


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


def finish(
    config: StudyConfig,
    costs: Costs,
    directory: StudyDirectory,
    store: Store,
    jobs: Jobs,
    ledger: Ledger,
    listen: Listener,
) -> None:
    """Evaluate what has no test accuracy yet: the base model, then the front's models, and the full model if trained.

    Raises:
        StudyFailure: if an evaluation fails.
    """
    trials = store.trials()
    full = costs.space.base.dimensions()
    chosen = {member.trial.number for member in derive_front(costs, trials)}
    chosen |= {trial.number for trial in trials if trial.status == "complete" and dict(trial.dimensions) == full}
    known = {evaluation.subject for evaluation in store.evaluations() if evaluation.pool == "test"}
    subjects: list[int | None] = [subject for subject in (None, *sorted(chosen)) if subject not in known]
    if not subjects:
        return
    listen(TestStarted(len(subjects)))
    dimensions = {trial.number: trial.dimensions for trial in trials}
    waiting = subjects[::-1]
    while waiting or len(jobs):
        alone = bool(waiting) and waiting[-1] is None  # the others are compared with the base model
        while waiting and len(jobs) < (1 if alone else config.execution.workers):
            subject = waiting.pop()
            request = request_of(config, "test", subject, {} if subject is None else dimensions[subject])
            jobs.start(request, directory.test(subject))
        for done in jobs.wait():
            record = evaluation_of(done, "test")
            store.add_evaluation(record, ledger.records(directory.test(record.subject)))
            listen(TestFinished(record))
