"""Spaces too large to go through: exact single models, quick costs, and a local search that finds the same models."""

import resource
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from catransformers.carbon.scenario import named_scenario
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import Objectives
from catransformers.errors import InfeasibleError
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.search.acquisition import one_cost, two_costs
from catransformers.search.acquisition.scalarisation import direction
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.costs.hardware_fronts import HardwareFronts
from catransformers.search.costs.large_space import LargeProblem, enumerable, large_space_cost, thinned
from catransformers.search.costs.many_costs import ManyCosts
from catransformers.search.costs.model_fronts import Staircases
from catransformers.search.geometry.pareto import staircase
from catransformers.search.geometry.regions import layers
from catransformers.search.problem import Observation
from catransformers.search.space import ModelSpace, model_space
from catransformers.search.strategies import DesignStrategy, strategy
from catransformers.search.strategies.local_search import EVERY, neighbours
from catransformers.search.strategies.posterior import posterior_of
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec, VitSpec
from catransformers.workloads.zoo import named_spec

VISION = VisionSpec(4, 192, 64, 4, 16, 37, 48, 8)
CLIP = ClipSpec(VISION, TextSpec(4, 160, 48, 3, 16, 24, 300), 32)
SPACES = {
    "clip": model_space(
        CLIP,
        {
            "vision.layers": {"values": [2, 4]},
            "vision.ffn_dim": {"min": 96, "max": 192, "step": 8},
            "vision.embed_dim": {"min": 32, "max": 64, "step": 8},
            "text.layers": {"values": [4]},
            "text.ffn_dim": {"min": 80, "max": 160, "step": 16},
            "text.embed_dim": {"values": [24, 48]},
        },
    ),
    "vit": model_space(VitSpec(VISION, 10), {"ffn_dim": {"step": 12}, "embed_dim": {"step": 4}}),
}
LARGER = ClipSpec(VisionSpec(6, 384, 96, 6, 16, 37, 48, 8), TextSpec(6, 320, 96, 6, 16, 24, 300), 32)
#: Far beyond what can be gone through, on a base whose products are quick to cost: 2·10^10 models.
HUGE = model_space(
    LARGER,
    {name: {"min": (size + 1) // 2, "max": size, "step": 1} for name, size in LARGER.dimensions().items()},
)
COSTS = [("carbon",), ("carbon", "latency"), ("carbon", "latency", "area")]


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """What every study here is made of: accelerators, technology, scenario; and a cache."""
    made_of = technology("default-22nm")
    few = {"pe_x": [4, 8, 16], "pe_y": [4, 16], "local_bandwidth": [16], "local_kib": [2], "global_mib": [0.125, 0.5]}
    table = accelerators("micro", max_tops=0.3, frequency_hz=made_of.frequency_at, overrides=few)
    return (table, made_of, named_scenario("always-on")), str(tmp_path_factory.mktemp("costs"))


@pytest.fixture(scope="module")
def large(machine):
    """Makes the costs of a large space."""
    made, cache = machine

    def of(space, minimise=("carbon",), limits=Limits(), quantile="p50"):
        return large_space_cost(space, *made, Objectives(minimise, quantile), limits, cache_dir=cache)

    return of


@pytest.fixture(scope="module")
def both(machine, large):
    """By family and costs minimised: the same space gone through, and as a large one."""
    made, cache = machine
    known = {}

    def of(family, minimise, limits=Limits(), quantile="p50"):
        key = (family, minimise, limits, quantile)
        if key not in known:
            space = SPACES[family]
            whole = space_cost(space, *made, Objectives(minimise, quantile), limits, cache_dir=cache)
            known[key] = whole, large(space, minimise, limits, quantile)
        return known[key]

    return of


def truth(space, models):
    """A made-up accuracy of some models."""
    u = space.unit(np.asarray(models))
    return expit(1.0 - (1 - u) ** 1.5 @ np.linspace(1.2, 0.4, u.shape[1]))


def run(chooser, space, trials, workers=1, fails=()):
    """Trials as the loop would run them."""
    tried = []
    for number in range(trials):
        seen = max(0, number - workers + 1)
        observed = [
            Observation(p.index, None if k in fails else float(truth(space, [p.index])[0]))
            for k, p in enumerate(tried[:seen])
        ]
        told = (observed, [p.index for p in tried[seen:]], number)
        more = {"ran_on": [p.accelerator for p in tried]} if isinstance(chooser, DesignStrategy) else {}
        tried.append(chooser.ask(*told, **more))
    return tried, told


@pytest.mark.parametrize("family", SPACES)
@pytest.mark.parametrize("quantile", ["p50", "p95"])
def test_single_models_cost_what_they_cost_in_the_whole_space(family, quantile, both):
    whole, one_by_one = both(family, ("carbon", "latency"), Limits(parameters=120_000), quantile)
    assert one_by_one.feasible_models is None
    for index in np.random.default_rng(1).integers(0, whole.space.size, 6).tolist():
        assert one_by_one.cost_of(index) == pytest.approx(whole.cost_of(index), rel=1e-6)
        assert one_by_one.accelerator_of(index) == whole.accelerator_of(index)
        ours, theirs = one_by_one.designs(index), whole.designs(index)
        assert ours.parameters == theirs.parameters
        assert np.array_equal(ours.within, theirs.within)
        assert ours.latency_s == pytest.approx(theirs.latency_s, rel=1e-12)
        assert ours.total_kg == pytest.approx(theirs.total_kg, rel=1e-12)
        if theirs.within.any():
            assert one_by_one.best(index).accelerator == whole.best(index).accelerator
            ours, theirs = (c.attribution(index).pruned_same.total_kg for c in (one_by_one, whole))
            assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("family", SPACES)
def test_quick_costs(family, both):
    """Rough ones are near; fine ones are real designs' costs, and nearly always the least."""
    whole, one_by_one = both(family, ("carbon",))
    screen = one_by_one.problem().screen
    assert one_by_one.reference == pytest.approx(whole.reference, rel=1e-12)
    assert 1 < screen.accelerators.size <= len(whole.table)
    models = np.random.default_rng(0).integers(0, whole.space.size, 80)
    exact = whole.cost[models]
    assert screen.rough(models) == pytest.approx(exact, rel=0.03)
    fine = screen.fine(models)
    assert np.all(fine >= exact * (1 - 1e-12))
    assert np.mean(fine <= exact * (1 + 1e-9)) > 0.95
    assert fine == pytest.approx(exact, rel=0.01)
    again = one_by_one.problem().screen  # whatever was asked before, and in whatever order
    assert np.array_equal(again.fine(models[::-1])[::-1], fine)


@pytest.mark.parametrize("family", SPACES)
def test_quick_fronts_lie_within_the_exact_ones(family, both):
    whole, one_by_one = both(family, ("carbon", "latency"))
    screen = one_by_one.problem().screen
    models = np.random.default_rng(0).integers(0, whole.space.size, 12)
    fine, rough = screen.fine(models), screen.rough(models)
    assert isinstance(fine, HardwareFronts)
    volumes = []
    for k, model in enumerate(models.tolist()):
        kinds = (whole.staircases.of(model)[:2], fine.of(k)[:2], rough.of(k)[:2])
        volumes.append([layers([1.0], [points], whole.reference).hypervolume for points in kinds])
    exact, few, interpolated = np.array(volumes).T
    assert np.all(few <= exact * (1 + 1e-6))
    assert few == pytest.approx(exact, rel=0.05)
    assert interpolated == pytest.approx(exact, rel=0.03)


def test_limits_hold_for_quick_costs(both):
    free, _ = both("clip", ("carbon",))
    latency = float(np.quantile(replace(free, objectives=Objectives(("latency",))).cost, 0.3))
    limits = Limits(latency=latency, parameters=int(np.quantile(free.parameters, 0.6)))
    whole, one_by_one = both("clip", ("carbon",), limits)
    models = np.random.default_rng(0).integers(0, whole.space.size, 100)
    exact = np.isfinite(whole.cost[models])
    assert 10 < exact.sum() < 60
    quick = one_by_one.problem().screen.feasible(models)
    assert not np.any(quick & ~exact)  # what is proposed is feasible
    assert np.sum(quick) > 0.9 * np.sum(exact)  # and little is passed over


@pytest.mark.parametrize("minimise", COSTS)
def test_the_local_search_finds_what_looking_at_all_finds(minimise, both):
    """The gain of its choices is at least 99 % of the greatest there is, nearly always; often it is the same model."""
    whole, one_by_one = both("clip", minimise)
    problem, space = whole.problem(), whole.space
    everywhere, local = (strategy("exact-hardware", p, 3) for p in (problem, one_by_one.problem()))
    trials, _ = run(strategy("sobol", problem, 3), space, 9)
    observed = [Observation(p.index, float(truth(space, [p.index])[0])) for p in trials]
    observed += [Observation(i, float(truth(space, [i])[0])) for i in (0, space.size - 1)]
    chosen = [i for i in run(everywhere, space, 6)[0] if i.index not in {o.index for o in observed}]
    observed += [Observation(p.index, float(truth(space, [p.index])[0])) for p in chosen]
    ratios, same = [], 0
    for number in range(len(observed), len(observed) + 8):
        best, found = (chooser.ask(observed, [], number) for chooser in (everywhere, local))
        gains = _gains(problem, posterior_of(space, observed, [], number + 3), [best.index, found.index], 3, number)
        ratios.append(gains[1] / gains[0])
        same += best.index == found.index
        observed.append(Observation(best.index, float(truth(space, [best.index])[0])))
    assert max(ratios) <= 1 + 1e-6
    assert np.mean(np.array(ratios) >= 0.99) >= 6 / 8
    assert np.median(ratios) >= 0.999
    assert same >= 5


def _gains(problem, posterior, models, seed, number):
    """Expected improvements with the exact costs."""
    mean, deviation = posterior.predict(problem.space.unit(np.array(models)))
    trials, chosen = posterior.trials, np.array(models)
    if isinstance(problem.fronts, Staircases):
        steps = problem.fronts.steps
        known = layers(posterior.levels, [steps.of(int(k))[:2] for k in trials], problem.reference)
        return two_costs.expected_improvement(mean, deviation, chosen, steps, known)
    cost, end = problem.cost, problem.reference[0]
    if isinstance(problem.fronts, ManyCosts):
        cost, end = problem.fronts.scalar(direction(seed, number, len(problem.reference))), 1.0
    return one_cost.expected_improvement(mean, deviation, cost[chosen], staircase(posterior.levels, cost[trials], end))


@pytest.mark.parametrize("minimise", COSTS)
def test_a_huge_space_is_searched_in_seconds(minimise, large):
    """New feasible models, quickly and in little memory; a new instance that is told the same proposes the same."""
    costs = large(HUGE, minimise)
    assert HUGE.size > 10**10
    assert not enumerable(HUGE, len(costs.table))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    problem = costs.problem()
    tried, told = run(strategy("exact-hardware", problem, 0), HUGE, 9, workers=2, fails={3})
    assert (time.process_time() - begun) / 9 < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB
    assert len({p.index for p in tried}) == 9
    for proposal in tried:
        assert proposal.reason["cost"] == costs.best(proposal.index).objective
        assert all(np.isfinite(value) for value in proposal.reason.values())
    last = tried[-1]
    assert (last.origin, last.reason["pending"]) == ("expected improvement", 1)
    assert last.reason["candidates"] > 4000 > last.reason["finely_costed"] > 0
    assert last.reason["expected_improvement"] > 0
    assert "chance_of_success" in last.reason
    again = strategy("exact-hardware", large(HUGE, minimise).problem(), 0).ask(*told)
    assert again == last
    assert strategy("exact-hardware", problem, 1).ask(*told) != last


@pytest.mark.parametrize("name", ["sobol", "nsga2", "qnehvi"])
def test_the_other_strategies_go_through_a_huge_space_too(name, large):
    pytest.importorskip({"nsga2": "pymoo", "qnehvi": "ax"}.get(name, "numpy"))
    costs = large(HUGE, limits=Limits(parameters=600_000))
    trials = {"sobol": 3, "nsga2": 21, "qnehvi": 6}[name]
    tried, _ = run(strategy(name, costs.problem(), 0, costs), HUGE, trials)
    assert len({(p.index, p.accelerator) for p in tried}) == trials
    for proposal in tried:
        assert costs.designs(proposal.index).within.any()


def test_learning_pays_in_a_huge_space(large):
    costs = large(HUGE)
    share = {}
    for name in ("exact-hardware", "sobol"):
        models = [p.index for p in run(strategy(name, costs.problem(), 0), HUGE, 12)[0]]
        least = [costs.cost_of(model) for model in models]
        share[name] = staircase(truth(HUGE, models), least, costs.reference[0]).hypervolume
    assert share["exact-hardware"] > 1.05 * share["sobol"]


def test_when_all_is_dearer_than_the_reference_what_is_known_least_is_tried(large):
    costs = large(HUGE)
    problem = LargeProblem(costs)
    problem.reference = (1e-9,)
    observed = [Observation(i, 0.3 + 0.1 * k) for k, i in enumerate((0, HUGE.size - 1, HUGE.size // 3))]
    observed += [Observation(p.index, 0.5) for p in run(strategy("sobol", problem, 0), HUGE, 4)[0]]
    chooser = strategy("exact-hardware", problem, 0)
    proposal = None
    for number in range(7, 16):  # past the first trials that every study makes
        proposal = chooser.ask(observed, [], number)
        if proposal.origin == "expected improvement":
            break
        observed.append(Observation(proposal.index, 0.5))
    assert proposal.reason["expected_improvement"] == 0
    assert problem.feasible(proposal.index)


def test_a_space_of_which_nothing_is_feasible_says_so_of_the_models_that_were_looked_at(large):
    with pytest.raises(InfeasibleError, match=r"every one of [\d,]+ models spread over the space") as caught:
        large(HUGE, limits=Limits(latency=1e-9)).problem()
    assert "max_latency_ms" in str(caught.value.levers)


def test_the_coarse_space_spans_the_large_one():
    for space in (*SPACES.values(), HUGE):
        coarse = thinned(space)
        assert coarse.size <= 50_000
        for name, options in space.values.items():
            assert set(coarse.values[name]) <= set(options)
            assert (coarse.values[name][0], coarse.values[name][-1]) == (options[0], options[-1])
    single = ModelSpace(CLIP, {name: (size,) for name, size in CLIP.dimensions().items()})
    assert thinned(single) == single


def test_what_can_be_gone_through():
    default = model_space(named_spec("ViT-B-16"))
    assert enumerable(default, 5760)
    assert enumerable(default, 61_236)
    assert not enumerable(model_space(named_spec("ViT-B-16"), {"vision.ffn_dim": {"step": 1}}), 5760)
    # 8 million models, but of a million layer shapes: their costs would not fit into memory
    shapes = {name: {"min": (v + 1) // 2, "max": v, "step": 1} for name, v in VitSpec(VISION, 10).dimensions().items()}
    many = model_space(VitSpec(VISION, 10), shapes)
    assert many.size < 10**7
    assert enumerable(many, 100)
    assert not enumerable(many, 61_236)


def test_neighbours_are_one_move_away():
    space = SPACES["clip"]
    middle = space.index({name: options[len(options) // 2] for name, options in space.values.items()})
    found = neighbours(space, np.array([middle]))
    assert np.array_equal(found, np.unique(found))
    assert middle not in found
    differences = space.places(found) - space.places(np.array([middle]))
    moved = (differences != 0).sum(axis=1)
    assert set(moved.tolist()) == {1, 2}
    assert (differences[moved == 2].sum(axis=1) == 0).all()
    assert np.abs(differences[moved == 2]).max() == 1
    assert (moved == 1).sum() == sum(count - 1 for count in space.shape if count <= EVERY)
    single = ModelSpace(CLIP, {name: (size,) for name, size in CLIP.dimensions().items()})
    assert neighbours(single, np.array([0])).size == 0
    wide = neighbours(HUGE, np.array([0, HUGE.size - 1]))
    assert wide.min() > 0
    assert wide.max() < HUGE.size - 1
