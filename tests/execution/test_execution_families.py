"""Every family from end to end, offline: a shipped model searched with hardware and carbon, exported, loaded back.

The trials run in this process: what a worker process adds is tested elsewhere, and a dozen imports of torch are saved.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import catransformers
from catransformers.config.study import StudyConfig, read
from catransformers.execution.local import Ended
from catransformers.execution.loop import run_study
from catransformers.execution.messages import Request, Result
from catransformers.execution.results import StudyResults, load_study
from catransformers.execution.training.plan import TrainingPlan, checked, trial_model
from catransformers.execution.training.run import run_training
from catransformers.execution.work import do
from catransformers.exports.from_study import export_training, export_trial
from catransformers.models.families.net import Batch
from catransformers.models.loading.base import load_base
from catransformers.reports.study.write import write_report

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FEW = {
    "cores": (1.0,),
    "pe_x": (4.0, 16.0),
    "pe_y": (4.0,),
    "local_kib": (2.0, 16.0),
    "local_bandwidth": (32.0,),
    "global_mib": (0.0625, 0.125, 0.25, 0.5, 1.0),
}
FAMILIES = ("vit", "bert", "llama")
TRIALS = 12


class Here:
    """An executor that does a request in this very process, when it is asked to wait."""

    def __init__(self) -> None:
        self.requests: list[Path] = []

    def start(self, request: Path) -> None:
        self.requests.append(request)

    def wait(self) -> list[Ended]:
        ended = []
        for path in self.requests:
            request = Request.read(path)
            result: Result = do(request, path.parent)
            result.write(path.parent)
            ended.append(Ended(path, 0))
        self.requests = []
        return ended

    def stop(self) -> None:
        self.requests = []


def study(family: str, **accuracy: object) -> StudyConfig:
    config, problems = read(EXAMPLES / f"small-{family}.toml")
    assert problems == []
    short = {"steps": 20, "batch_size": 32, "learning_rate": 1e-3, "pool_samples": 100, **accuracy}
    return replace(
        config,
        **{
            "hardware": replace(config.hardware, dimensions=FEW),
            "accuracy": replace(config.accuracy, **short),
            "search": replace(config.search, trials=TRIALS),
            "execution": replace(config.execution, measure="off"),
        },
    )


@pytest.fixture(scope="module", params=FAMILIES)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return run_study(study(request.param), tmp_path_factory.mktemp(request.param) / "study", executor=Here())


def inputs(family: str) -> Batch:
    generator = torch.Generator().manual_seed(0)
    if family == "vit":
        return {"images": torch.randn(3, 3, 8, 8, generator=generator)}
    tokens = torch.randint(5, 200, (3, 20), generator=generator)
    return {"tokens": tokens, "mask": torch.ones_like(tokens, dtype=torch.bool)}


def test_all_trials_give_an_accuracy_and_recover(done: StudyResults) -> None:
    assert len(done.trials) == TRIALS
    assert [trial.error for trial in done.trials if trial.status != "complete"] == []
    assert all(trial.metrics["steps"] == 20 for trial in done.trials)
    # Pruned models begin with a greater loss than they end with, in the mean over trials.
    gains = [trial.metrics["first_loss"] - trial.metrics["last_loss"] for trial in done.trials[1:]]
    assert sum(gains) > 0


def test_every_dimension_is_pruned_in_some_trial(done: StudyResults) -> None:
    base = done.costs.space.base.dimensions()
    for name, full in base.items():
        assert any(trial.dimensions[name] < full for trial in done.trials), name


def test_the_front_emits_less_than_the_base(done: StudyResults) -> None:
    assert done.front
    least = done.front[0].design
    base = done.costs.base_best
    assert least.embodied_kg + least.operational_kg < base.embodied_kg + base.operational_kg
    assert all(member.design.feasible for member in done.front)
    pools = {(e.subject, e.pool) for e in done.evaluations}
    assert {(None, "validation"), (None, "test")} <= pools
    assert all((member.trial.number, "test") in pools for member in done.front)


def test_the_base_can_do_its_task(done: StudyResults) -> None:
    base = done.evaluation(None, "test")
    family = done.costs.space.base.family
    least = {"vit": 0.8, "bert": 0.5, "llama": 0.03}[family]
    assert base is not None
    assert base.accuracy > least


def test_the_report_is_written_and_read_back(done: StudyResults) -> None:
    again = load_study(done.directory.root)
    written = write_report(again, None)
    page = written.page.read_text(encoding="utf-8")
    assert done.config.name in page
    assert "vision encoder" not in page or done.costs.space.base.family == "vit"


def test_a_model_is_exported_and_loaded_back(done: StudyResults) -> None:
    number = done.front[0].trial.number
    family = done.costs.space.base.family
    kept = catransformers.load(done.directory.checkpoint(number))
    folder, files = export_trial(done, number, "catransformers")
    assert {"model.safetensors", "model.json", "README.md"} <= {path.name for path in files}
    assert (folder / "tokenizer.json").is_file() == (family != "vit")
    loaded = catransformers.load(folder)
    with torch.no_grad():
        assert torch.equal(loaded.outputs(inputs(family))["logits"], kept.outputs(inputs(family))["logits"])
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"trial {number}" in card
    assert "kgCO2e" in card


def test_a_finished_model_is_a_base_for_another_study(done: StudyResults, tmp_path: Path) -> None:
    number = done.front[-1].trial.number
    folder, _ = export_trial(done, number, "catransformers", tmp_path / "model")
    base = load_base(str(folder))
    own = replace(done.config, model=replace(done.config.model, base=str(folder)))
    results = run_study(
        replace(own, search=replace(own.search, trials=1)),
        tmp_path / "two",
        executor=Here(),
    )
    assert results.costs.space.base.dimensions() == base.net.spec.dimensions()
    assert results.trials[0].accuracy is not None


def test_the_final_training_goes_on_from_the_trial_and_is_read_when_done(done: StudyResults) -> None:
    number = done.front[0].trial.number
    config, start = done.config, trial_model(done, number)
    accuracy = checked(config.accuracy, {"steps": 25, "distillation": None})
    plan = TrainingPlan(config.model, accuracy, start, "final", measure="off")
    folder = done.directory.root / "final" / f"{number:04d}"
    result = run_training(plan, folder)
    assert result is not None
    assert result.steps == 25
    assert result.losses[1] < result.losses[0] * 1.5
    trial = next(trial for trial in done.trials if trial.number == number)
    assert result.pools["validation"].before[0] == pytest.approx(trial.accuracy, abs=1e-6)
    assert result.pools["test"].base is not None
    assert run_training(plan, folder) == result
    exported, _ = export_training(folder, "catransformers")
    assert catransformers.load(exported).spec == catransformers.load(folder).spec
    final, _ = export_trial(done, number, "catransformers", final=True)
    assert "Final training: 25 steps" in (final / "README.md").read_text(encoding="utf-8")
