"""`evaluate`: a study's task, other data, clip-benchmark's data sets; and that a study is none the worse for it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from catransformers.execution.results import load_study
from catransformers.models.families.nets import make_net
from catransformers.models.loading.preprocess import Preprocess
from catransformers.models.loading.storage import save_model
from catransformers.models.loading.tokenizer import train_wordpiece
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

POOL_KEYS = {"accuracy", "base", "difference", "metrics"}
COLOURS = ("red", "green", "blue")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def picture(label: int, seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 90, (8, 8, 3))
    values[..., label] += 150
    return Image.fromarray(values.astype(np.uint8))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A CLIP with a tokeniser of its own, which can read any caption."""
    tokenizer = train_wordpiece([f"a photo of a {colour}." for colour in COLOURS], 120)
    vision, text = VisionSpec(1, 16, 16, 2, 8, 5, 8, 4), TextSpec(1, 16, 16, 2, 8, 12, tokenizer.vocab_size)
    torch.manual_seed(0)
    save_model(
        make_net(ClipSpec(vision, text, 8)),
        tmp_path / "clip/model.safetensors",
        {"preprocess": Preprocess(8).to_dict()},
    )
    tokenizer.save(tmp_path / "clip/tokenizer.json")
    return tmp_path / "clip"


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    """Two data sets in clip-benchmark's layout, the second without its class names."""
    for name in ("wds_cifar10", "wds_food101"):
        folder = tmp_path / "datasets" / name
        (folder / "test").mkdir(parents=True)
        (folder / "test/nshards.txt").write_text("1\n")
        with tarfile.open(folder / "test/0.tar", "w") as archive:
            for i in range(12):
                image = io.BytesIO()
                picture(i % 3, i).save(image, "png")
                for ending, content in (("cls", str(i % 3).encode()), ("png", image.getvalue())):
                    info = tarfile.TarInfo(f"s{i:04d}.{ending}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        (folder / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.")
    (tmp_path / "datasets/wds_cifar10/classnames.txt").write_text("\n".join(COLOURS))
    return tmp_path / "datasets"


def test_help(run):
    said = run("evaluate", "--help")
    assert said.code == 0
    for word in ("--datasets", "--final", "--samples", "clip-benchmark", "resumes"):
        assert word in " ".join(said.out.split())


def test_a_trial_beside_its_base_is_what_the_study_found(run, study):
    said = run("evaluate", study, "--trial", 1, "--json")
    assert (said.code, said.err) == (0, "")
    assert set(said.data) == {"schema", "model", "task", "metric", "pools"}
    results = load_study(study)
    pool = said.data["pools"]["validation"]
    assert set(pool) == POOL_KEYS
    assert pool["accuracy"]["value"] == pytest.approx(results.trials[1].accuracy)
    assert pool["base"]["value"] == pytest.approx(results.evaluation(None, "validation").accuracy)
    assert pool["difference"]["value"] == pytest.approx(pool["accuracy"]["value"] - pool["base"]["value"])
    assert pool["difference"]["standard_error"] > 0
    spoken = run("evaluate", study, "--trial", 1)
    assert f"{100 * pool['accuracy']['value']:.2f}" in spoken.out


def test_the_base_alone_and_more_samples(run, study):
    few, many = run("evaluate", study, "--json").data, run("evaluate", study, "--samples", 250, "--json").data
    assert few["pools"]["test"]["base"] is None
    assert few["pools"]["test"]["difference"] is None
    error = [data["pools"]["test"]["accuracy"]["standard_error"] for data in (few, many)]
    assert 0 < error[1] < error[0]


def test_other_data_for_a_model_of_no_study(run, study, tmp_path):
    for label in range(10):
        (tmp_path / f"images/{label}").mkdir(parents=True)
        for i in range(10):
            picture(label % 3, 100 * label + i).save(tmp_path / f"images/{label}/{i}.png")
    other = ("--task", "image-classification", "--data", tmp_path / "images")
    said = run("evaluate", study, "--trial", 1, *other, "--json")
    assert said.code == 0, said.err
    assert said.data["task"] == "image-classification"
    alone = run("evaluate", "--model", study / "trials/0001", *other, "--json")
    missing = run("evaluate", study, "--trial", 1, "--task", "image-classification", "--data", tmp_path / "none")
    assert missing.code == 2
    assert "does not exist" in missing.err
    assert alone.data["pools"]["test"]["accuracy"] == said.data["pools"]["test"]["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ((), ["what is to be judged?"]),
        (("STUDY", "--model", "embedded"), ["what is to be judged?"]),
        (("STUDY", "--final"), ["--trial: missing: whose final training?"]),
        (("STUDY", "--trial", 1, "--final"), ["trial 1 has no finished training (`catransformers train"]),
        (("STUDY", "--trial", 2), ["trial 2 failed"]),
        (("STUDY", "--trial", 8, "--task", "digts"), ["there is no finished trial 8", "did you mean 'digits'?"]),
        (("STUDY", "--data", "/nowhere"), ["--data: the task 'digits' brings its own data"]),
        (("STUDY", "--task", "scenes"), ["--task: 'scenes' is made for clip, 'small-vit' is a vit"]),
        (("STUDY", "--only", "cars", "--out", "x"), ["--only: belongs to --datasets", "--out: belongs to --datasets"]),
        (("STUDY", "--pretrained", "x"), ["--pretrained: belongs to --model"]),
        (("STUDY", "--datasets", "/nowhere"), ["a CLIP", "there is no folder /nowhere"]),
        (("STUDY", "--datasets", ".", "--data", "x"), ["--data: and --datasets cannot both be given"]),
        (("--model", "embedded"), ["--task: missing: --model has no task of its own"]),
        (("--model", "embeded", "--datasets", "."), ["did you mean 'embedded'?"]),
        (("--model", "embedded", "--datasets", "."), ["vocabulary of", "cannot read other captions"]),
        (("/nowhere", "--trial", 1), ["there is no study in this folder"]),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(run, study, tmp_path, monkeypatch, arguments, texts):
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    said = run("evaluate", *(study if word == "STUDY" else word for word in arguments))
    assert said.code == 2, said.err
    for text in texts:
        assert text in said.err
    assert files(tmp_path) == before


def test_data_sets_of_clip_benchmark(run, clip, datasets, tmp_path):
    command = ("evaluate", "--model", clip, "--datasets", datasets, "--out", tmp_path / "out")
    said = run(*command, "--json")
    assert said.code == 0, said.err
    assert set(said.data) == {"schema", "model", "results", "datasets", "averages", "failed", "missing"}
    (score,) = said.data["datasets"]
    assert score["n"] == 12
    assert 0 <= score["value"] <= 1
    (failed,) = said.data["failed"]
    assert any("classnames" in problem for problem in failed["problems"])
    assert (tmp_path / "out/results.json").is_file()
    again = run(*command)
    assert again.code == 0
    assert "was measured before" in again.err
    assert "Not evaluated" in again.out
    only = run(*command, "--only", "cifar11")
    assert (only.code, "cifar10" in only.err) == (2, True)
    (tmp_path / "out/results.json").write_text("{")
    assert run(*command).code == 1


def test_nothing_that_can_be_evaluated_is_no_success(run, clip, datasets, tmp_path):
    said = run("evaluate", "--model", clip, "--datasets", datasets, "--only", "food101", "--out", tmp_path / "out")
    assert said.code == 1
    assert "Not evaluated" in said.out


def test_a_study_is_read_as_before_beside_trainings_exports_and_evaluations(run, study):
    before = run("status", study, "--json").data
    assert run("train", study, "--trial", 1, "--steps", 4).code == 0
    assert run("export", study, "--trial", 1, "--final").code == 0
    (study / "evaluations/0001").mkdir(parents=True)
    (study / "evaluations/0001/results.json").write_text("{}")
    assert list((study / "final/0001").glob("energy-*.json"))
    after = run("status", study, "--json").data
    assert after == before  # in particular, the training's energy is not the search's
    assert any("final trainings" in line for line in after["own_footprint"]["not_counted"])
    said = run("report", study, "--json")
    assert said.code == 0
    assert {key: said.data[key] for key in before} == before
    final = json.loads((study / "final/0001/result.json").read_text())
    judged = run("evaluate", study, "--trial", 1, "--final", "--json").data
    assert judged["pools"]["test"]["accuracy"] == final["pools"]["test"]["after"]
