"""The study loop (ask and tell): propose, train, commit until all trials are done, then test. Kill it when you like.

What makes a study come out the same after any number of kills:
- trial n is proposed from exactly the results of trials 0 … n−w (w workers), those after it count as pending, so that
  it does not matter which trial happens to finish first;
- a proposal is committed before its trial starts, a result when it is there; a worker's result file that the loop did
  not live to commit is picked up; a trial that was cut off is run again from its request;
- a trial depends on its request alone; therefore those of another study can be adopted (`warm_start`). They come first,
  and every proposal may look at all of them.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from catransformers.config.study import StudyConfig
from catransformers.errors import InfeasibleError, InputError, IntegrityError
from catransformers.execution.energy_ledger import EnergyLedger
from catransformers.execution.events import (
    DataChecked,
    Listener,
    ModelEvaluated,
    StudyChecked,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    silent,
)
from catransformers.execution.intensity_gate import FILE as GATE_FILE
from catransformers.execution.intensity_gate import IntensityGate
from catransformers.execution.jobs import Done, Jobs, failed
from catransformers.execution.local import Executor
from catransformers.execution.messages import read_result
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.assemble import assemble, check, check_machine
from catransformers.execution.studies.final_test import evaluate_front
from catransformers.execution.studies.open_study import keep_origin, open_study, origin_of
from catransformers.execution.studies.warm_start import adopt, plan_adoption, sources_of
from catransformers.execution.study_run import StudyFailure, StudyRun, evaluation_of
from catransformers.registry import EXECUTORS
from catransformers.search.costs.space import Costs
from catransformers.search.problem import Observation
from catransformers.search.space import ModelSpace
from catransformers.search.strategies import DesignStrategy, strategy
from catransformers.study.directory import StudyDirectory
from catransformers.study.records import ProposalRecord, TrialRecord
from catransformers.study.store import Store
from catransformers.workloads import families

PATIENCE = 5  # failed trials in a row after which a study stops


def run_study(
    config: StudyConfig,
    out: Path,
    *,
    where: str = "",
    listen: Listener = silent,
    executor: Executor | None = None,
    gate: IntensityGate | None = None,
) -> StudyResults:
    """Run a study in the folder `out`, or go on with the one that is there.

    Args:
        config: the study.
        out: its folder; made if need be.
        where: what to call the study file in messages.
        listen: told what happens.
        executor: who does the work; by default as the study's `[execution]` says.
        gate: waits for a clean grid; by default as the study's `[execution]` says, by the clock of this machine.

    Returns:
        The finished study.

    Raises:
        InputError: for everything that is wrong with the study, or a folder with another one; nothing is written.
        InfeasibleError: if no model has an accelerator that keeps the limits; nothing is written.
        StudyBusyError: if another process works on it.
        StudyFailure: if the base model cannot be measured, or `PATIENCE` trials in a row fail.
        KeyboardInterrupt: on Ctrl-C, after the workers were stopped; the same call goes on.
    """
    directory = StudyDirectory(out)
    with EnergyLedger(config.execution) as ledger:  # costing the space is work too
        # What makes up a study that is there was checked when it began; the machine may be another one.
        known = directory.config.is_file()
        problems = check_machine(config) if known else check(config, where, lambda *n: listen(DataChecked(*n)))
        if problems:
            raise InputError(problems)
        origin = origin_of(config)
        sources = sources_of(config, origin, directory, where)
        listen(StudyChecked())
        costs = assemble(config)
        chooser = strategy(config.search.strategy, costs.problem(), config.search.seed, costs)
        adoption = None if sources is None else plan_adoption(costs, sources, where)
        with directory.lock():
            open_study(config, directory)
            jobs = Jobs(executor or EXECUTORS.find(config.execution.executor)(config.execution.threads_per_worker))
            gate = gate or IntensityGate(config.execution, directory.root / GATE_FILE)
            with Store(directory.database, "create") as store:
                keep_origin(store, origin)
                run = StudyRun(config, directory, store, costs, chooser, jobs, ledger, gate, listen)
                if adoption is not None:
                    adopt(run, adoption)
                _work(run)
                found = tuple(store.trials()), tuple(store.evaluations()), tuple(store.energy())
                return StudyResults(directory, config, costs, *found)


def _work(run: StudyRun) -> None:
    """Do all that is left of the study; what it took is committed however it ends."""
    try:
        _measure_base(run)
        _Search(run).make_trials()
        evaluate_front(run)
    finally:
        run.jobs.stop()
        with suppress(IntegrityError):  # what went wrong before is the news
            run.commit_energy(ended=True)


def _measure_base(run: StudyRun) -> None:
    """Say what is ahead; measure the base model if that was not done yet."""
    store, costs, folder = run.store, run.costs, run.directory.base
    trials = store.trials()
    run.listen(
        StudyOpened(
            trials=run.config.search.trials + sum(trial.proposal.adopted for trial in trials),
            finished=len(trials),
            models=costs.space.size,
            feasible_models=costs.feasible_models,
            accelerators=len(costs.table),
        )
    )
    run.listen(run.ledger.chosen())
    evaluations = store.evaluations()
    run.gate.before_start(bool(evaluations), run.listen)
    known = [e for e in evaluations if e.subject is None and e.pool == "validation"]
    request = run.request("base", None, {})
    if not known or read_result(folder, request) is None:  # trials need the files that lie beside the result
        run.jobs.start(request, folder)
        (done,) = run.jobs.wait()
        measured = evaluation_of(done, "validation")
        if not known:
            store.add_evaluation(measured)
            known = [measured]
        run.commit_energy(folder)
    run.listen(ModelEvaluated(known[0]))


class _Search:
    """Makes the trials that are not there yet, up to `workers` at a time.

    A model that has no feasible accelerator is never trained: its trial is over at once, with the limit that it breaks.
    Strategies do not propose such models; one from elsewhere may, and spends its trials on them.

    Args:
        run: the study.
    """

    def __init__(self, run: StudyRun) -> None:
        self._run, self._workers = run, run.config.execution.workers
        self._proposals = {proposal.number: proposal for proposal in run.store.proposals()}
        self._finished = {trial.number: trial for trial in run.store.trials()}
        #: The next trial to begin; those that were adopted come before all others.
        self._next = self._first = sum(proposal.adopted for proposal in self._proposals.values())
        self._failures = 0

    def make_trials(self) -> None:
        """Begin and commit trials until there is none to begin and none under way.

        Raises:
            StudyFailure: if `PATIENCE` trials in a row fail, or a proposal is of something that is not there.
        """
        last = self._first + self._run.config.search.trials
        while True:
            while self._next < last and all(n in self._finished for n in range(self._next - self._workers + 1)):
                if self._next not in self._finished and not self._begin(self._next):
                    break
                self._next += 1
            if not len(self._run.jobs):
                return
            for done in self._run.jobs.wait():
                self._commit(done)

    def _begin(self, number: int) -> bool:
        """Begin a trial; false if every feasible model was tried, or what runs is to be committed before a pause."""
        run = self._run
        proposal = self._proposals.get(number) or self._propose(number)
        if proposal is None:
            return False
        if number not in self._proposals:
            run.store.add_proposal(proposal)
            self._proposals[number] = proposal
        hopeless = _untrained(run.costs, proposal)
        if hopeless is not None:
            run.store.add_trial(hopeless)
            self._finish(hopeless)
            return True
        if run.gate.closed(run.listen):
            if len(run.jobs):
                return False
            run.gate.wait(run.listen)
        run.listen(TrialStarted(proposal))
        run.jobs.start(run.request("trial", number, proposal.dimensions), run.directory.trial(number))
        return True

    def _commit(self, done: Done) -> None:
        """Commit a trial that has ended.

        Raises:
            StudyFailure: if it is one of `PATIENCE` in a row that failed.
        """
        number = done.request.subject
        if number is None:
            return
        record = _record(done, self._run.costs.space, self._proposals[number])
        self._run.store.add_trial(record, self._run.ledger.records(self._run.directory.trial(number)))
        self._finish(record)
        self._failures = self._failures + 1 if record.status == "failed" else 0
        if self._failures == PATIENCE:  # a full disk, say: do not spend the rest of the trials on it
            raise StudyFailure(
                f"{PATIENCE} trials in a row failed, so the study stops here; the last one said: {record.error} "
                "(mend the cause and run the same command again)"
            )

    def _finish(self, record: TrialRecord) -> None:
        self._finished[record.number] = record
        self._run.listen(TrialFinished(record, len(self._finished)))

    def _propose(self, number: int) -> ProposalRecord | None:
        """The proposal of a trial, from what it may know: the results of all but the `workers` trials before it.

        Raises:
            StudyFailure: for a proposal of a model or an accelerator that the study does not have.
        """
        costs, chooser, space = self._run.costs, self._run.chooser, self._run.costs.space
        known = max(self._first, number - self._workers + 1)
        observed = [
            Observation(space.index(trial.dimensions), trial.accuracy, trial.accuracy_se)
            for trial in (self._finished[n] for n in range(known))
        ]
        pending = [space.index(self._proposals[n].dimensions) for n in range(known, number)]
        if isinstance(chooser, DesignStrategy):
            ran_on = [self._proposals[n].accelerator for n in range(number)]
            proposal = chooser.ask(observed, pending, number, ran_on=ran_on)
        else:
            proposal = chooser.ask(observed, pending, number)
        if proposal is None:
            return None
        if not 0 <= proposal.index < space.size or not 0 <= (proposal.accelerator or 0) < len(costs.table):
            raise StudyFailure(
                f"the strategy proposed model {proposal.index} on accelerator {proposal.accelerator} for trial "
                f"{number}; this study has {space.size} models and {len(costs.table)} accelerators"
            )
        return ProposalRecord(
            number, space.dimensions(proposal.index), proposal.origin, dict(proposal.reason), proposal.accelerator
        )


def _untrained(costs: Costs, proposal: ProposalRecord) -> TrialRecord | None:
    """The trial of a model that no accelerator keeps the limits with: not run, and why; None for any other model."""
    index = costs.space.index(proposal.dimensions)
    if costs.accelerator_of(index) >= 0:
        return None
    try:
        costs.best(index)
    except InfeasibleError as error:
        spec = costs.space.spec(proposal.dimensions)
        return TrialRecord(
            number=proposal.number,
            dimensions=proposal.dimensions,
            status="failed",
            accuracy=None,
            accuracy_se=None,
            metrics={},
            parameters=families.parameters(spec),
            macs=families.workload(spec).macs,
            seconds=0.0,
            error=f"not trained: {error.shortfall}",
            proposal=proposal,
            untrained=True,
        )
    return None


def _record(done: Done, space: ModelSpace, proposal: ProposalRecord) -> TrialRecord:
    """A finished trial as the store keeps it."""
    result = done.result
    spec = space.spec(proposal.dimensions)
    metrics = dict(result.metrics)
    if result.difference is not None and result.difference_se is not None:
        metrics |= {"difference_to_base": result.difference, "difference_to_base_se": result.difference_se}
    return TrialRecord(
        number=proposal.number,
        dimensions=proposal.dimensions,
        status="failed" if failed(done) else "complete",
        accuracy=result.accuracy,
        accuracy_se=result.standard_error,
        metrics=metrics,
        parameters=families.parameters(spec),
        macs=families.workload(spec).macs,
        seconds=result.seconds,
        error=result.error,
        proposal=proposal,
    )
