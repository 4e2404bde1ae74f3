"""`train`: what it says, what it refuses, and that it goes on where it was, however it ended."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import catransformers
from catransformers.accuracy.training import checkpoint
from catransformers.accuracy.training import final as final_module
from catransformers.execution.results import load_study
from catransformers.execution.training.result import PoolResult, TrainingResult, read_result
from catransformers.models.families.net import float_copy
from catransformers.models.families.nets import make_net
from catransformers.models.loading.preprocess import Preprocess
from catransformers.models.loading.storage import load_model, save_model
from catransformers.workloads.spec import VisionSpec, VitSpec

KEYS = {
    "schema", "label", "folder", "model", "sha256", "metric", "steps", "training_s", "first_loss", "last_loss",
    "pools", "energy_j", "energy_j_low", "energy_j_high", "measured_j", "energy",
}  # fmt: skip
PAIR = {"value", "standard_error"}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException) -> None:
    """Have the training end with an error when it begins a step."""
    original = final_module._Run.step

    def stopping(self: object, number: int, share: object) -> float:
        if number == step:
            raise error
        return original(self, number, share)

    monkeypatch.setattr(final_module._Run, "step", stopping)


def test_help_names_every_option_and_resumption(run):
    said = run("train", "--help")
    assert said.code == 0
    for word in ("--trial", "--model", "--epochs", "--micro-batch", "--checkpoint-minutes", "torchrun", "resumes"):
        assert word in " ".join(said.out.split())


def test_json_of_a_training_and_of_reading_it_again(run, study):
    said = run("train", study, "--trial", 1, "--steps", 6, "--json")
    assert (said.code, said.err) == (0, "")
    data = said.data
    assert set(data) == KEYS
    assert data["label"] == "trial 1 of tiny"
    assert data["folder"] == str(study / "final" / "0001")
    assert data["steps"] == 6
    assert data["metric"] == "accuracy"
    assert set(data["pools"]) == {"validation", "test"}
    for pool in data["pools"].values():
        assert set(pool) == {"before", "after", "base", "difference", "metrics"}
        assert all(set(pool[name]) == PAIR for name in ("before", "after", "base", "difference"))
        assert pool["difference"]["value"] == pytest.approx(pool["after"]["value"] - pool["base"]["value"])
    trial = load_study(study).trials[1]
    assert data["pools"]["validation"]["before"]["value"] == pytest.approx(trial.accuracy)
    assert [record["job"] for record in data["energy"]] == ["train"]
    assert data["energy"][0]["ended"]
    assert 0 < data["energy_j_low"] < data["energy_j"] < data["energy_j_high"]
    assert data["energy_j"] == pytest.approx(sum(record["energy_j"] for record in data["energy"]))
    assert not (study / "final/0001/checkpoints").exists()
    again = run("train", study, "--trial", 1, "--steps", 6, "--json")
    assert again.data == data
    spoken = run("train", study, "--trial", 1, "--steps", 6)
    assert "nothing was trained now" in spoken.err
    assert "estimated" in spoken.out


def test_the_default_is_ten_times_the_studys_steps(run, study):
    said = run("train", study, "--trial", 0)
    assert said.code == 0
    assert "20 steps" in said.out
    assert "step 20 of 20" in said.err


def test_all_mistakes_at_once_and_nothing_written(run, study, tmp_path):
    (tmp_path / "file").write_text("x")
    before = files(tmp_path)
    said = run(
        *("train", study, "--trial", 9, "--device", "cuda", "--task", "image-classification"),
        *("--precision", "fp16", "--epochs", 1, "--steps", 2, "--classes", 3, "--out", tmp_path / "file" / "x"),
    )
    assert said.code == 2
    expected = [
        "--epochs: and --steps cannot both be given",
        "--classes: belongs to --model",
        "--trial: there is no finished trial 9; allowed: 0–1; on the front:",
        "accuracy.data: missing",
        f"{tmp_path / 'file' / 'x'}: {tmp_path / 'file'} is a file",
    ]
    if not torch.cuda.is_available():
        expected.append("--device: no CUDA device can be used here")
    for text in expected:
        assert text in said.err, said.err
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "what is to be trained?"),
        (("--trial", 1), "what is to be trained?"),
        (("STUDY",), "--trial: missing"),
        (("STUDY", "--trial", 2), "trial 2 failed: the fine-tune diverged at step 1 of 2; allowed: 0–1"),
        (("STUDY", "--trial", 1, "--model", "small-vit"), "what is to be trained?"),
        (("/nowhere", "--trial", 1), "there is no study in this folder"),
        (("STUDY", "--trial", 1, "--learning-rate", "nan"), "--learning-rate: nan"),
        (("STUDY", "--trial", 1, "--distillation", "inf"), "--distillation: inf"),
        (("STUDY", "--trial", 1, "--epochs", "inf"), "--epochs: inf is out of range"),
        (("STUDY", "--trial", 1, "--checkpoint-minutes", "nan"), "--checkpoint-minutes: nan is out of range"),
        (("STUDY", "--trial", 1, "--batch-size", 1), "--batch-size"),
        (("STUDY", "--trial", 1, "--precision", "fp16"), "--precision: fp16 needs a GPU"),
        (("STUDY", "--trial", 1, "--task", "digts"), "did you mean 'digits'?"),
        (("STUDY", "--trial", 1, "--task", "docstrings"), "--task: 'docstrings' is made for bert"),
        (("STUDY", "--trial", 1, "--data", "/nowhere"), "--data: the task 'digits' brings its own data"),
        (("STUDY", "--trial", 1, "--tokens", 8), "--tokens: the task 'digits' has no use for it"),
        (("STUDY", "--trial", 1, "--out", "STUDY"), "holds other files"),
        (("--model", "small-vit", "--task", "digits"), "--epochs: missing: how long?"),
        (("--model", "small-vit", "--steps", 2), "--task: missing"),
        (("--model", "smal-vit", "--task", "digits", "--steps", 2), "did you mean 'small-vit'?"),
        (("--model", "small-vit", "--task", "digits", "--steps", 2, "--classes", 4), "'small-vit' tells 4 apart"),
        (("--model", "small-vit", "--task", "digits", "--steps", 2, "--distillation", 1), "belongs to a study in DIR"),
        (("--model", "embedded", "--task", "scenes", "--epochs", 1), "have no end, so there are no epochs (give --st"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(run, study, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    said = run("train", *(study if word == "STUDY" else word for word in arguments))
    assert said.code == 2, said.err
    assert text in said.err
    assert files(tmp_path) == before


def test_a_study_whose_proxy_trains_nothing_says_so(run, study):
    path = study / "study.toml"
    path.write_text(path.read_text().replace("steps = 2", "steps = 0"))
    said = run("train", study, "--trial", 1)
    assert said.code == 2
    assert "--steps: missing: the study's proxy takes none" in said.err
    assert not (study / "final").exists()


def test_a_trial_whose_model_is_gone_or_damaged(run, study):
    path = study / "trials/0001/model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    damaged = run("train", study, "--trial", 1, "--steps", 2)
    assert damaged.code == 1
    assert "SHA-256" in damaged.err
    path.unlink()
    gone = run("train", study, "--trial", 1, "--steps", 2)
    assert gone.code == 2
    assert "the model of trial 1 is gone" in gone.err
    assert not (study / "final").exists()


def test_after_ctrl_c_the_same_command_goes_on_and_ends_equal(run, study, tmp_path, monkeypatch):
    whole = ("train", study, "--trial", 1, "--steps", 8, "--out")
    run(*whole, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 5, KeyboardInterrupt())
        said = run(*whole, tmp_path / "cut")
    assert said.code == 130
    assert "run the same command to go on" in said.err
    assert not (tmp_path / "cut/result.json").exists()
    assert (tmp_path / "cut/checkpoints/step-00000005/state.json").is_file()
    said = run(*whole, tmp_path / "cut")
    assert said.code == 0
    assert "Going on after step 5." in said.err
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "cut"))
    assert one["pools"] == two["pools"]
    assert one["last_loss"] == two["last_loss"]
    assert len(two["energy"]) == 2  # the attempt that was cut off counts


def test_a_killed_training_goes_on(study, tmp_path, run):
    out = tmp_path / "killed"
    command = ["train", str(study), "--trial", "1", "--steps", "30", "--checkpoint-minutes", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "catransformers", *command, "--out", str(out)],
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("checkpoints/step-*/state.json")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (out / "result.json").exists()
    reached = max(int(path.parent.name[5:]) for path in out.glob("checkpoints/step-*/state.json"))
    assert 0 < reached < 30
    settings = [*command[:-2], "--checkpoint-minutes", "10"]
    said = run(*settings, "--out", out)
    assert said.code == 0
    assert f"Going on after step {reached}." in said.err
    run(*settings, "--out", tmp_path / "whole")
    assert same(weights(out), weights(tmp_path / "whole"))


def test_two_at_once_in_a_folder(run, study, tmp_path):
    from catransformers.study.directory import exclusive

    out = tmp_path / "out"
    out.mkdir()
    with exclusive(out / ".lock", out, "this training"):
        said = run("train", study, "--trial", 1, "--steps", 2, "--out", out)
    assert said.code == 2
    assert "another process is working on this training" in said.err
    assert run("train", study, "--trial", 1, "--steps", 2, "--out", out).code == 0


def test_another_training_in_the_folder_is_refused_with_what_differs(run, study):
    assert run("train", study, "--trial", 1, "--steps", 2).code == 0
    before = (study / "final/0001/training.json").read_text()
    said = run("train", study, "--trial", 1, "--steps", 3, "--seed", 7, "--learning-rate", 0.5, "--threads", 1)
    assert said.code == 2
    assert "steps: was 2 when the training began, is 3 now" in said.err
    assert "seed: was 0" in said.err
    assert "learning_rate: was 0.001" in said.err
    assert said.err.count("error:") == 3
    assert (study / "final/0001/training.json").read_text() == before
    # How it is computed may change.
    assert run("train", study, "--trial", 1, "--steps", 2, "--micro-batch", 8, "--data-workers", 1).code == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"label": 3}', "{}"])
@pytest.mark.parametrize("name", ["training.json", "result.json"])
def test_damaged_files_of_a_training(run, study, name, content):
    assert run("train", study, "--trial", 1, "--steps", 1).code == 0
    (study / "final/0001" / name).write_text(content)
    said = run("train", study, "--trial", 1, "--steps", 1)
    assert said.code == 1
    assert name in said.err
    assert "damaged" in said.err


def test_a_damaged_or_missing_model_of_a_finished_training(run, study):
    assert run("train", study, "--trial", 1, "--steps", 1).code == 0
    path = study / "final/0001/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    said = run("train", study, "--trial", 1, "--steps", 1)
    assert (said.code, "damaged" in said.err) == (1, True)
    path.unlink()
    said = run("train", study, "--trial", 1, "--steps", 1)
    assert said.code == 1
    assert "remove the folder to train again" in said.err


def test_a_damaged_checkpoint_is_passed_over(run, study, tmp_path, monkeypatch):
    command = ("train", study, "--trial", 1, "--steps", 5, "--checkpoint-minutes", 0, "--out")
    run(*command, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 4, KeyboardInterrupt())
        assert run(*command, tmp_path / "cut").code == 130
    path = tmp_path / "cut/checkpoints/step-00000004/state.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.warns(catransformers.errors.CatransformersWarning, match="passed over"):
        said = run(*command, tmp_path / "cut")
    assert said.code == 0
    assert "Going on after step 3." in said.err
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))


def test_a_full_disk_is_told_and_the_training_goes_on_afterwards(run, study, tmp_path, monkeypatch):
    command = ("train", study, "--trial", 1, "--steps", 4, "--checkpoint-minutes", 0, "--out", tmp_path / "out")
    original = checkpoint.write_whole

    def full(path: Path, content: str | bytes) -> None:
        if "step-00000003" in str(path):
            raise OSError(28, "No space left on device", str(path))
        original(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_whole", full)
        said = run(*command)
    assert said.code == 1
    assert "state.safetensors: No space left on device" in said.err
    assert run(*command).code == 0


def test_a_training_that_diverges_says_where(run, study, tmp_path):
    said = run("train", study, "--trial", 1, "--steps", 30, "--learning-rate", 1e30, "--out", tmp_path / "out")
    assert said.code == 1
    assert "the training diverged at step" in said.err
    assert "a lower rate may help" in said.err
    assert not (tmp_path / "out/result.json").exists()


def test_a_model_of_ones_own_on_the_digits(run, tmp_path):
    from catransformers.models.loading.base import load_base

    base = load_base("small-vit")
    net = float_copy(base.net)
    with torch.no_grad():
        net.head.weight.zero_()
    save_model(net, tmp_path / "own" / "model.safetensors", base.metadata())
    said = run(
        *("train", "--model", tmp_path / "own", "--task", "digits", "--epochs", 1, "--batch-size", 64),
        *("--learning-rate", 4e-3, "--out", tmp_path / "out", "--json"),
    )
    assert said.code == 0, said.err
    pool = said.data["pools"]["validation"]
    assert pool["base"] is None
    assert pool["after"]["value"] > pool["before"]["value"] + 0.1
    assert pool["difference"]["value"] == pytest.approx(pool["after"]["value"] - pool["before"]["value"])
    assert catransformers.load(tmp_path / "out").spec == base.net.spec
    # What came out is a base, a model to judge, and one to export.
    assert run("evaluate", "--model", tmp_path / "out", "--task", "digits").code == 0
    assert run("export", tmp_path / "out", "--format", "timm").code == 0


def images(folder: Path, classes: int, each: int) -> Path:
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for i in range(each):
            values = rng.integers(0, 60, (8, 8, 3)) + 60 * label
            Image.fromarray(values.astype(np.uint8)).save(folder / f"class{label}" / f"{i}.png")
    return folder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = make_net(VitSpec(VisionSpec(2, 16, 16, 2, 8, 5, 8, 4), classes=0))
    save_model(net, tmp_path / "encoder/model.safetensors", {"preprocess": Preprocess(8).to_dict()})
    return tmp_path / "encoder"


def test_an_encoder_gets_a_classifier_for_a_folder_of_images(run, tmp_path, encoder):
    data = images(tmp_path / "images", 3, 20)
    command = ("train", "--model", encoder, "--task", "image-classification", "--data", data, "--epochs", 20)
    out = ("--learning-rate", 1e-2, "--batch-size", 12, "--out", tmp_path / "out")
    said = run(*command, *out)
    assert said.code == 2
    assert "has no classifier (with --classes 3 it gets a new classifier)" in said.err
    assert not (tmp_path / "out").exists()
    said = run(*command, *out, "--classes", 3, "--json")
    assert said.code == 0, said.err
    assert said.data["pools"]["test"]["after"]["value"] > 0.6
    assert catransformers.load(tmp_path / "out").spec.classes == 3


def test_what_nobody_knows_is_null_and_read_back(tmp_path):
    weights_file = tmp_path / "model.safetensors"
    weights_file.write_bytes(b"weights")
    pool = PoolResult((0.5, math.inf), (0.6, 0.1), None, (0.1, math.inf), {"perplexity": math.inf})
    sha256 = hashlib.sha256(b"weights").hexdigest()
    result = TrainingResult(tmp_path, "m", 3, 1.5, (2.0, 1.0), {"test": pool}, "accuracy", (), sha256)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert result.to_dict()["energy_j"] is None
    (tmp_path / "result.json").write_text(text)
    again = read_result(tmp_path)
    assert again.to_dict() == result.to_dict()
    assert again.pools["test"].before == (0.5, math.inf)


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(study, tmp_path, run):
    command = ["train", str(study), "--trial", "1", "--steps", "6", "--json", "--out"]
    both = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*both, "-m", "catransformers", *command, str(tmp_path / "two")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 6  # one of them speaks
    assert "the first of 2 processes only" in json.loads(done.stdout)["energy"][0]["detail"]
    assert run(*command, tmp_path / "one").code == 0
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], atol=1e-5, rtol=0), name
    start = weights(study / "trials/0001")
    assert max(float((one[name] - start[name]).abs().max()) for name in one) > 1e-3


def test_a_batch_that_the_processes_cannot_share(run, study, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    said = run("train", study, "--trial", 1, "--steps", 2)
    assert said.code == 2
    assert "32 samples cannot be shared by 3 processes; allowed: a multiple of 3" in said.err
    assert not (study / "final").exists()
