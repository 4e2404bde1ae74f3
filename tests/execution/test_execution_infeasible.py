"""A model that no accelerator keeps the limits with is never trained, whatever a strategy says."""

from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from catransformers import registry
from catransformers.config.study import parse
from catransformers.execution.loop import run_study
from catransformers.execution.results import load_study
from catransformers.execution.studies.assemble import assemble
from catransformers.execution.study_run import StudyFailure
from catransformers.registry import STRATEGIES
from catransformers.reports.study.derive import summarise
from catransformers.search.problem import Proposal
from catransformers.search.strategies import DesignStrategy

LATENCY_MS = 0.4


class Blind:
    """Proposes the models of `wanted` in turn, feasible or not."""

    wanted = ()

    def __init__(self, problem, seed):
        self.told = {}

    def ask(self, observed, pending, number):
        self.told[number] = [(one.index, one.accuracy) for one in observed]
        Blind.last = self
        return Proposal(self.wanted[number % len(self.wanted)], "blind")


class Reckless(DesignStrategy):
    """Proposes feasible models, each on the accelerator that breaks the limit on latency most."""

    def ask(self, observed, pending, number, *, ran_on=()):
        model = int(np.flatnonzero(np.isfinite(self.problem.cost))[-1 - number])
        return Proposal(model, "reckless", {}, int(self.costs.designs(model).latency_s.argmax()))


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Both strategies, as another package would bring them."""
    made = [
        EntryPoint(n, f"{__name__}:{kind}", STRATEGIES.group)
        for n, kind in [("blind", "Blind"), ("reckless", "Reckless")]
    ]
    monkeypatch.setattr(registry, "entries_of", lambda group: [e for e in made if e.group == group])


@pytest.fixture
def tight(study):
    def made(**changes):
        return study(objectives__max_latency_ms=LATENCY_MS, **changes)

    return made


@pytest.fixture
def models(tight):
    costs = assemble(tight())
    infeasible = np.flatnonzero(~np.isfinite(costs.cost)).tolist()
    feasible = np.flatnonzero(np.isfinite(costs.cost)).tolist()
    assert len(infeasible) >= 3 and len(feasible) >= 3
    return costs, infeasible, feasible


def test_it_is_recorded_with_the_limit_and_by_how_much_and_nothing_is_run(tight, models, fake, tmp_path, monkeypatch):
    costs, infeasible, feasible = models
    monkeypatch.setattr(Blind, "wanted", [feasible[0], infeasible[0], feasible[1], infeasible[1]])
    heard = []
    config = tight(search__strategy="blind", search__trials=8)
    results = run_study(config, tmp_path / "s", executor=fake, listen=heard.append)
    assert len(results.trials) == 8 and results.finished
    for trial in results.trials:
        index = costs.space.index(trial.dimensions)
        assert trial.untrained == (index in infeasible)
        assert (f"trials/{trial.number:04d}" in fake.started) == (index in feasible)
        if trial.untrained:
            best = 1e3 * costs.designs(index).latency_s.min()
            assert (
                trial.error.startswith("not trained: ") and "no accelerator within the limit on latency" in trial.error
            )
            assert f"the best possible is {best:.6g} ms, the limit is {LATENCY_MS:g} ms" in trial.error
            assert (trial.accuracy, trial.seconds) == (None, 0)
            assert not (tmp_path / "s" / "trials" / f"{trial.number:04d}").exists()
    assert sum(type(event).__name__ == "TrialFinished" for event in heard) == 8
    assert {m.model for m in results.front} <= set(feasible)
    # strategies hear of it as of a failed trial, and what they hear does not depend on who is faster
    assert all((index, None) in Blind.last.told[7] for index in infeasible[:2])
    assert [len(told) for told in Blind.last.told.values()] == [0, 0, 1, 2, 3, 4, 5, 6]

    assert load_study(tmp_path / "s").trials == results.trials
    fake.started.clear()
    assert run_study(config, tmp_path / "s", executor=fake).trials == results.trials
    assert fake.started == []


@pytest.mark.parametrize("workers", [1, 3])
def test_a_strategy_that_proposes_nothing_else_comes_to_an_end(workers, tight, models, fake, tmp_path, monkeypatch):
    _, infeasible, _ = models
    monkeypatch.setattr(Blind, "wanted", infeasible[:1])
    config = tight(search__strategy="blind", search__trials=12, execution__workers=workers)
    results = run_study(config, tmp_path / "s", executor=fake)
    assert [trial.untrained for trial in results.trials] == [True] * 12  # no failures that would stop the study
    assert results.front == ()
    assert fake.started == ["s/base", "tests/base"]


def test_a_design_that_breaks_a_limit_is_trained_if_its_model_can_keep_it(tight, models, fake, tmp_path):
    costs, _, feasible = models
    results = run_study(tight(search__strategy="reckless", search__trials=3), tmp_path / "s", executor=fake)
    assert [costs.space.index(t.dimensions) for t in results.trials] == feasible[:-4:-1]
    assert all(t.status == "complete" for t in results.trials)
    for trial in results.trials:
        found = costs.designs(costs.space.index(trial.dimensions))
        assert not found.within[trial.proposal.accelerator]
    assert all(member.design.feasible for member in results.front)
    # such a strategy may try a model on several accelerators: as many trials as models are not the end
    longer = tight(search__strategy="reckless", search__trials=4 * len(feasible))
    assert not replace(results, config=longer, trials=results.trials * len(feasible)).finished


@pytest.mark.parametrize("strategy", ["exact-hardware", "sobol", "nsga2"])
def test_our_strategies_propose_no_such_model(strategy, tight, models, fake, tmp_path):
    if strategy == "nsga2":
        pytest.importorskip("pymoo")
    costs, _, feasible = models
    trials = min(8, len(feasible))
    results = run_study(tight(search__strategy=strategy, search__trials=trials), tmp_path / "s", executor=fake)
    assert len(results.trials) == trials
    assert {costs.space.index(t.dimensions) for t in results.trials} <= set(feasible)


@pytest.mark.parametrize("wanted", [-1, 10**6])
def test_a_model_that_the_space_does_not_have_ends_the_study(wanted, tight, fake, tmp_path, monkeypatch):
    monkeypatch.setattr(Blind, "wanted", [wanted])
    with pytest.raises(StudyFailure, match=f"proposed model {wanted} .* this study has"):
        run_study(tight(search__strategy="blind", search__trials=2), tmp_path / "s", executor=fake)


def test_a_study_that_tried_every_feasible_model_is_finished(study, fake, tmp_path):
    values = {name: [size] for name, size in assemble(study()).space.base.dimensions().items()}
    rows = "\n".join(f'"{n}" = {{ values = {own} }}' for n, own in (values | {"text.layers": [3, 6]}).items())
    small, problems = parse(f'name = "x"\n[model.space]\n{rows}', "x.toml")
    assert not problems
    config = study(model__space=small.model.space, search__trials=5)
    results = run_study(config, tmp_path / "s", executor=fake)
    assert (len(results.trials), results.planned, results.finished) == (2, 5, True)
    summary = summarise(load_study(tmp_path / "s"))
    assert (summary.planned, summary.left, summary.finished) == (5, 0, True)
