"""Strategies: what every one keeps to, and that learning pays."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.special import expit

from catransformers.errors import InputError
from catransformers.search.pareto import hypervolume
from catransformers.search.problem import Observation, SearchProblem, reference_cost
from catransformers.search.space import model_space
from catransformers.search.strategies import STRATEGIES, strategy
from catransformers.search.strategies.surrogate import fit, to_logit
from catransformers.workloads.zoo import ZOO

B16 = ZOO["ViT-B-16"]
SMALL = {
    "vision.ffn_dim": {"values": [1536, 3072]},
    "text.ffn_dim": {"values": [1024, 2048]},
    "text.heads": {"values": [8]},
}


def landscape(space, infeasible=False):
    """A smooth made-up accuracy and cost for every model."""
    u = space.unit()
    cost = 1 + u @ np.linspace(1.0, 0.3, u.shape[1]) + u[:, 0] * u[:, 2]
    weights = np.array([1.0, 0.5, 1.4, 0.5, 0.7, 0.3, 0.9, 0.3])
    accuracy = expit(1.0 - (1 - u) ** 1.5 @ weights)
    reference = reference_cost(float(cost[-1]), cost)
    if infeasible:
        cost = np.where(np.random.default_rng(0).random(cost.size) < 0.5, np.inf, cost)
        cost[-1] = np.inf
    return SearchProblem(space, cost, reference), accuracy


def run(name, problem, accuracy, trials, seed=0, workers=1):
    chooser = strategy(name, problem, seed)
    tried = []
    for number in range(trials):
        seen = max(0, number - workers + 1)
        observed = [Observation(p.index, float(accuracy[p.index])) for p in tried[:seen]]
        proposal = chooser.ask(observed, [p.index for p in tried[seen:]], number)
        if proposal is None:
            break
        tried.append(proposal)
    return tried


@pytest.mark.parametrize("name", STRATEGIES)
def test_proposes_only_new_feasible_models(name):
    problem, accuracy = landscape(model_space(B16, SMALL), infeasible=True)
    tried = run(name, problem, accuracy, 14, workers=3)
    models = [p.index for p in tried]
    assert len(set(models)) == 14
    assert np.isfinite(problem.cost[models]).all()
    for proposal in tried:
        assert proposal.reason["cost"] == problem.cost[proposal.index]
        assert all(np.isfinite(value) for value in proposal.reason.values())


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_new_instance_proposes_the_same(name):
    """What a restart does: a fresh strategy, told the same, in whatever state torch's generator is."""
    problem, accuracy = landscape(model_space(B16, SMALL))
    tried = run(name, problem, accuracy, 10, workers=2)
    torch.manual_seed(1234)
    torch.rand(7)
    observed = [Observation(p.index, float(accuracy[p.index])) for p in tried[:8]]
    again = strategy(name, problem, 0).ask(observed, [tried[8].index], 9)
    assert again == tried[9]


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_space_that_is_used_up_ends_the_search(name):
    values = {n: {"values": [v]} for n, v in B16.dimensions().items()}
    values["vision.layers"] = {"values": [10, 11, 12]}
    values["text.layers"] = {"values": [10, 11, 12]}
    problem, accuracy = landscape(model_space(B16, values))
    tried = run(name, problem, accuracy, 20)
    assert sorted(p.index for p in tried) == list(range(9))


@pytest.mark.parametrize("name", STRATEGIES)
def test_failed_trials_are_not_tried_again(name):
    problem, _ = landscape(model_space(B16, SMALL))
    chooser = strategy(name, problem, 0)
    observed = []
    for number in range(9):  # everything fails
        proposal = chooser.ask(observed, [], number)
        assert proposal.index not in {o.index for o in observed}
        observed.append(Observation(proposal.index, None))


def test_unknown_strategy_offers_the_nearest():
    problem, _ = landscape(model_space(B16, SMALL))
    with pytest.raises(InputError, match="did you mean 'exact-hardware'"):
        strategy("exact-hardwear", problem, 0)


def test_exact_hardware_starts_with_the_corners():
    problem, accuracy = landscape(model_space(B16))
    tried = run("exact-hardware", problem, accuracy, 6)
    assert [p.origin for p in tried] == ["largest model", "smallest model", "centre", "Sobol", "Sobol", "Sobol"]
    assert problem.space.spec(tried[0].index) == B16
    assert tried[1].index == 0


def test_exact_hardware_says_why():
    problem, accuracy = landscape(model_space(B16, SMALL))
    proposal = run("exact-hardware", problem, accuracy, 8)[-1]
    why = proposal.reason
    assert proposal.origin == "expected improvement"
    assert why["predicted_low"] < why["predicted_accuracy"] < why["predicted_high"]
    assert why["expected_improvement"] > 0
    assert why["candidates"] == problem.space.size - 7


def test_learning_beats_even_coverage():
    problem, accuracy = landscape(model_space(B16, SMALL))
    best = hypervolume(accuracy, problem.cost, problem.reference_cost)
    share = {}
    for name in ("exact-hardware", "sobol"):
        models = [p.index for p in run(name, problem, accuracy, 16)]
        share[name] = hypervolume(accuracy[models], problem.cost[models], problem.reference_cost) / best
    assert share["exact-hardware"] > 0.85
    assert share["exact-hardware"] > share["sobol"] + 0.03


def test_prediction_equals_botorch():
    rng = np.random.default_rng(0)
    points, asked = rng.random((15, 4)), rng.random((30, 4))
    accuracy = expit(points @ np.array([1.0, -1, 0.5, 0]) + 0.02 * rng.normal(size=15))
    model = fit(points, accuracy, seed=0)
    from botorch.models import SingleTaskGP

    theirs = SingleTaskGP(
        torch.as_tensor(points),
        torch.as_tensor(model.values)[:, None],
        covar_module=model.kernel,
        outcome_transform=None,
    )
    theirs.likelihood.noise = model.noise
    theirs.mean_module.constant.data.fill_(model.constant)
    theirs.eval()
    with torch.no_grad():
        posterior = theirs.posterior(torch.as_tensor(asked))
    mean, deviation = model.predict(asked)
    assert mean == pytest.approx(posterior.mean[:, 0].numpy() * model.scale + model.centre, abs=1e-6)
    assert deviation == pytest.approx(posterior.variance.sqrt()[:, 0].numpy() * model.scale, rel=1e-4)


def test_a_believed_point_is_surer_and_predicts_the_same():
    rng = np.random.default_rng(1)
    points, new = rng.random((12, 3)), rng.random((2, 3))
    model = fit(points, expit(points.sum(axis=1) - 1), seed=0)
    believer = model.believing(new)
    asked = rng.random((20, 3))
    assert believer.predict(asked)[0] == pytest.approx(model.predict(asked)[0], abs=1e-6)
    assert np.all(believer.predict(asked)[1] <= model.predict(asked)[1] + 1e-9)
    assert np.all(believer.predict(new)[1] < model.predict(new)[1])


def test_accuracies_of_nothing_and_everything_have_finite_logits():
    assert np.isfinite(to_logit(np.array([0.0, 1.0]))).all()
    model = fit(np.random.default_rng(0).random((5, 2)), np.zeros(5), seed=0)  # all the same: no variance to scale by
    assert np.isfinite(model.predict(np.zeros((1, 2)))[0]).all()


def test_importing_search_does_not_import_torch():
    code = (
        "import sys, catransformers.search.strategies, catransformers.search.strategies.exact_hardware, "
        "catransformers.search.fronts; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
