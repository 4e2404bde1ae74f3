"""The real worker: a trial of the embedded study from request to checkpoint, twice the same; and its messages."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from catransformers.accuracy.tasks.scenes import ScenesTask
from catransformers.accuracy.training.proxy import scaled_steps
from catransformers.config.sections import ImportanceSection
from catransformers.errors import InputError, IntegrityError
from catransformers.execution.local import LocalExecutor
from catransformers.execution.loop import run_study
from catransformers.execution.messages import Request, Result, read_result, request_of
from catransformers.execution.trial import main
from catransformers.models.families.clip import Clip
from catransformers.models.loading.storage import embedded_model, load_model, save_model
from catransformers.models.loading.torchvision_compat import ENVIRONMENT
from catransformers.models.pruning.magnitude import magnitude_scores, random_scores
from catransformers.study.directory import StudyDirectory
from catransformers.workloads import families
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec
from catransformers.workloads.zoo import embedded_spec


@pytest.fixture(scope="module")
def real(study, tmp_path_factory):
    """A real study of two trials, a few steps each."""
    config = study(search__trials=2, search__strategy="exact-hardware", accuracy__steps=3, accuracy__batch_size=16)
    return run_study(config, tmp_path_factory.mktemp("real") / "study")


def test_real_trials_leave_what_the_study_says(real):
    assert [t.status for t in real.trials] == ["complete"] * 2
    for trial in real.trials:
        path = real.directory.checkpoint(trial.number)
        described = json.loads(path.with_suffix(".json").read_text())
        assert (described["trial"], described["dimensions"]) == (trial.number, trial.dimensions)
        model = load_model(path)
        assert model.spec == real.costs.space.spec(trial.dimensions)
        assert ScenesTask().evaluate(model, "validation").accuracy == trial.accuracy
    base = real.evaluation(None, "test")
    assert base is not None
    for member in real.front:
        tested = real.evaluation(member.trial.number, "test")
        assert tested is not None
        assert tested.difference == pytest.approx(tested.accuracy - base.accuracy)
        assert tested.difference_se > 0


def test_a_trial_done_again_is_the_same_to_the_bit(real, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(real.directory.root, folder)
    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute("DELETE FROM trials WHERE number = 1")
    trial = StudyDirectory(folder).trial(1)
    for name in ("result.json", "model.safetensors", "model.json"):
        (trial / name).unlink()
    again = run_study(real.config, folder)
    assert again.trials[1].accuracy == real.trials[1].accuracy
    for name in ("model.safetensors", "model.json"):
        assert (trial / name).read_bytes() == (real.directory.trial(1) / name).read_bytes()


def test_a_diverging_fine_tune_is_a_failure_that_says_so(real):
    section = replace(real.config.accuracy, learning_rate=1e30)
    config = replace(real.config, accuracy=section)
    folder = real.directory.trial(9)
    path = request_of(config, "trial", 9, real.trials[1].dimensions).write(folder)
    assert main([str(path)]) == 0
    result = read_result(folder, Request.read(path))
    assert result is not None
    assert result.accuracy is None
    assert "diverged at step" in result.error
    assert not (folder / "model.safetensors").exists()


@pytest.mark.skipif(find_spec("open_clip") is None, reason="open_clip is not installed")
def test_a_base_of_ones_own_and_images_from_a_csv_file(study, tmp_path, monkeypatch):
    """The way of a real base model: a model on disk with CLIP's vocabulary, and a table of images and captions."""
    monkeypatch.setenv(ENVIRONMENT, "1")  # where torchvision does not fit torch
    spec = ClipSpec(
        VisionSpec(2, 32, 16, 2, 8, tokens=5, image_size=32, patch_size=16),
        TextSpec(2, 32, 16, 2, 8, tokens=77, vocab_size=49408),
        projection_dim=16,
    )
    torch.manual_seed(0)
    (tmp_path / "base").mkdir()
    save_model(Clip(spec), tmp_path / "base" / "model.safetensors")
    rows = ["image,caption,split"]
    for number, split in enumerate(["train", "calibration", "validation", "test"] * 4):
        Image.new("RGB", (40, 36), (number * 15, 255 - number * 15, 90)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,colour number {number},{split}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    config = study(
        model__base=str(tmp_path / "base"),
        model__space={},
        accuracy__task="retrieval",
        accuracy__data=str(tmp_path / "pairs.csv"),
        accuracy__steps=1,
        accuracy__batch_size=4,
        search__trials=1,
    )
    results = run_study(config, tmp_path / "study")
    assert results.trials[0].error == ""
    assert results.trials[0].status == "complete"
    assert {e.pool for e in results.evaluations} == {"validation", "test"}
    with (tmp_path / "pairs.csv").open("a") as file:
        file.write("\n0.png,another caption,train")
    with pytest.raises(InputError, match=r"accuracy\.data: the data are not those"):
        run_study(config, tmp_path / "study")


def test_a_study_can_say_how_parts_are_judged_and_how_trials_train(study, tmp_path):
    """Equal compute, micro-batches, bfloat16, neurons in blocks, other scores: all of it reaches the trial."""
    config = study(search__trials=1, accuracy__steps=2, accuracy__batch_size=16)
    accuracy = {"flop_scaled": True, "micro_batch": 6, "precision": "bf16"}
    scores = {"heads": "magnitude", "ffn": "activation", "embed": "random", "layers": "metric", "ffn_block": 32}
    model = replace(config.model, importance=ImportanceSection.read(scores))
    config = replace(config, accuracy=replace(config.accuracy, **accuracy), model=model)
    results = run_study(config, tmp_path / "study")
    (trial,) = results.trials
    assert (trial.error, trial.status) == ("", "complete")
    spec = results.costs.space.spec(trial.dimensions)
    base, own = (families.workload(s).macs for s in (embedded_spec(), spec))
    assert trial.metrics["steps"] == scaled_steps(2, base, own)
    assert trial.metrics["steps"] > 2 or own == base
    kept = results.directory.base
    assert [p.name.split("-")[0] for p in kept.glob("*.safetensors")] == [
        "importance"
    ]  # no targets: the base runs along
    scored = load_file(next(kept.glob("importance-*.safetensors")))
    assert torch.equal(scored["text.embed"], random_scores(embedded_model(), config.search.seed)["text"]["embed"])
    assert torch.equal(scored["vision.heads"], magnitude_scores(embedded_model())["vision"]["heads"].float())


def test_without_a_teacher_nothing_is_kept_of_the_base(study, tmp_path):
    config = study(search__trials=1, accuracy__steps=1, accuracy__batch_size=16, accuracy__distillation=0.0)
    results = run_study(config, tmp_path / "study")
    assert [t.status for t in results.trials] == ["complete"]
    assert list(results.directory.base.glob("targets-*")) == []


def test_requests_and_results_come_back_equal(study, tmp_path):
    request = request_of(study(), "trial", 4, {"vision.layers": 3})
    path = request.write(tmp_path)
    assert Request.read(path) == request
    assert Request.read(path).sha256 == request.sha256
    assert request.accuracy_section == study().accuracy
    assert request.model_section.base == "embedded"
    result = Result(request.sha256, "", 0.1 + 0.2, 0.01, -0.1, 0.02, {"a": 1 / 3}, 2.5)
    result.write(tmp_path)
    assert read_result(tmp_path, request) == result
    assert read_result(tmp_path, replace(request, seed=1)) is None
    assert read_result(tmp_path / "nowhere", request) is None


def test_what_a_result_depends_on_is_in_its_request_and_nothing_else(study):
    one = request_of(study(), "trial", 4, {"vision.layers": 3})
    same = request_of(study(search__trials=99, execution__workers=7), "trial", 4, {"vision.layers": 3})
    assert one == same
    for change in ({"search__seed": 3}, {"accuracy__steps": 7}, {"execution__threads_per_worker": 2}):
        assert request_of(study(**change), "trial", 4, {"vision.layers": 3}).sha256 != one.sha256


def test_a_result_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(IntegrityError, match="loss"):
        Result("x", "", 0.5, 0.1, metrics={"loss": float("nan")}).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_request_is_refused(tmp_path):
    (tmp_path / "request.json").write_text("{}")
    with pytest.raises(IntegrityError, match="not a request"):
        Request.read(tmp_path / "request.json")


def test_workers_get_their_threads_and_their_log(tmp_path):
    code = "import os, sys; print(os.environ['OMP_NUM_THREADS'], sys.argv[1]); sys.exit(3)"
    executor = LocalExecutor(threads=2, command=(sys.executable, "-c", code))
    request = tmp_path / "request.json"
    executor.start(request)
    (ended,) = executor.wait()
    assert (ended.request, ended.status) == (request, 3)
    assert (tmp_path / "log.txt").read_text() == f"2 {request}{os.linesep}"
    assert executor.wait() == []


def test_stopping_ends_workers_that_will_not_listen(tmp_path, monkeypatch):
    monkeypatch.setattr("catransformers.execution.local.GRACE_S", 0.2)
    ready = tmp_path / "ready"
    code = (
        "import signal, sys, time; from pathlib import Path; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"Path({str(ready)!r}).touch(); time.sleep(100)"
    )
    executor = LocalExecutor(command=(sys.executable, "-c", code))
    executor.start(tmp_path / "request.json")
    while not ready.exists():
        pass
    executor.stop()
    assert executor.wait() == []


def test_the_worker_can_be_run_by_hand(study, tmp_path):
    """Without a pipe on standard input it does not mistake a missing parent for a dead one."""
    request = request_of(study(), "trial", 0, {})
    Result(request.sha256, "", 0.5, 0.1).write(tmp_path)
    path = request.write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "catransformers.execution.trial", str(path)],
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0
