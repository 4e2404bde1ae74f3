"""Final evaluation: the base model and the Pareto front's models meet the held-out test pool, once.

Nothing was chosen by the test pool, so its accuracies are not flattered by the choice of the best. Each difference to
the base model is taken pair by pair, with its standard error.
"""

from __future__ import annotations

from catransformers.execution.events import FinalEvaluationStarted, ModelEvaluated
from catransformers.execution.study_run import StudyRun, evaluation_of
from catransformers.search.fronts import derive_front


def evaluate_front(run: StudyRun) -> None:
    """Evaluate what has no test accuracy yet: the base model, then the front's models, and the full model if trained.

    Raises:
        StudyFailure: if an evaluation fails.
    """
    store, jobs = run.store, run.jobs
    trials = store.trials()
    full = run.costs.space.base.dimensions()
    chosen = {member.trial.number for member in derive_front(run.costs, trials)}
    chosen |= {trial.number for trial in trials if trial.status == "complete" and dict(trial.dimensions) == full}
    known = {evaluation.subject for evaluation in store.evaluations() if evaluation.pool == "test"}
    subjects: list[int | None] = [subject for subject in (None, *sorted(chosen)) if subject not in known]
    if not subjects:
        return
    run.listen(FinalEvaluationStarted(len(subjects)))
    dimensions = {trial.number: trial.dimensions for trial in trials}
    waiting = subjects[::-1]
    while waiting or len(jobs):
        alone = bool(waiting) and waiting[-1] is None  # the others are compared with the base model
        while waiting and len(jobs) < (1 if alone else run.config.execution.workers):
            subject = waiting.pop()
            request = run.request("test", subject, {} if subject is None else dimensions[subject])
            jobs.start(request, run.directory.test(subject))
        for done in jobs.wait():
            record = evaluation_of(done, "test")
            store.add_evaluation(record, run.ledger.records(run.directory.test(record.subject)))
            run.listen(ModelEvaluated(record))
