"""Strategies: what every one keeps to, and that learning pays."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.special import expit

from catransformers import registry
from catransformers.carbon.scenario import named_scenario
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import Objectives
from catransformers.errors import InputError
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.registry import STRATEGIES
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.costs.model_fronts import LeastCosts
from catransformers.search.geometry.pareto import hypervolume
from catransformers.search.problem import REFERENCE_MARGIN, Observation, SearchProblem
from catransformers.search.space import model_space
from catransformers.search.strategies import DesignStrategy, strategy
from catransformers.search.strategies.design_space import DesignSpace
from catransformers.search.strategies.surrogate import fit, to_logit
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec, VitSpec
from catransformers.workloads.zoo import ZOO

B16 = ZOO["ViT-B-16"]
SMALL = {
    "vision.ffn_dim": {"values": [1536, 3072]},
    "text.ffn_dim": {"values": [1024, 2048]},
    "text.heads": {"values": [8]},
}
MODEL_ONLY = ("exact-hardware", "sobol")
VISION = VisionSpec(4, 192, 64, 4, 16, 37, 48, 8)
BASES = {"clip": ClipSpec(VISION, TextSpec(4, 160, 48, 3, 16, 24, 300), 32), "vit": VitSpec(VISION, 10)}
#: Finished trials after which a strategy has left its initial design.
ENOUGH = {"exact-hardware": 7, "sobol": 3, "qnehvi": 6, "nsga2": 21}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """By family and number of costs: the costs of a small study and its problem. The CLIP space has 8 dimensions."""
    made_of, cache = technology("default-22nm"), str(tmp_path_factory.mktemp("costs"))
    machines = {"pe_y": [4, 8, 16], "local_bandwidth": [16, 32], "local_kib": [2], "global_mib": [0.125, 0.25]}
    table = accelerators("micro", max_tops=0.3, frequency_hz=made_of.frequency_at, overrides=machines)
    found = {}
    for family, base in BASES.items():
        free = space_cost(model_space(base), table, made_of, named_scenario("always-on"), cache_dir=cache)
        bound = float(np.quantile(replace(free, objectives=Objectives(("latency",))).cost, 0.7))
        found[family, 1] = replace(free, limits=Limits(latency=bound))
        found[family, 2] = replace(free, objectives=Objectives(("carbon", "latency")))
    return {key: (costs, costs.problem()) for key, costs in found.items()}


def truth(problem):
    """A made-up accuracy for every model."""
    u = problem.space.unit()
    return expit(1.0 - (1 - u) ** 1.5 @ np.linspace(1.2, 0.4, u.shape[1]))


def told(chooser, observed, pending, number, ran_on):
    """Ask either kind of strategy."""
    if isinstance(chooser, DesignStrategy):
        return chooser.ask(observed, pending, number, ran_on=ran_on)
    return chooser.ask(observed, pending, number)


def asked(study, name, trials, seed=0, workers=1, fails=()):
    """Trials as the loop would run them: (proposals, what each was told)."""
    costs, problem = study
    accuracy, chooser = truth(problem), strategy(name, problem, seed, costs)
    tried, told_of = [], []
    for number in range(trials):
        seen = max(0, number - workers + 1)
        observed = [
            Observation(p.index, None if k in fails else float(accuracy[p.index])) for k, p in enumerate(tried[:seen])
        ]
        told_of.append((observed, [p.index for p in tried[seen:]], number, [p.accelerator for p in tried]))
        tried.append(told(chooser, *told_of[-1]))
    return tried, told_of


@pytest.fixture(params=STRATEGIES.rows)
def name(request):
    """Each strategy that comes with the package, if what it needs is installed."""
    needed = {"qnehvi": "ax", "nsga2": "pymoo"}
    if request.param in needed:
        pytest.importorskip(needed[request.param])
    return request.param


@pytest.mark.parametrize("costs", [1, 2])
def test_every_strategy_proposes_new_feasible_models_and_the_same_after_a_restart(name, costs, studies):
    """One failed trial, two workers, in 4 dimensions; after a restart torch's generator is in another state."""
    study = studies["vit", costs]
    space_costs, problem = study
    tried, told_of = asked(study, name, ENOUGH[name] + 1, workers=2, fails={1})
    designs = [(p.index, p.accelerator) for p in tried]
    assert len(set(designs)) == len(designs)
    for proposal in tried:
        assert np.isfinite(problem.cost[proposal.index])
        assert all(np.isfinite(value) for value in proposal.reason.values())
        if proposal.accelerator is None:
            assert proposal.reason["cost"] == problem.cost[proposal.index]
        else:
            found = space_costs.designs(proposal.index).quantity("carbon")[proposal.accelerator]
            assert proposal.reason["cost"] == pytest.approx(found, rel=1e-12)
    assert (tried[0].accelerator is None) == (name in MODEL_ONLY)
    if name in MODEL_ONLY:
        assert len({p.index for p in tried}) == len(tried)
    assert tried[1].index not in [p.index for p in tried[3:]]  # told from trial 3 on that it failed
    torch.manual_seed(1234)
    np.random.default_rng().random(3)
    assert told(strategy(name, problem, 0, space_costs), *told_of[-1]) == tried[-1]


def test_every_strategy_depends_on_its_seed(name, studies):
    firsts = [asked(studies["clip", 1], name, 6, seed=seed)[0] for seed in (0, 1)]
    assert [p.index for p in firsts[0]] != [p.index for p in firsts[1]]


def test_every_strategy_bears_that_everything_fails(name, studies):
    costs, problem = studies["vit", 1]
    chooser, observed, ran_on = strategy(name, problem, 0, costs), [], []
    for number in range(9):
        proposal = told(chooser, observed, [], number, ran_on)
        assert proposal.index not in {o.index for o in observed}
        observed.append(Observation(proposal.index, None))
        ran_on.append(proposal.accelerator)


@pytest.mark.parametrize("minimise", [("carbon",), ("carbon", "latency"), ("carbon", "latency", "area")])
@pytest.mark.parametrize("depths", [[4], [3, 4]])
def test_every_strategy_goes_through_a_space_of_one_or_two_designs(name, minimise, depths, studies):
    """Equal accuracies, one of them failed: nothing to learn, and nothing left after these."""
    costs, _ = studies["vit", 1]
    whole = {key: {"values": [size]} for key, size in costs.space.base.dimensions().items()}
    models = model_space(costs.space.base, whole | {"layers": {"values": depths}})
    table = costs.table.select(np.array([0]))
    small = space_cost(models, table, costs.technology, costs.scenario, Objectives(minimise))
    chooser, observed = strategy(name, small.problem(), 0, small), []
    while (proposal := told(chooser, observed, [], len(observed), [0] * len(observed))) is not None:
        observed.append(Observation(proposal.index, 0.5 if observed else None))
    assert sorted(one.index for one in observed) == list(range(len(depths)))


def test_every_strategy_ends_when_no_design_is_left(name, studies):
    costs, problem = studies["vit", 1]
    some = np.flatnonzero(np.isfinite(problem.cost))[:2]
    least = np.where(np.isin(np.arange(problem.cost.size), some), problem.cost, np.inf)
    narrow = replace(problem, fronts=LeastCosts(least))
    machines = range(len(costs.table)) if name not in MODEL_ONLY else [None]
    observed = [Observation(int(model), None) for model in some for _ in machines]
    ran_on = [row for _ in some for row in machines]
    assert told(strategy(name, narrow, 0, costs), observed, [], len(observed), ran_on) is None


def landscape(space, infeasible=False):
    """A smooth made-up accuracy and cost for every model."""
    u = space.unit()
    cost = 1 + u @ np.linspace(1.0, 0.3, u.shape[1]) + u[:, 0] * u[:, 2]
    weights = np.array([1.0, 0.5, 1.4, 0.5, 0.7, 0.3, 0.9, 0.3])
    accuracy = expit(1.0 - (1 - u) ** 1.5 @ weights)
    reference = REFERENCE_MARGIN * float(cost[-1])
    if infeasible:
        cost = np.where(np.random.default_rng(0).random(cost.size) < 0.5, np.inf, cost)
        cost[-1] = np.inf
    return SearchProblem(space, LeastCosts(cost), (reference,)), accuracy


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


@pytest.mark.parametrize("name", MODEL_ONLY)
def test_proposes_only_new_feasible_models(name):
    problem, accuracy = landscape(model_space(B16, SMALL), infeasible=True)
    tried = run(name, problem, accuracy, 14, workers=3)
    models = [p.index for p in tried]
    assert len(set(models)) == 14
    assert np.isfinite(problem.cost[models]).all()
    for proposal in tried:
        assert proposal.reason["cost"] == problem.cost[proposal.index]
        assert all(np.isfinite(value) for value in proposal.reason.values())


@pytest.mark.parametrize("name", MODEL_ONLY)
def test_a_new_instance_proposes_the_same(name):
    """What a restart does: a fresh strategy, told the same, in whatever state torch's generator is."""
    problem, accuracy = landscape(model_space(B16, SMALL))
    tried = run(name, problem, accuracy, 10, workers=2)
    torch.manual_seed(1234)
    torch.rand(7)
    observed = [Observation(p.index, float(accuracy[p.index])) for p in tried[:8]]
    again = strategy(name, problem, 0).ask(observed, [tried[8].index], 9)
    assert again == tried[9]


@pytest.mark.parametrize("name", MODEL_ONLY)
def test_a_space_that_is_used_up_ends_the_search(name):
    values = {n: {"values": [v]} for n, v in B16.dimensions().items()}
    values["vision.layers"] = {"values": [10, 11, 12]}
    values["text.layers"] = {"values": [10, 11, 12]}
    problem, accuracy = landscape(model_space(B16, values))
    tried = run(name, problem, accuracy, 20)
    assert sorted(p.index for p in tried) == list(range(9))


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
    best = hypervolume(accuracy, problem.cost, problem.reference[0])
    share = {}
    for name in ("exact-hardware", "sobol"):
        models = [p.index for p in run(name, problem, accuracy, 16)]
        share[name] = hypervolume(accuracy[models], problem.cost[models], problem.reference[0]) / best
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
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_other_packages_add_strategies(monkeypatch, studies):
    from importlib.metadata import EntryPoint

    made = EntryPoint("evenly", STRATEGIES.rows["sobol"], STRATEGIES.group)
    monkeypatch.setattr(registry, "entries_of", lambda group: [made] if group == made.group else [])
    problem = studies["vit", 1][1]
    assert strategy("evenly", problem, 0).ask([], [], 0) == strategy("sobol", problem, 0).ask([], [], 0)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, studies):
    costs, problem = studies["vit", 1]
    for name, package, extra in (("qnehvi", "ax.api.client", "ax"), ("nsga2", "pymoo", "nsga2")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(InputError, match=rf"catransformers\[{extra}\]"):
            strategy(name, problem, 0, costs)


def test_a_strategy_of_designs_needs_costs(studies):
    with pytest.raises(ValueError, match="give it the costs"):
        strategy("nsga2", studies["vit", 1][1], 0)


def test_designs_and_positions(studies):
    """Every design has positions of its own; positions without an accelerator go to a nearest one."""
    costs, problem = studies["clip", 1]
    space = DesignSpace(problem.space, costs.table)
    assert "hardware.local_kib" not in space.names  # one value
    rng = np.random.default_rng(0)
    designs = [(int(rng.integers(problem.space.size)), row) for row in range(len(costs.table))]
    places = [space.encode(design) for design in designs]
    assert len(set(places)) == len(places)
    assert [space.decode(p) for p in places] == designs
    assert [space.nearest(p) for p in places] == designs
    top = tuple(size - 1 for size in space.sizes)
    assert space.decode(top) is None  # beyond the limit on TOPS
    model, row = space.nearest(top)
    assert model == problem.space.size - 1
    distance = [np.square(np.subtract(space.encode((model, other)), top)).sum() for other in range(len(costs.table))]
    assert distance[row] == min(distance)


def test_evolution_beats_even_coverage(studies):
    """As run, in the mean over seeds: what it learns of the trials pays."""
    pytest.importorskip("pymoo")
    costs, problem = studies["clip", 1]
    accuracy, share = truth(problem), {}
    for name in ("nsga2", "even"):
        volumes = []
        for seed in range(3):
            if name == "even":
                designs = islice(DesignSpace(problem.space, costs.table).sobol(seed), 256)
                designs = [d for d in designs if np.isfinite(problem.cost[d[0]])][:60]
            else:
                designs = [(p.index, p.accelerator) for p in asked((costs, problem), name, 60, seed=seed)[0]]
            found = [costs.designs(model) for model, _ in designs]
            cost = [f.total_kg[row] if f.within[row] else np.inf for f, (_, row) in zip(found, designs, strict=True)]
            volumes.append(hypervolume(accuracy[[m for m, _ in designs]], cost, problem.reference[0]))
        share[name] = np.mean(volumes)
    assert share["nsga2"] > 1.03 * share["even"]


@pytest.mark.slow
def test_ax_proposes_the_same_in_a_process_that_hashes_otherwise():
    """Ax goes through sets of names, whose order differs from process to process: no proposal may depend on it."""
    pytest.importorskip("ax")
    code = """
import numpy as np
from catransformers.carbon.scenario import named_scenario
from catransformers.hardware.spaces import space
from catransformers.hardware.technology import technology
from catransformers.search.problem import Observation
from catransformers.search.space import model_space
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.strategies import strategy
from catransformers.workloads.spec import VisionSpec, VitSpec
made_of = technology("default-22nm")
table = space("micro", max_tops=0.05, frequency_hz=made_of.frequency_at,
              overrides={"local_bandwidth": [16], "local_kib": [2], "global_mib": [0.125, 0.25]})
costs = space_cost(model_space(VitSpec(VisionSpec(4, 192, 64, 4, 16, 37, 48, 8), 10)), table, made_of,
                   named_scenario("always-on"))
chooser, observed, ran_on = strategy("qnehvi", costs.problem(), 0, costs), [], []
for number in range(7):
    proposal = chooser.ask(observed, [], number, ran_on=ran_on)
    observed.append(Observation(proposal.index, 0.1 + 0.8 * proposal.index / costs.space.size))
    ran_on.append(proposal.accelerator)
print([o.index for o in observed], ran_on, proposal.origin)
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": h},
            timeout=120,
        ).stdout
        for h in ("1", "2", "3")
    }
    assert len(said) == 1
    assert "qLogNEHVI" in said.pop()
