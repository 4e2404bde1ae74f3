"""The study loop with a worker that trains nothing: order, resuming, failures."""

import shutil
import sqlite3
import threading

import pytest

from catransformers.errors import InfeasibleError, InputError
from catransformers.execution import events
from catransformers.execution.loop import run_study
from catransformers.execution.results import load_study
from catransformers.execution.study_run import StudyFailure
from catransformers.study.directory import StudyBusyError, StudyDirectory


def told(results):
    """What must be the same however a study came about."""
    return (
        [(t.number, t.dimensions, t.status, t.accuracy, t.proposal) for t in results.trials],
        [(m.trial.number, m.design) for m in results.front],
        results.evaluations,
    )


def test_a_study_from_beginning_to_end(study, fake, tmp_path):
    heard = []
    results = run_study(study(), tmp_path / "s", listen=heard.append, executor=fake)
    assert [t.number for t in results.trials] == list(range(10))
    assert len({tuple(t.dimensions.values()) for t in results.trials}) == 10
    assert results.finished
    base = results.evaluation(None, "validation")
    assert base is not None
    assert base.accuracy == 0.8
    front = {m.trial.number for m in results.front}
    tested = {e.subject for e in results.evaluations if e.pool == "test"}
    assert tested == {None} | front
    assert all(e.difference is not None for e in results.evaluations if e.subject is not None)
    trial = results.trials[3]
    assert trial.metrics["difference_to_base"] == pytest.approx(trial.accuracy - 0.8)
    assert trial.parameters > 0
    assert trial.macs > 0
    assert results.convergence.shape == (10,)
    kinds = [type(e) for e in heard]
    assert kinds[:4] == [events.StudyChecked, events.StudyOpened, events.MeterChosen, events.ModelEvaluated]
    assert kinds.count(events.TrialStarted) == kinds.count(events.TrialFinished) == 10
    assert kinds.count(events.ModelEvaluated) - 1 == len(tested) == heard[-1 - len(tested)].models
    files = sorted(p.name for p in (tmp_path / "s" / "trials" / "0003").iterdir())
    assert files.pop(0).startswith("energy-")
    assert files == ["log.txt", "model.safetensors", "pid", "request.json", "result.json"]
    assert told(load_study(tmp_path / "s")) == told(results)


def test_the_same_command_again_does_nothing(study, fake, tmp_path):
    first = run_study(study(), tmp_path / "s", executor=fake)
    done = len(fake.started)
    again = run_study(study(), tmp_path / "s", executor=fake)
    assert len(fake.started) == done
    assert told(again) == told(first)


def test_more_trials_go_on_where_it_ended(study, fake, tmp_path):
    run_study(study(search__trials=7), tmp_path / "s", executor=fake)
    begun = len(fake.started)
    more = run_study(study(), tmp_path / "s", executor=fake)
    whole = run_study(study(), tmp_path / "other", executor=fake)
    assert told(more)[:2] == told(whole)[:2]
    again = fake.started[begun:]
    assert [name for name in again if name.startswith("trials/")][:3] == ["trials/0007", "trials/0008", "trials/0009"]
    assert "tests/base" not in again[:3]
    assert load_study(tmp_path / "s").config.search.trials == 10


def test_what_finishes_first_does_not_matter(study, fake, tmp_path, monkeypatch):
    config = study(execution__workers=3, search__strategy="exact-hardware", search__trials=9)
    calm = run_study(config, tmp_path / "calm", executor=fake)
    monkeypatch.setitem(fake.environment, "FAKE_DELAY", "0.4")
    hasty = run_study(config, tmp_path / "hasty", executor=fake)
    assert told(hasty) == told(calm)


def test_a_changed_study_is_an_error_that_names_every_key(study, fake, tmp_path):
    folder = tmp_path / "s"
    run_study(study(search__trials=2), folder, executor=fake)
    before = (folder / "study.toml").read_text()
    changed = study(search__seed=1, accuracy__steps=7, objectives__max_area_mm2=20.0, execution__workers=1)
    with pytest.raises(InputError) as caught:
        run_study(changed, folder, executor=fake)
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "search.seed: was 0 when the study began, is 1 now" in text
    assert "accuracy.steps" in text
    assert "objectives.max_area_mm2: was not given" in text
    assert (folder / "study.toml").read_text() == before
    with pytest.raises(InputError, match=r"search\.trials: 1, but 2 are finished"):
        run_study(study(search__trials=1), folder, executor=fake)


def test_a_base_model_that_changed_meanwhile_is_an_error(study, fake, tmp_path):
    config = study(search__trials=1)
    run_study(config, tmp_path / "s", executor=fake)
    with sqlite3.connect(tmp_path / "s" / "study.db") as connection:
        connection.execute("UPDATE origin SET value = 'another' WHERE name = 'base_sha256'")
    with pytest.raises(InputError, match=r"model\.base: the base model's weights are not those"):
        run_study(config, tmp_path / "s", executor=fake)


def test_a_folder_with_other_files_is_left_alone(study, fake, tmp_path):
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(InputError, match=r"holds other files \(thesis.tex\)"):
        run_study(study(), tmp_path, executor=fake)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["study.lock", "thesis.tex"]


def test_nothing_is_written_for_a_wrong_or_an_impossible_study(study, fake, tmp_path):
    with pytest.raises(InputError, match=r"accuracy\.task"):
        run_study(study(accuracy__task="scene"), tmp_path / "wrong", executor=fake)
    with pytest.raises(InfeasibleError, match="max_latency_ms"):
        run_study(study(objectives__max_latency_ms=1e-9), tmp_path / "impossible", executor=fake)
    assert list(tmp_path.iterdir()) == []
    assert fake.started == []


def test_a_crash_is_a_failed_trial_with_the_end_of_its_log(study, fake, tmp_path):
    fake.environment |= {"FAKE_CRASH": "1,7", "FAKE_REPORT": "2"}
    results = run_study(study(), tmp_path / "s", executor=fake)
    crashed, reported = results.trials[1], results.trials[2]
    assert [t.number for t in results.trials if t.status == "failed"] == [1, 2, 7]
    assert "ended with status 1" in crashed.error
    assert crashed.error.endswith("RuntimeError: the moon is in the wrong house")
    assert reported.error == "the loss is not finite at step 3"
    models = [tuple(t.dimensions.values()) for t in results.trials]
    assert len(set(models)) == 10  # failed models are not tried again
    assert all(m.trial.status == "complete" for m in results.front)
    calm = run_study(study(), tmp_path / "s", executor=fake)
    assert told(calm) == told(results)


def test_many_failures_in_a_row_stop_the_study_before_they_eat_its_trials(study, fake, tmp_path):
    fake.environment["FAKE_CRASH"] = ",".join(map(str, range(2, 10)))
    with pytest.raises(StudyFailure, match=r"(?s)5 trials in a row failed.*wrong house"):
        run_study(study(execution__workers=1), tmp_path / "s", executor=fake)
    kept = load_study(tmp_path / "s").trials
    assert [t.status for t in kept] == ["complete"] * 2 + ["failed"] * 5
    fake.environment.pop("FAKE_CRASH")
    assert len(run_study(study(), tmp_path / "s", executor=fake).trials) == 10


def test_a_killed_worker_gets_one_more_chance(study, fake, tmp_path):
    fake.environment |= {"FAKE_DIE": "3", "FAKE_DIE_ONCE": "4"}
    results = run_study(study(search__trials=6), tmp_path / "s", executor=fake)
    assert [t.status for t in results.trials] == ["complete"] * 3 + ["failed"] + ["complete"] * 2
    assert "killed by signal 9" in results.trials[3].error
    assert fake.started.count("trials/0003") == fake.started.count("trials/0004") == 2


def test_a_base_model_that_cannot_be_measured_ends_the_study_and_is_tried_again(study, fake, tmp_path):
    fake.environment["FAKE_REPORT"] = "None"
    with pytest.raises(StudyFailure, match=r"the base model could not be evaluated.*not finite"):
        run_study(study(search__trials=2), tmp_path / "s", executor=fake)
    del fake.environment["FAKE_REPORT"]
    assert run_study(study(search__trials=2), tmp_path / "s", executor=fake).finished


def test_a_finished_result_that_was_not_committed_is_picked_up(study, fake, tmp_path):
    folder = tmp_path / "s"
    first = run_study(study(search__trials=6), folder, executor=fake)
    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute("DELETE FROM trials WHERE number >= 4")
    (folder / "trials" / "0005" / "result.json").write_text('{"request_sha256": "of anot')  # cut off
    begun = len(fake.started)
    again = run_study(study(search__trials=6), folder, executor=fake)
    assert fake.started[begun:] == ["trials/0005"]
    assert told(again) == told(first)


def test_a_result_of_another_request_is_not_taken(study, fake, tmp_path):
    run_study(study(search__trials=2), tmp_path / "one", executor=fake)
    run_study(study(search__trials=2, search__seed=5), tmp_path / "two", executor=fake)
    with sqlite3.connect(tmp_path / "one" / "study.db") as connection:
        connection.execute("DELETE FROM trials WHERE number = 1")
    shutil.copytree(tmp_path / "two" / "trials" / "0001", tmp_path / "one" / "trials" / "0001", dirs_exist_ok=True)
    again = run_study(study(search__trials=2), tmp_path / "one", executor=fake)
    assert again.trials[1].metrics["seed"] == 0


def test_two_processes_cannot_work_on_one_study(study, fake, tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    held, release = threading.Event(), threading.Event()

    def hold():
        with StudyDirectory(folder).lock():
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    with pytest.raises(StudyBusyError, match="another process"):
        run_study(study(), folder, executor=fake)
    release.set()
    thread.join(30)
    assert not thread.is_alive()


def test_a_space_smaller_than_the_trials_ends_when_all_are_tried(study, fake, tmp_path):
    full = {"vision.layers": 6, "vision.ffn_dim": 256, "vision.embed_dim": 64, "vision.heads": 4}
    full |= {"text.layers": 6, "text.ffn_dim": 256, "text.embed_dim": 64}
    config = study()
    one = {name: type(config.model.space["text.layers"])(values=(value,)) for name, value in full.items()}
    results = run_study(study(model__space=one), tmp_path / "s", executor=fake)
    assert len(results.trials) == 3  # text.heads: 2, 3, 4
    assert results.finished


def test_reading_what_is_no_study(tmp_path):
    with pytest.raises(InputError, match="no study in this folder"):
        load_study(tmp_path)


def test_measurements_of_the_base_that_are_gone_are_made_again(study, fake, tmp_path):
    first = run_study(study(search__trials=3), tmp_path / "s", executor=fake)
    shutil.rmtree(tmp_path / "s" / "base")
    begun = len(fake.started)
    again = run_study(study(search__trials=4), tmp_path / "s", executor=fake)
    assert fake.started[begun].endswith("/base")
    assert told(again)[0][:3] == told(first)[0]


def test_a_study_does_not_go_on_without_its_device(study, fake, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    run_study(study(search__trials=2, execution__device="cuda"), tmp_path / "s", executor=fake)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA device"):
        run_study(study(search__trials=4, execution__device="cuda"), tmp_path / "s", executor=fake)
    assert len(load_study(tmp_path / "s").trials) == 2
