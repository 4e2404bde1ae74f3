"""`export`: every format that the family has, both kinds of folders, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import catransformers
from catransformers.execution.results import load_study


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_help_and_where_it_writes(run):
    said = run("export", "--help")
    assert said.code == 0
    for word in ("--trial", "--final", "onnx", "huggingface", "train"):
        assert word in said.out


def test_json_and_the_model(run, study):
    said = run("export", study, "--trial", 1, "--json")
    assert said.code == 0
    assert set(said.data) == {"schema", "format", "folder", "files"}
    folder = Path(said.data["folder"])
    assert folder == study / "exports/0001-catransformers"
    assert sorted(said.data["files"]) == sorted(str(folder / name) for name in files(folder))
    kept, loaded = catransformers.load(study / "trials/0001"), catransformers.load(folder)
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), loaded.parameters(), strict=True))
    card = (folder / "README.md").read_text(encoding="utf-8")
    trial = load_study(study).trials[1]
    assert f"{100 * trial.accuracy:.2f} ±" in card
    assert "The search chose by validation data" in card


@pytest.mark.parametrize("name", ["huggingface", "timm"])
def test_other_formats(run, study, name):
    assert run("export", study, "--trial", 0, "--format", name).code == 0
    assert {"config.json", "model.safetensors", "README.md"} <= files(study / f"exports/0000-{name}")


def test_the_final_model_and_the_folder_of_its_training(run, study):
    said = run("export", study, "--trial", 1, "--final")
    assert said.code == 2
    assert f"`catransformers train {study} --trial 1` makes it" in said.err
    assert not (study / "exports").exists()
    assert run("train", study, "--trial", 1, "--steps", 3).code == 0
    assert run("export", study, "--trial", 1, "--final").code == 0
    said = run("export", study / "final/0001", "--json")
    assert said.code == 0
    one, two = study / "exports/0001-final-catransformers", Path(said.data["folder"])
    assert two == study / "final/0001/exports/catransformers"
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    card = (one / "README.md").read_text(encoding="utf-8")
    assert "Final training: 3 steps" in card
    assert "kgCO2e" in card
    assert "The search chose" not in (two / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (("STUDY",), ["--trial: missing"]),
        (("STUDY", "--final"), ["--trial: missing"]),
        (("STUDY", "--trial", 2), ["trial 2 failed: the fine-tune diverged at step 1 of 2; allowed: 0–1"]),
        (("/nowhere",), ["there is no finished training in this folder"]),
        (("/nowhere", "--trial", 1), ["there is no study in this folder"]),
        (("STUDY", "--trial", 1, "--format", "tim"), ["'tim'", "timm"]),
        (
            ("STUDY", "--trial", 7, "--format", "open_clip", "--out", "FILE"),
            ["there is no finished trial 7", "'open_clip' has no vit models; allowed: catransformers", "is a file"],
        ),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(run, study, tmp_path, arguments, texts):
    (tmp_path / "file").write_text("x")
    before = files(tmp_path)
    places = {"STUDY": study, "FILE": tmp_path / "file" / "x"}
    said = run("export", *(places.get(word, word) for word in arguments))
    assert said.code == 2, said.err
    for text in texts:
        assert text in said.err
    assert files(tmp_path) == before


def test_damaged_files(run, study):
    assert run("train", study, "--trial", 1, "--steps", 1).code == 0
    (study / "final/0001/training.json").write_text('{"model": {"base": 3}}')
    said = run("export", study / "final/0001")
    assert (said.code, "training.json: damaged" in said.err) == (1, True)
    path = study / "trials/0001/model.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    said = run("export", study, "--trial", 1)
    assert said.code == 1
    assert "SHA-256" in said.err
    assert not (study / "exports").exists()
