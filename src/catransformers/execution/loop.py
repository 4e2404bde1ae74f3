"""The study loop: propose, train, commit, until all trials are done; then the final test. Kill it whenever you like.

What makes a study come out the same after any number of kills:
- trial n is proposed from exactly the results of trials 0 … n−w (w workers), those after it count as pending, so that
  it does not matter which trial happens to finish first;
- a proposal is committed before its trial starts, a result when it is there; a worker's result file that the loop did
  not live to commit is picked up; a trial that was cut off is run again from its request;
- a trial depends on its request alone; therefore those of another study can be adopted (`adoption`). They come first,
  and every proposal may look at all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from catransformers.config.study import StudyConfig
from catransformers.errors import InfeasibleError, InputError, IntegrityError, Problem
from catransformers.execution.events import (
    BaseMeasured,
    DataChecked,
    Listener,
    StudyChecked,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    silent,
)
from catransformers.execution.gate import FILE as GATE_FILE
from catransformers.execution.gate import Gate
from catransformers.execution.jobs import Done, Jobs, failed
from catransformers.execution.ledger import Ledger
from catransformers.execution.local import Executor, LocalExecutor
from catransformers.execution.messages import read_result, request_of
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.assemble import assemble, check, check_machine
from catransformers.execution.studies.final_test import StudyFailure, evaluation_of, finish
from catransformers.execution.studies.opening import keep_origin, open_study, origin_of
from catransformers.execution.studies.warm_start import adopt, plan_adoption, sources_of
from catransformers.search.costs.space import Costs
from catransformers.search.problem import Observation
from catransformers.search.space import ModelSpace
from catransformers.search.strategies import DesignStrategy, Strategy, strategy
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
    gate: Gate | None = None,
) -> StudyResults:
    """Run a study in the folder `out`, or go on with the one that is there.

    Args:
        config: the study.
        out: its folder; made if need be.
        where: what to call the study file in messages.
        listen: told what happens.
        executor: who does the work; processes on this machine by default.
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
    with Ledger(config.execution) as ledger:
        return _run(config, out, where, listen, executor, ledger, gate)


def _run(
    config: StudyConfig,
    out: Path,
    where: str,
    listen: Listener,
    executor: Executor | None,
    ledger: Ledger,
    gate: Gate | None,
) -> StudyResults:
    directory = StudyDirectory(out)
    gate = gate or Gate(config.execution, directory.root / GATE_FILE)
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
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(Problem(str(out), f"cannot be made: {error.strerror}", "a folder")) from error
    with directory.lock():
        open_study(config, directory)
        jobs = Jobs(executor or LocalExecutor(config.execution.threads_per_worker))
        with Store(directory.database, "create") as store:
            keep_origin(store, origin)
            if adoption is not None:
                adopt(adoption, config, directory, store, listen)
            try:
                _open(config, costs, directory, store, jobs, ledger, gate, listen)
                _search(config, costs, directory, store, jobs, chooser, ledger, gate, listen)
                finish(config, costs, directory, store, jobs, ledger, listen)
            finally:
                jobs.stop()
                with suppress(IntegrityError):  # what went wrong before is the news
                    store.add_energy(ledger.records(ended=True))
            trials, evaluations, energy = store.trials(), store.evaluations(), store.energy()
            return StudyResults(directory, config, costs, tuple(trials), tuple(evaluations), tuple(energy))


def _open(
    config: StudyConfig,
    costs: Costs,
    directory: StudyDirectory,
    store: Store,
    jobs: Jobs,
    ledger: Ledger,
    gate: Gate,
    listen: Listener,
) -> None:
    """Say what is ahead; measure the base model if that was not done yet."""
    trials = store.trials()
    listen(
        StudyOpened(
            trials=config.search.trials + sum(trial.proposal.adopted for trial in trials),
            finished=len(trials),
            models=costs.space.size,
            feasible_models=costs.feasible_models,
            accelerators=len(costs.table),
        )
    )
    listen(ledger.chosen())
    gate.before_start(bool(store.evaluations()), listen)
    known = [e for e in store.evaluations() if e.subject is None and e.pool == "validation"]
    request = request_of(config, "base", None, {})
    if not known or read_result(directory.base, request) is None:  # trials need the files that lie beside the result
        jobs.start(request, directory.base)
        (done,) = jobs.wait()
        measured = evaluation_of(done, "validation")
        if not known:
            store.add_evaluation(measured)
            known = [measured]
        store.add_energy(ledger.records(directory.base))
    listen(BaseMeasured(known[0]))


def _search(
    config: StudyConfig,
    costs: Costs,
    directory: StudyDirectory,
    store: Store,
    jobs: Jobs,
    chooser: Strategy,
    ledger: Ledger,
    gate: Gate,
    listen: Listener,
) -> None:
    """Make the trials that are not there yet, up to `workers` at a time.

    A model that has no feasible accelerator is never trained: its trial is over at once, with the limit that it breaks.
    Strategies do not propose such models; one from elsewhere may, and spends its trials on them.
    """
    workers, space = config.execution.workers, costs.space
    proposals = {proposal.number: proposal for proposal in store.proposals()}
    finished = {trial.number: trial for trial in store.trials()}
    failures, ahead = 0, sum(proposal.adopted for proposal in proposals.values())
    first, last = ahead, ahead + config.search.trials  # of the trials to run; those before them were adopted
    while True:
        while ahead < last and all(n in finished for n in range(ahead - workers + 1)):
            if ahead not in finished:
                if ahead not in proposals:
                    proposal = _propose(ahead, max(first, ahead - workers + 1), costs, chooser, proposals, finished)
                    if proposal is None:
                        break  # every feasible model was tried
                    store.add_proposal(proposal)
                    proposals[ahead] = proposal
                hopeless = _untrained(costs, proposals[ahead])
                if hopeless is not None:
                    store.add_trial(hopeless)
                    finished[ahead] = hopeless
                    listen(TrialFinished(hopeless, len(finished)))
                    ahead += 1
                    continue
                if gate.closed(listen):
                    if len(jobs):
                        break  # what runs is finished and committed first
                    gate.wait(listen)
                listen(TrialStarted(proposals[ahead]))
                jobs.start(request_of(config, "trial", ahead, proposals[ahead].dimensions), directory.trial(ahead))
            ahead += 1
        if not len(jobs):
            return
        for done in jobs.wait():
            number = done.request.subject
            if number is None:
                continue
            record = _record(done, space, proposals[number])
            store.add_trial(record, ledger.records(directory.trial(number)))
            finished[number] = record
            listen(TrialFinished(record, len(finished)))
            failures = failures + 1 if record.status == "failed" else 0
            if failures == PATIENCE:  # a full disk, say: do not spend the rest of the trials on it
                raise StudyFailure(
                    f"{failures} trials in a row failed, so the study stops here; the last one said: {record.error} "
                    "(mend the cause and run the same command again)"
                )


def _propose(
    number: int,
    known: int,
    costs: Costs,
    chooser: Strategy,
    proposals: Mapping[int, ProposalRecord],
    finished: Mapping[int, TrialRecord],
) -> ProposalRecord | None:
    """The proposal of a trial, from what it may know: the results of the first `known` trials.

    Raises:
        StudyFailure: for a proposal of a model or an accelerator that the study does not have.
    """
    space = costs.space
    visible = range(known)
    observed = [
        Observation(space.index(finished[n].dimensions), finished[n].accuracy, finished[n].accuracy_se) for n in visible
    ]
    pending = [space.index(proposals[n].dimensions) for n in range(len(visible), number)]
    if isinstance(chooser, DesignStrategy):
        proposal = chooser.ask(observed, pending, number, ran_on=[proposals[n].accelerator for n in range(number)])
    else:
        proposal = chooser.ask(observed, pending, number)
    if proposal is None:
        return None
    if not 0 <= proposal.index < space.size or not 0 <= (proposal.accelerator or 0) < len(costs.table):
        raise StudyFailure(
            f"the strategy proposed model {proposal.index} on accelerator {proposal.accelerator} for trial {number}; "
            f"this study has {space.size} models and {len(costs.table)} accelerators"
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
