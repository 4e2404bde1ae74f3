"""Warm start: another study's trials are adopted, exactly and whole, and only where they are what this makes too."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from catransformers.config.sections import ImportanceSection
from catransformers.config.study import parse, read
from catransformers.errors import InputError, IntegrityError
from catransformers.execution import events
from catransformers.execution.events import StudyChecked
from catransformers.execution.local import Ended, LocalExecutor
from catransformers.execution.loop import run_study
from catransformers.execution.messages import Request, read_result
from catransformers.execution.results import load_study
from catransformers.execution.studies import warm_start as adoption
from catransformers.execution.training.plan import trial_model
from catransformers.execution.trial import main
from catransformers.models.loading.storage import load_model
from catransformers.reports.study.derive import summarise
from catransformers.reports.study.narrative import doubts, state
from catransformers.reports.study.tables import study_object
from catransformers.search.strategies.exact_hardware import ExactHardware
from catransformers.study.records import ProposalRecord
from catransformers.study.store import Store

DRIVE = Path(__file__).with_name("drive.py")
OTHER_HARDWARE = {
    "cores": (1.0, 2.0),
    "pe_x": (16.0,),
    "pe_y": (8.0,),
    "local_kib": (2.0, 16.0),
    "local_bandwidth": (32.0,),
    "global_mib": (1.0,),
}


def told(results):
    """What must be the same however a study came about."""
    return (
        [(t.number, t.dimensions, t.status, t.accuracy, t.accuracy_se, t.metrics, t.proposal) for t in results.trials],
        [(m.trial.number, m.design) for m in results.front],
        results.evaluations,
    )


class Here:
    """Does the real work in this process: torch is imported once."""

    def __init__(self):
        self.done = []

    def start(self, request):
        self.done.append(Ended(request, main([str(request)])))

    def wait(self):
        done, self.done = self.done, []
        return done

    def stop(self):
        self.done.clear()


def describe(folder):
    """What the fake worker leaves out beside its models: their description."""
    for model in folder.glob("trials/*/model.safetensors"):
        content = {
            "spec": {},
            "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "trial": int(model.parent.name),
        }
        model.with_suffix(".json").write_text(json.dumps(content))


@pytest.fixture(scope="session")
def finished(study, tmp_path_factory):
    """A finished study of eight trials by the fake worker, made once; copy it."""
    folder = tmp_path_factory.mktemp("finished") / "old"
    worker = LocalExecutor(command=(sys.executable, str(DRIVE.with_name("fake_worker.py"))))
    run_study(study(search__trials=8), folder, executor=worker)
    describe(folder)
    return folder


@pytest.fixture
def old(finished, tmp_path):
    """A copy of the finished study."""
    return load_study(Path(shutil.copytree(finished, tmp_path / "old")))


@pytest.fixture
def warm(study, old):
    """The study on other hardware, with another aim and strategy, that adopts the old one's trials."""

    def made(**changes):
        base = {
            "hardware__dimensions": OTHER_HARDWARE,
            "objectives__mode": "latency",
            "search__strategy": "exact-hardware",
            "search__trials": 3,
            "search__warm_start": (str(old.directory.root),),
        }
        return study(**(base | changes))

    return made


def test_trials_of_another_study_come_first_and_are_not_run(old, warm, fake, tmp_path, monkeypatch):
    heard, asked, ask = [], [], ExactHardware.ask

    def spy(self, observed, pending, number):
        asked.append((number, len(observed), len(pending)))
        return ask(self, observed, pending, number)

    monkeypatch.setattr(ExactHardware, "ask", spy)
    results = run_study(warm(), tmp_path / "new", executor=fake, listen=heard.append)
    assert heard[1] == events.TrialsAdopted(8, {})
    assert (heard[2].trials, heard[2].finished) == (11, 8)
    assert [t.number for t in results.trials] == list(range(11))
    for mine, theirs in zip(results.trials, old.trials, strict=False):
        assert (mine.dimensions, mine.accuracy, mine.accuracy_se, mine.metrics) == (
            theirs.dimensions,
            theirs.accuracy,
            theirs.accuracy_se,
            theirs.metrics,
        )
        assert (mine.proposal.origin, mine.proposal.reason) == (f"adopted from old, trial {theirs.number}", {})
    assert [name for name in fake.started if name.startswith("trials/")] == [f"trials/{n:04d}" for n in (8, 9, 10)]
    assert len({tuple(t.dimensions.values()) for t in results.trials}) == 11  # what is known is not tried again
    assert asked == [(8, 8, 0), (9, 8, 1), (10, 9, 1)]  # two workers; all that was adopted is known from the start
    assert results.finished
    assert told(load_study(tmp_path / "new")) == told(results)


def test_adopted_trials_can_be_used_as_any_other(old, warm, fake, tmp_path):
    results = run_study(warm(), tmp_path / "new", executor=fake)
    adopted = {t.number for t in results.trials if t.proposal.adopted}
    for number in adopted:
        folder, theirs = results.directory.trial(number), old.directory.trial(number)
        request = Request.read(folder / "request.json")
        result = read_result(folder, request)
        assert result is not None
        assert (request.subject, result.accuracy) == (number, results.trials[number].accuracy)
        assert trial_model(results, number).read_bytes() == (theirs / "model.safetensors").read_bytes()
    assert {e.subject for e in results.evaluations if e.pool == "test"} >= {m.trial.number for m in results.front}
    assert adopted & {m.trial.number for m in results.front}
    assert not {r.subject for r in results.energy if r.job == "trial"} & adopted
    summary = summarise(results)
    assert summary.search_footprint is not None
    assert summary.search_footprint.unknown == 0
    assert summary.search_footprint.trials == 3
    assert study_object(summary)["trials"] | {"left": 0} == {
        "planned": 11, "complete": 11, "failed": 0, "not_trained": 0, "left": 0, "adopted": 8
    }  # fmt: skip
    assert state(summary) == "11 of 11 trials, 8 of them adopted from another study"
    assert any(text.startswith("8 trials of other studies were adopted") for text in doubts(summary))
    assert "adopted" not in study_object(summarise(old))["trials"]


def test_what_is_planned_is_committed_whole_or_not_at_all(tmp_path):
    first = ProposalRecord(0, {"a": 1}, "adopted from x, trial 3", adopted=True)
    again = ProposalRecord(0, {"a": 2}, "Sobol")
    with Store(tmp_path / "study.db", "create") as store:
        with pytest.raises(IntegrityError):
            store.add_proposals([first, again])
        assert store.proposals() == []
        store.add_proposals([first])
        assert store.proposals() == [first]


def test_the_other_study_is_not_needed_afterwards_and_more_trials_go_on(old, warm, fake, tmp_path):
    run_study(warm(), tmp_path / "new", executor=fake)
    whole = run_study(warm(search__trials=5), tmp_path / "whole", executor=fake)
    shutil.rmtree(old.directory.root)
    more = run_study(warm(search__trials=5), tmp_path / "new", executor=fake)
    assert len(more.trials) == 13
    assert told(more)[:2] == told(whole)[:2]
    with pytest.raises(InputError, match=r"search\.trials: 4, but 5 are finished"):
        run_study(warm(search__trials=4), tmp_path / "new", executor=fake)
    with pytest.raises(InputError, match=r"search\.warm_start: was \["):
        run_study(warm(search__trials=5, search__warm_start=None), tmp_path / "new", executor=fake)


def test_every_key_that_a_trial_depends_on_must_be_equal(old, warm, fake, tmp_path):
    changed = warm(
        search__seed=4,
        accuracy__steps=7,
        accuracy__workers=3,
        execution__threads_per_worker=2,
        execution__measure="off",
    )
    with pytest.raises(InputError) as caught:
        run_study(changed, tmp_path / "new", where="new.toml", executor=fake)
    assert [p.where for p in caught.value.problems] == [
        "new.toml: accuracy.steps",
        "new.toml: search.seed",
        "new.toml: execution.threads_per_worker",
    ]
    assert "is 7 here, and 100 in" in str(caught.value)
    assert not (tmp_path / "new").exists()
    with sqlite3.connect(old.directory.database) as connection:
        connection.execute("UPDATE origin SET value = 'another' WHERE name = 'base_sha256'")
    with pytest.raises(InputError, match=r"model\.base: the base model's weights are not those of"):
        run_study(warm(), tmp_path / "new", executor=fake)


def test_folders_that_hold_no_such_study_are_told_all_at_once(old, warm, fake, tmp_path):
    (tmp_path / "empty").mkdir()
    new, heard = tmp_path / "new", []
    with pytest.raises(InputError) as caught:
        run_study(warm(search__warm_start=(str(tmp_path / "empty"), str(new))), new, executor=fake, listen=heard.append)
    assert not any(isinstance(event, StudyChecked) for event in heard)  # found before anything is costed
    assert [p.where for p in caught.value.problems] == ["search.warm_start"] * 2
    assert "no study with trials" in str(caught.value) and "that trains models" in str(caught.value)
    assert "the folder of this study itself" in str(caught.value)
    with sqlite3.connect(old.directory.database) as connection:
        connection.execute("DELETE FROM trials")
    with pytest.raises(InputError, match="no finished trials yet"):
        run_study(warm(), new, executor=fake)
    assert not new.exists()


def test_what_cannot_be_adopted_is_left_out_and_counted(old, warm, fake, tmp_path):
    gone, damaged = (old.directory.checkpoint(number) for number in (0, 1))
    gone.unlink()
    damaged.write_text("something else")
    with sqlite3.connect(old.directory.database) as connection:
        connection.execute("UPDATE trials SET status = 'failed', accuracy = NULL, error = 'x' WHERE number = 2")
    config = warm()
    space = config.model.space | {"text.layers": type(config.model.space["text.layers"])(values=(6,))}
    outside = sum(t.dimensions["text.layers"] == 3 for t in old.trials[3:])
    assert 0 < outside < 5
    outside_all = sum(t.dimensions["text.layers"] == 3 and t.number != 2 for t in old.trials)
    heard = []
    run_study(warm(model__space=space), tmp_path / "new", executor=fake, listen=heard.append)
    left_out = {"failed": 1, "outside the model space": outside_all}
    missing = sum(t.dimensions["text.layers"] == 6 for t in old.trials[:2])
    left_out |= {"without an intact model file": missing} if missing else {}
    assert heard[1] == events.TrialsAdopted(5 - outside, left_out)


def test_models_without_an_accelerator_are_left_out(old, warm, fake, tmp_path):
    fits = sorted(t.parameters for t in old.trials)[3]
    limited = warm(objectives__max_parameters=fits)
    heard = []
    results = run_study(limited, tmp_path / "new", executor=fake, listen=heard.append)
    adopted = [t for t in results.trials if t.proposal.adopted]
    assert heard[1] == events.TrialsAdopted(
        len(adopted), {"of a model that no accelerator keeps the limits with": 8 - len(adopted)}
    )
    assert {t.parameters <= fits for t in adopted} == {True}
    assert len(adopted) == sum(t.parameters <= fits for t in old.trials)
    smallest = min(t.parameters for t in old.trials)
    with pytest.raises(InputError, match=r"nothing to adopt: 8 of a model that no accelerator"):
        run_study(warm(objectives__max_parameters=smallest - 1), tmp_path / "other", executor=fake)
    assert not (tmp_path / "other").exists()


def test_several_studies_give_each_model_once(study, old, warm, fake, tmp_path):
    second = tmp_path / "second"
    longer = run_study(study(search__trials=10), second, executor=fake)  # the same eight models, and two more
    describe(second)
    heard = []
    config = warm(search__warm_start=(str(old.directory.root), str(second)))
    results = run_study(config, tmp_path / "new", executor=fake, listen=heard.append)
    assert heard[1] == events.TrialsAdopted(10, {"of a model that is adopted already": 8})
    assert [t.accuracy for t in results.trials[:10]] == [t.accuracy for t in longer.trials]
    assert [t.proposal.origin for t in results.trials[7:9]] == [
        "adopted from old, trial 7",
        "adopted from second, trial 8",
    ]
    third = run_study(warm(search__warm_start=(str(tmp_path / "new"),)), tmp_path / "third", executor=fake)
    assert [t.accuracy for t in third.trials[:10]] == [t.accuracy for t in results.trials[:10]]


DEADLY = """
import os, runpy, signal, sys
from catransformers.execution.studies import warm_start as adoption
step, call, *sys.argv = sys.argv[1:]
plain, calls = getattr(adoption, step), []
def deadly(*arguments, **keywords):
    calls.append(1)
    if len(calls) == int(call):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*arguments, **keywords)
setattr(adoption, step, deadly)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_in_the_middle_it_adopts_the_rest(old, warm, fake, tmp_path):
    config = warm()
    whole = run_study(config, tmp_path / "whole", executor=fake)
    study_file, new = tmp_path / "new.toml", tmp_path / "new"
    study_file.write_text(config.to_toml())
    # Before a model is linked; then after all files of a trial are there, and before it is committed.
    for step, call, committed in (("_link", 4, 3), ("replace", 3, 5)):
        arguments = [step, str(call), str(DRIVE), str(study_file), str(new)]
        assert (
            subprocess.run([sys.executable, "-c", DEADLY, *arguments], check=False, timeout=120).returncode
            == -signal.SIGKILL
        )
        assert len(load_study(new).trials) == committed
    # The other study goes on meanwhile: what is adopted was settled before.
    with sqlite3.connect(old.directory.database) as connection:
        connection.execute(
            "INSERT INTO proposals SELECT 50, dimensions, origin, reason, accelerator, adopted "
            "FROM proposals WHERE number = 0"
        )
        connection.execute(
            "INSERT INTO trials SELECT 50, status, accuracy, accuracy_se, metrics, parameters, macs, seconds, error, "
            "untrained FROM trials WHERE number = 0"
        )
    heard = []
    again = run_study(config, new, executor=fake, listen=heard.append)
    assert heard[1] == events.TrialsAdopted(3, {})
    assert told(again) == told(whole)
    assert not list(new.glob("trials/*/.*"))


def test_killed_in_the_middle_it_does_not_go_on_without_the_other_study(old, warm, fake, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(adoption, "_link", full)
        with pytest.raises(OSError, match="No space"):
            run_study(warm(), tmp_path / "new", executor=fake)
    moved = old.directory.root.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="no study with trials"):
        run_study(warm(), tmp_path / "new", executor=fake)
    shutil.copytree(moved, old.directory.root)
    old.directory.checkpoint(6).unlink()
    with pytest.raises(
        InputError, match=r"trial 6 was to be adopted from old, trial 6, and there is no such trial any"
    ):
        run_study(warm(), tmp_path / "new", executor=fake)


def test_models_are_copied_where_they_cannot_be_linked(old, warm, fake, tmp_path, monkeypatch):
    linked = run_study(warm(), tmp_path / "linked", executor=fake)
    assert linked.directory.checkpoint(2).samefile(old.directory.checkpoint(2))

    def refused(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    copied = run_study(warm(), tmp_path / "copied", executor=fake)
    assert not copied.directory.checkpoint(2).samefile(old.directory.checkpoint(2))
    assert copied.directory.checkpoint(2).read_bytes() == old.directory.checkpoint(2).read_bytes()
    assert told(copied) == told(linked)


def test_folders_count_from_the_study_file_and_one_is_as_good_as_a_list(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[search]\nwarm_start = "runs/other"\n')
    config, problems = read(path)
    assert not problems
    assert config.search.warm_start == (str(tmp_path / "runs" / "other"),)
    assert parse(config.to_toml(), "s.toml") == (config, [])
    for wrong in ("7", '[""]', '["a", 3]', r'"a\u0000"'):
        _, problems = parse(f'name = "s"\n[search]\nwarm_start = {wrong}\n', "s.toml")
        assert [p.where for p in problems] == ["s.toml: search.warm_start"]


def test_real_trials_come_out_the_same_to_the_bit_as_if_trained_on_the_other_hardware(study, tmp_path):
    quick = ImportanceSection(heads="magnitude", ffn="magnitude", embed="magnitude", layers="magnitude")
    shared = {"accuracy__steps": 2, "accuracy__batch_size": 16, "model__importance": quick, "execution__workers": 1}
    other = {**shared, "hardware__dimensions": OTHER_HARDWARE}
    old = run_study(study(search__trials=1, **shared), tmp_path / "old", executor=Here())
    anew = run_study(study(search__trials=2, **other), tmp_path / "anew", executor=Here())
    config = study(search__trials=1, search__warm_start=(str(old.directory.root),), **other)
    warm = run_study(config, tmp_path / "warm", executor=Here())
    found, wanted = (
        [(t.dimensions, t.accuracy, t.accuracy_se, t.metrics["difference_to_base"]) for t in results.trials]
        for results in (warm, anew)
    )
    assert found == wanted
    assert [(m.trial.number, m.design) for m in warm.front] == [(m.trial.number, m.design) for m in anew.front] != []
    found, wanted = (
        [(e.subject, e.pool, e.accuracy, e.difference, e.difference_se) for e in results.evaluations]
        for results in (warm, anew)
    )
    assert found == wanted
    for number in range(2):
        path, theirs = warm.directory.checkpoint(number), anew.directory.checkpoint(number)
        assert path.read_bytes() == theirs.read_bytes()
        assert path.with_suffix(".json").read_bytes() == theirs.with_suffix(".json").read_bytes()
        assert load_model(path).spec == warm.costs.space.spec(warm.trials[number].dimensions)
