"""Warm start: a new study takes over the trials of others, instead of training the same models again.

A trial depends on its request alone: base model, pruning, task, data, proxy fine-tune, seed, device and threads. The
hardware to choose from, scenario, objectives, limits and strategy have no say in it. So a study that differs from
another in those only would train the other's models to the same accuracies, to the bit; it may as well adopt them.
That is exact, and refused where anything that a trial depends on differs.

The adopted trials are the first ones of the new study. Their proposals are committed all at once, before the first of
them is taken over: a kill in between changes nothing, and it does not matter if the other study goes on meanwhile. Then
each trial's files are put in its folder (models as hard links where the disk allows it), and the trial is committed.
After that the other study's folder is not needed any more.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from catransformers.config.study import StudyConfig, read
from catransformers.errors import CatransformersError, InputError, Problem, Problems
from catransformers.execution.events import TrialsAdopted
from catransformers.execution.messages import Request, Result, request_of
from catransformers.execution.studies.open_study import changed_origin, flat, shown
from catransformers.execution.study_run import StudyRun
from catransformers.files import write_whole
from catransformers.search.costs.space import Costs
from catransformers.study.directory import StudyDirectory
from catransformers.study.records import ProposalRecord, TrialRecord
from catransformers.study.store import Store

KEY = "search.warm_start"
#: Parts of a request that are keys of a study file under another name.
KEYS = {"seed": "search.seed", "device": "execution.device", "threads": "execution.threads_per_worker"}
# Why a trial is left out.
FAILED, OUTSIDE, MISSING = "failed", "outside the model space", "without an intact model file"
HOPELESS, TWICE = "of a model that no accelerator keeps the limits with", "of a model that is adopted already"


@dataclass(frozen=True, slots=True)
class WarmStartSource:
    """Another study, whose trials are what this study's would be.

    Args:
        directory: where it lies.
        trials: its finished trials, by number.
    """

    directory: StudyDirectory
    trials: tuple[TrialRecord, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """The studies that a study warm-starts from, all of them checked.

    Args:
        found: the other studies.
        committed: whether an earlier run has committed what is adopted, and left only the files to take over.
    """

    found: tuple[WarmStartSource, ...]
    committed: bool


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is to be taken over.

    Args:
        sources: the other studies.
        proposals: of the trials that are adopted; none if an earlier run has committed them.
        left_out: how many of the others' trials are not adopted, by reason.
    """

    sources: tuple[WarmStartSource, ...]
    proposals: tuple[ProposalRecord, ...]
    left_out: Mapping[str, int]


def sources_of(
    config: StudyConfig, origin: Mapping[str, str], directory: StudyDirectory, where: str = ""
) -> Sources | None:
    """What a study adopts trials from, or has still to; None for nothing. Quick: no model is costed.

    Args:
        config: the study.
        origin: what its trials are made from.
        directory: its folder, which may not be there yet.
        where: what to call the study file in messages.

    Raises:
        InputError: if a source is no study, or its trials depend on something else than this study's would (every key
            is named).
        IntegrityError: if a source is damaged.
    """
    begun = directory.config.is_file() and directory.database.is_file()
    if begun:
        with Store(directory.database) as store:
            proposals, trials = store.proposals(), store.trials()
        begun = bool(proposals)
        if begun and sum(p.adopted for p in proposals) == sum(t.proposal.adopted for t in trials):
            return None
    if not config.search.warm_start:
        return None
    problems = Problems()
    sources: list[WarmStartSource] = []
    for folder in config.search.warm_start:
        with problems.collect():
            sources.append(_source(config, origin, StudyDirectory(Path(folder)), directory))
    if problems:
        named = [replace(p, where=f"{where}: {p.where}") for p in problems] if where else problems
        raise InputError(list(dict.fromkeys(named)))
    return Sources(tuple(sources), begun)


def plan_adoption(costs: Costs, sources: Sources, where: str = "") -> Adoption:
    """What a study adopts from its sources. Writes nothing.

    Args:
        costs: of its models.
        sources: the studies that it warm-starts from.
        where: what to call the study file in messages.

    Raises:
        InputError: if they have no trial that can be adopted.
    """
    if sources.committed:
        return Adoption(sources.found, (), {})
    chosen, left_out = _chosen(costs, sources.found)
    if not chosen:
        what = f"there is nothing to adopt: {_counted(left_out)}"
        raise InputError(Problem(f"{where}: {KEY}" if where else KEY, what, hint="leave it out, or widen the study"))
    return Adoption(sources.found, tuple(chosen), left_out)


def _source(
    config: StudyConfig, origin: Mapping[str, str], directory: StudyDirectory, own: StudyDirectory
) -> WarmStartSource:
    """Another study, checked.

    Raises:
        InputError: if it is none, has no trials, or others than this study would make.
    """
    root = directory.root
    if root.resolve() == own.root.resolve():
        raise InputError(Problem(KEY, f"{root} is the folder of this study itself", "another study's folder"))
    if not directory.config.is_file() or not directory.database.is_file():
        raise InputError(
            Problem(KEY, f"there is no study with trials in {root}", "the folder of a `search` that trains models")
        )
    other, problems = read(directory.config)
    if problems:
        raise InputError(problems)
    with Store(directory.database) as store:
        made_from, trials = store.origin(), store.trials()
    if not trials:
        raise InputError(Problem(KEY, f"the study in {root} has no finished trials yet", hint="leave it out"))
    changed = changed_keys(_plain(other), _plain(config))
    hint = f"trials that would come out otherwise are not adopted: make it equal, or leave {KEY} out"
    found = Problems(
        Problem(key, f"is {shown(now)} here, and {shown(then)} in {root}", hint=hint)
        for key, (then, now) in changed.items()
    )
    found += [
        Problem(place, f"{what} are not those of {root}", hint=hint)
        for place, what in changed_origin(made_from, origin)
    ]
    found.finish()
    return WarmStartSource(directory, tuple(trials))


def _plain(config: StudyConfig) -> Request:
    """A request of a study that is of no trial: what all of them depend on."""
    return request_of(config, "trial", None, {})


def changed_keys(then: Request, now: Request) -> dict[str, tuple[object, object]]:
    """The keys of the study file in which two requests differ, with both values."""
    before, after = flat(then.content), flat(now.content)
    return {
        KEYS.get(key, key): (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


def _chosen(costs: Costs, sources: Sequence[WarmStartSource]) -> tuple[list[ProposalRecord], Counter[str]]:
    """The proposals of all trials that can be adopted, and how many cannot, by reason."""
    chosen: list[ProposalRecord] = []
    taken: set[int] = set()
    left_out: Counter[str] = Counter()
    for source in sources:
        for trial in source.trials:
            index = _index(costs, trial)
            why = _why_not(costs, source, trial, index, taken)
            if why or index is None:
                left_out[why] += 1
                continue
            taken.add(index)
            origin = f"adopted from {source.directory.root.resolve().name}, trial {trial.number}"
            chosen.append(ProposalRecord(len(chosen), costs.space.dimensions(index), origin, adopted=True))
    return chosen, left_out


def _index(costs: Costs, trial: TrialRecord) -> int | None:
    try:
        return costs.space.index(trial.dimensions)
    except InputError:
        return None


def _why_not(costs: Costs, source: WarmStartSource, trial: TrialRecord, index: int | None, taken: set[int]) -> str:
    """Why a trial is not adopted; an empty text if it is."""
    if trial.accuracy is None:
        return FAILED
    if index is None:
        return OUTSIDE
    if costs.accelerator_of(index) < 0:
        return HOPELESS
    if index in taken:
        return TWICE
    return "" if _intact(source.directory.checkpoint(trial.number)) else MISSING


def _intact(checkpoint: Path) -> bool:
    """Whether a trial's model is there as it was written."""
    from catransformers.models.loading.storage import read_description  # noqa: PLC0415 - torch

    try:
        with checkpoint.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == read_description(checkpoint)["sha256"]
    except (OSError, CatransformersError):
        return False


def adopt(run: StudyRun, adoption: Adoption) -> None:
    """Take over what is planned and not there yet.

    Raises:
        InputError: if a trial that was to be adopted, before the study was interrupted, is gone.
        OSError: if its files cannot be written.
    """
    store = run.store
    if not store.proposals():
        store.add_proposals(adoption.proposals)
    finished = {trial.number for trial in store.trials()}
    waiting = [p for p in store.proposals() if p.adopted and p.number not in finished]
    for proposal in waiting:
        found = _lookup(adoption.sources, proposal)
        if found is None:
            what = f"trial {proposal.number} was to be {proposal.origin}, and there is no such trial any more"
            raise InputError(Problem(KEY, what, hint="begin again in another folder (--out)"))
        _take(run, *found, proposal)
        store.add_trial(replace(found[1], number=proposal.number, proposal=proposal))
    run.listen(TrialsAdopted(len(waiting), dict(adoption.left_out)))


def _lookup(sources: Sequence[WarmStartSource], proposal: ProposalRecord) -> tuple[WarmStartSource, TrialRecord] | None:
    """The first of the sources' trials of a model; every other one of the same model came out the same."""
    for source in sources:
        for trial in source.trials:
            same = trial.accuracy is not None and dict(trial.dimensions) == dict(proposal.dimensions)
            if same and source.directory.checkpoint(trial.number).is_file():
                return source, trial
    return None


def _take(run: StudyRun, source: WarmStartSource, trial: TrialRecord, proposal: ProposalRecord) -> None:
    """Put a trial's files in its folder here, as if it had been run; done twice, they are the same.

    What metered it stays where it was spent.
    """
    from catransformers.models.loading.storage import read_description  # noqa: PLC0415 - torch

    number = proposal.number
    theirs, ours = source.directory.checkpoint(trial.number), run.directory.checkpoint(number)
    description = {**read_description(theirs), "trial": number}
    request = run.request("trial", number, proposal.dimensions)
    request.write(run.directory.trial(number))
    _link(theirs, ours)
    text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(ours.with_suffix(".json"), text + "\n")
    paired = ("difference_to_base", "difference_to_base_se")
    Result(
        request.sha256,
        accuracy=trial.accuracy,
        standard_error=trial.accuracy_se,
        difference=trial.metrics.get(paired[0]),
        difference_se=trial.metrics.get(paired[1]),
        metrics={name: value for name, value in trial.metrics.items() if name not in paired},
        seconds=trial.seconds,
    ).write(run.directory.trial(number))


def _link(source: Path, target: Path) -> None:
    """Give a file that nobody changes in place a second name, or copy it where that cannot be; whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        temporary = Path(folder) / target.name
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(source, temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(target)  # of a link to itself both names stay; the folder goes with this one


def _counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {why}" for why, count in left_out.items())
