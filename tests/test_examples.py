"""The studies of `examples/`: what can be known of them without weights, data and GPU is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catransformers.accuracy.tasks import TASKS
from catransformers.config.study import read
from catransformers.designs.limits import Limits
from catransformers.execution.studies.assemble import accelerators_of, assemble, check, model_space_of, scenario_of
from catransformers.hardware.technology import technology
from catransformers.models.loading.torchvision_compat import ENVIRONMENT

FOLDER = Path(__file__).resolve().parents[1] / "examples"
STUDIES = sorted(FOLDER.glob("*.toml"))
OFFLINE = [path for path in STUDIES if path.stem.startswith("small-")]
#: What is looked for and not there: the only mistakes that a study of real checkpoints may have here.
MISSING = ("model.base", "model.pretrained", "accuracy.data", "execution.device")


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def test_there_is_a_study_for_every_family_offline_and_for_real() -> None:
    assert names(STUDIES) == [
        "bert-base-mrpc",
        "llama-3.1-8b",
        "small-bert",
        "small-llama",
        "small-vit",
        "vit-b-16-coco",
        "vit-base-cifar10",
    ]


@pytest.mark.parametrize("path", STUDIES, ids=names(STUDIES))
def test_nothing_but_downloads_is_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "1")
    config, problems = read(path)
    assert problems == []
    found = check(config)
    allowed = () if path in OFFLINE else MISSING
    assert [problem for problem in found if problem.where not in allowed] == []
    assert bool(found) == (path not in OFFLINE)
    assert config.name == path.stem


@pytest.mark.parametrize("path", STUDIES, ids=names(STUDIES))
def test_its_task_is_one_of_its_family(path: Path) -> None:
    config, _ = read(path)
    family = {"bert": "bert", "llam": "llama", "vit-": "vit", "smal": path.stem.removeprefix("small-")}[path.stem[:4]]
    assert ("clip" if "coco" in path.stem else family) in TASKS[config.accuracy.task].families


@pytest.mark.parametrize("name", ["vit-b-16-coco", "llama-3.1-8b"])
def test_its_models_have_accelerators_that_keep_its_limits(name: str) -> None:
    """The space of models whose architecture is known without their weights, on a few of the study's accelerators."""
    config, _ = read(FOLDER / f"{name}.toml")
    few = {"cores": (4.0,), "pe_x": (64.0,), "pe_y": (16.0, 64.0), "local_kib": (256.0,), "global_mib": (4.0,)}
    hardware = replace(config.hardware, dimensions={**few, "local_bandwidth": (128.0,)})
    config = replace(config, hardware=hardware)
    costs = assemble(config)
    assert costs.base_best.feasible
    assert costs.base_best.latency_s < config.objectives.max_latency_ms / 1e3
    assert costs.limits != Limits()


@pytest.mark.parametrize("path", OFFLINE, ids=names(OFFLINE))
def test_an_offline_study_has_models_to_choose_from(path: Path) -> None:
    config, _ = read(path)
    assert model_space_of(config).size >= 100
    assert scenario_of(config).name
    assert len(accelerators_of(config, technology(config.hardware.technology))) > 1000
