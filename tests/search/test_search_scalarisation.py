"""Three costs and more: scalar costs against brute force, volumes against exact libraries, and the laws they keep."""

from itertools import combinations
from unittest.mock import patch

import numpy as np
import pytest
import torch
from botorch.utils.multi_objective.hypervolume import Hypervolume
from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import random_case, repeated
from scipy.special import expit
from search_judge import Tried, best_possible, curve, curve_as_run, incumbents
from small_study import BASE, TABLE, TECHNOLOGY, trial

from catransformers.carbon.scenario import named_scenario
from catransformers.config.study import parse
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import OBJECTIVES, OF_DESIGNS, Objectives
from catransformers.errors import InfeasibleError
from catransformers.search.acquisition.scalarisation import SMALLEST, direction, directions, reach
from catransformers.search.costs import many_costs as module
from catransformers.search.costs.cheapest import cheapest
from catransformers.search.costs.designs import designs
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.costs.many_costs import OneWay, many_costs
from catransformers.search.fronts import convergence, derive_front, representatives
from catransformers.search.geometry.pareto import frontk, hypervolume
from catransformers.search.geometry.regions import front2, layers
from catransformers.search.geometry.volumes import hypervolumes, shadow
from catransformers.search.problem import REFERENCE_MARGIN, Observation
from catransformers.search.space import model_space
from catransformers.search.strategies import strategy

TRIPLES = [*combinations(OBJECTIVES, 3), *combinations(OBJECTIVES, 4)]
SPACE = model_space(
    BASE,
    {
        "vision.layers": {"values": [BASE.vision.layers // 2, BASE.vision.layers]},
        "vision.ffn_dim": {"step": 96},
        "vision.embed_dim": {"values": [40, BASE.vision.embed_dim]},
        "text.layers": {"values": [BASE.text.layers // 2, BASE.text.layers]},
        "text.ffn_dim": {"values": [BASE.text.ffn_dim]},
        "text.embed_dim": {"values": [BASE.text.embed_dim]},
    },
)
THREE = ("carbon", "latency", "energy")
UNIT = SPACE.unit()
ACCURACY = expit(1.0 - (1 - UNIT) ** 1.5 @ np.linspace(1.4, 0.3, UNIT.shape[1]))


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes the costs; the operators are costed once for all tests."""
    cache = str(tmp_path_factory.mktemp("costs"))

    def made(names=THREE, quantile="p50", **limits):
        objectives = Objectives(names, quantile)
        return space_cost(
            SPACE, TABLE, TECHNOLOGY, named_scenario("always-on"), objectives, Limits(**limits), cache_dir=cache
        )

    return made


@pytest.fixture(scope="module")
def costs(make):
    return make()


@pytest.fixture(scope="module")
def problem(costs):
    return costs.problem()


def trials_of(seed, count=12):
    rng = np.random.default_rng(seed)
    models = rng.integers(0, SPACE.size, count)
    accuracy = np.round(ACCURACY[models], 1 if rng.random() < 0.5 else 4)
    pairs = enumerate(zip(models, accuracy, strict=True))
    return [trial(n, int(model), None if rng.random() < 0.2 else float(level), SPACE) for n, (model, level) in pairs]


def undominated(points):
    """Unequal points that no other beats, by comparing each with each."""
    unequal = {tuple(map(float, p)) for p in points if np.isfinite(p).all()}
    return {p for p in unequal if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in unequal)}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(TRIPLES),
    st.sets(st.sampled_from(OF_DESIGNS), max_size=2),
    st.sampled_from([(1, 1), (2, 3), (5, 2), (99, 99)]),
)
def test_the_scalar_cost_of_each_model_is_that_of_brute_force(seed, names, limited, groups):
    rng, stacks, silicon = random_case(seed, count=1 + seed % 3)
    stacks = repeated(stacks, float(rng.choice([1.0, 0.5, 3.0])))
    one = designs(stacks.one(0), silicon, Limits(), parameters=1)
    limits = Limits(**{n: float(np.quantile(one.quantity(n), rng.random()) * rng.choice([1.003, 2])) for n in limited})
    reference = tuple(float(np.quantile(one.quantity(name), rng.random()) * rng.choice([1.5, 4])) for name in names)
    many = many_costs(stacks, silicon, names, reference, limits.of_designs())
    towards = direction(seed % 1000, int(rng.integers(0, 50)), len(names))
    assert towards.sum() == pytest.approx(1)
    with patch.multiple(module, ROWS_V=groups[0], ROWS_W=groups[1]):
        found = many.scalar(towards)
        way = OneWay(many, towards)
        some = rng.integers(0, len(many), rng.integers(0, 5))
        assert np.array_equal(way.cost(some), found[some])
        assert np.all(way.cost_at_least() <= found)
        assert np.all(way.cost_at_least() >= 0)
    for model in range(len(many)):
        every = designs(stacks.one(model), silicon, limits, parameters=1)
        values = np.stack([every.quantity(name) for name in names], axis=1)[every.within]
        room = np.maximum(1 - values / np.array(reference), 0)
        if len(values):
            furthest = np.where((room > 0).all(axis=1), (room / towards).min(axis=1), 0).max()
            assert found[model] == pytest.approx(1 - (furthest * towards.max()) ** len(names), abs=1e-9)
            assert 0 < found[model] <= 1
        else:
            assert found[model] == np.inf
        points, rows = many.of(model)
        assert points == pytest.approx(np.stack([every.quantity(n)[rows] for n in names], axis=1), rel=1e-12)
        kept = undominated(np.round(points, 10))
        assert kept == undominated(np.round(values, 10))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(TRIPLES), st.integers(0, 2))
def test_with_all_the_weight_on_one_cost_it_is_the_one_cost_problem(seed, names, place):
    _, stacks, silicon = random_case(seed)
    loose = tuple(1e9 for _ in names)  # nothing is outside of the reference
    many = many_costs(stacks, silicon, names, loose, {})
    towards = np.full(len(names), SMALLEST)
    towards[place] = 1 - SMALLEST * (len(names) - 1)
    alone, _ = cheapest(stacks, silicon, names[place], {})
    assert (1 - many.reached(towards) * towards[place]) * loose[place] == pytest.approx(alone, rel=1e-4, abs=1e-4)


def test_groups_and_threads_do_not_matter(monkeypatch):
    _, stacks, silicon = random_case(17)
    many = many_costs(stacks, silicon, THREE, (30.0, 20.0, 20.0), {"latency": 15.0})
    whole = many.scalar(direction(0, 3, 3))
    for v, w in ((1, 1), (3, 2), (100, 100)):
        monkeypatch.setattr(module, "ROWS_V", v)
        monkeypatch.setattr(module, "ROWS_W", w)
        assert np.array_equal(many.scalar(direction(0, 3, 3)), whole)


def test_directions_are_even_and_follow_from_seed_and_number_alone():
    first = directions(5, 3, 1024)
    assert np.array_equal(first[700], direction(5, 700, 3))
    assert not np.array_equal(direction(5, 0, 3), direction(6, 0, 3))
    assert first.mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.002)
    assert first.var(axis=0) == pytest.approx([2 / 36] * 3, rel=0.01)  # of Dirichlet(1, 1, 1): (1/3)(2/3)/4
    assert np.all(first > 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_volumes_in_two_costs_are_the_exact_ones(seed, count):
    """Two costs are never looked at in this way; there both are known."""
    rng = np.random.default_rng(seed)
    reference = (1.5, 40.0)
    fronts = [rng.random((int(rng.integers(1, 6)), 2)) * [2, 50] for _ in range(count)]
    accuracy = [float(a) for a in np.round(rng.random(count), 1)]
    exact = layers(accuracy, [(f[:, 0], f[:, 1]) for f in fronts], reference, 0.2).hypervolume
    found = hypervolumes(accuracy, [shadow(f, reference) for f in fronts], 0.2)[-1]
    assert found == pytest.approx(exact, rel=1e-3, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 4))
def test_volumes_are_those_of_a_library(seed, count):
    """BoTorch's exact algorithm, on few designs: accuracy and three costs, accuracy and four."""
    rng = np.random.default_rng(seed)
    fronts = [rng.random((3, count)) * 0.9 for _ in range(4)]
    accuracy = [float(a) for a in rng.random(4)]
    found = hypervolumes(accuracy, [shadow(f, (1.0,) * count) for f in fronts])[-1]
    points = np.concatenate([np.column_stack([np.full(3, a), -f]) for a, f in zip(accuracy, fronts, strict=True)])
    best = torch.as_tensor(points[frontk(-points)])
    exact = Hypervolume(torch.tensor([0.0] + [-1.0] * count, dtype=torch.double)).compute(best)
    assert found == pytest.approx(exact, rel={3: 2e-3, 4: 2e-2}[count])


def test_volumes_of_long_fronts_are_those_of_another_library():
    moocore = pytest.importorskip("moocore")
    for count, tolerance in ((3, 1e-3), (4, 5e-3)):
        rng = np.random.default_rng(count)
        points = rng.random((600, count))
        points = 1 - 0.8 * points / np.linalg.norm(points, axis=1, keepdims=True)  # bent the way a sum would miss
        exact = float(moocore.hypervolume(points, ref=np.ones(count)))
        assert shadow(points, (1.0,) * count).mean() == pytest.approx(exact, rel=tolerance)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 40))
def test_the_front_in_many_costs_is_that_of_brute_force(seed, count, size):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 5, (size, count)).astype(float) if rng.random() < 0.5 else rng.random((size, count))
    points[rng.random(size) < 0.1] = np.inf
    members = frontk(points)
    assert {tuple(points[k]) for k in members} == undominated(points)
    assert len({tuple(points[k]) for k in members}) == len(members)
    assert np.all(np.diff(points[members, 0]) >= 0)
    if count == 2:
        assert np.array_equal(members, front2(points[:, 0], points[:, 1]))


@pytest.mark.parametrize("wrong", ['["carbon", "latency", "carbon"]', "[]", '["carbon", "speed", "energy"]'])
def test_what_is_minimised_must_be_different_known_quantities(wrong):
    _, problems = parse(f'name = "x"\n[objectives]\nminimise = {wrong}', "x.toml")
    assert any("objectives.minimise" in str(problem) for problem in problems)


def test_reach_is_0_where_nothing_is_inside():
    towards = directions(0, 3, 8)
    assert not reach(np.array([[0.5, 0.5, 1.0], [2.0, 0.1, 0.1]]), towards).any()
    assert not reach(np.empty((0, 3)), towards).any()


def test_fronts_of_the_problem_are_those_of_its_single_models(make):
    for names, quantile in ((THREE, "p50"), (("tcdp", "area", "water"), "p50"), (OBJECTIVES, "p95")):
        costs = make(names, quantile, latency=0.02) if "water" not in names else make(("tcdp", "area", "energy"))
        many = costs.problem().fronts
        for model in range(0, SPACE.size, 5):
            points = costs.front_of(model).points
            assert many.of(model)[0] == pytest.approx(points, rel=1e-3 if quantile == "p95" else 1e-9)
            assert points[:, 0].min(initial=np.inf) == pytest.approx(costs.cost[model], rel=1e-3)


def test_the_reference_is_fixed_by_the_base_models_own_front(costs, make):
    own = costs.base_designs
    rows = own.front(THREE)
    expected = [REFERENCE_MARGIN * own.quantity(name)[rows].max() for name in THREE]
    assert costs.reference == pytest.approx(expected)
    assert costs.problem().reference == costs.reference
    tight = make(latency=float(own.latency_s.min()) * 0.9)  # the base breaks it
    reference = tight.problem().reference
    assert np.isfinite(reference).all()
    assert reference[1] <= REFERENCE_MARGIN * own.latency_s.min()


def test_nothing_feasible_says_which_limit(make):
    with pytest.raises(InfeasibleError, match="max_latency_ms"):
        make(latency=1e-7).problem()


def test_models_with_too_many_parameters_are_infeasible(costs, make):
    bound = int(np.median(costs.parameters))
    cost = make(parameters=bound).problem().fronts.scalar(direction(0, 0, 3))
    assert np.array_equal(np.isinf(cost), costs.parameters > bound)


def test_front_members_are_all_undominated_designs(costs):
    trials = [t for t in trials_of(3) if t.accuracy is not None]
    members = derive_front(costs, trials)
    everything = [(-t.accuracy, *p) for t in trials for p in costs.front_of(SPACE.index(t.dimensions)).points]
    assert {(-m.trial.accuracy, *m.design.minimised) for m in members} == undominated(np.array(everything))
    assert [m.design.objective for m in members] == sorted(m.design.objective for m in members)
    assert derive_front(costs, []) == ()
    shown = representatives(members)
    assert {m.trial.number for m in shown} == {m.trial.number for m in members}
    for place in range(3):
        assert min(m.design.minimised[place] for m in shown) == min(m.design.minimised[place] for m in members)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_incumbent_front_never_gets_worse_and_is_the_same_whoever_tried(costs, seed):
    trials = trials_of(seed)
    values = convergence(costs, trials)
    assert np.all(np.diff(values) >= 0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(trials))
    again = [trial(k, SPACE.index(trials[o].dimensions), trials[o].accuracy, SPACE) for k, o in enumerate(order)]

    def values_of(members):
        return {(m.trial.accuracy, *m.design.minimised) for m in members}

    assert values_of(derive_front(costs, trials)) == values_of(derive_front(costs, again))
    assert convergence(costs, again)[-1] == pytest.approx(values[-1], rel=1e-12)
    tail = derive_front(costs, trials[:6])
    last = derive_front(costs, trials)
    for old in tail:  # nothing on a front is lost but to something better
        assert any(
            new.trial.accuracy >= old.trial.accuracy
            and all(a <= b for a, b in zip(new.design.minimised, old.design.minimised, strict=True))
            for new in last
        )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["latency", "energy", "area", "carbon", "tcdp", "power", "tops"]))
def test_a_limit_never_enlarges_the_hypervolume(costs, make, seed, name):
    """Against one reference point, that of the study without the limit."""
    trials = [t for t in trials_of(seed) if t.accuracy is not None]
    bound = float(np.quantile(costs.base_designs.quantity(name), np.random.default_rng(seed).random())) * 1.001
    limited = make(**{name: bound})

    def volume(found):
        points = [found.front_of(SPACE.index(t.dimensions)).points for t in trials]
        return hypervolumes([t.accuracy for t in trials], [shadow(p, costs.reference) for p in points])[-1]

    assert volume(limited) <= volume(costs)


def test_the_judge_agrees_with_the_study(costs, problem):
    trials = trials_of(5)
    tried = [Tried(SPACE.index(t.dimensions), t.accuracy) for t in trials]
    assert curve(problem, tried) == pytest.approx(convergence(costs, trials), rel=1e-9)
    assert curve_as_run(costs, tried) == pytest.approx(convergence(costs, trials), rel=1e-9)
    assert {m.trial.number for m in derive_front(costs, trials)} == set(incumbents(problem, tried))
    one = [Tried(t.model, t.accuracy, accelerator=0) for t in tried]
    assert np.all(curve_as_run(costs, one) <= curve_as_run(costs, tried))
    assert np.all(np.diff(curve_as_run(costs, one)) >= 0)


def test_the_best_possible_is_that_of_all_models(problem):
    few = 16
    whole = [Tried(m, float(ACCURACY[m])) for m in range(SPACE.size)]
    assert curve(problem, whole, directions=few)[-1] == pytest.approx(
        best_possible(problem, ACCURACY, directions=few), rel=1e-9
    )


def run(problem, trials, name="exact-hardware", seed=0, costs=None):
    chooser = strategy(name, problem, seed, costs)
    tried = []
    for number in range(trials):
        observed = [Observation(p.index, float(ACCURACY[p.index])) for p in tried]
        if costs is None:
            tried.append(chooser.ask(observed, [], number))
        else:
            tried.append(chooser.ask(observed, [], number, ran_on=[p.accelerator for p in tried]))
    return tried


def test_asking_again_gives_the_same_and_says_the_weights(problem):
    tried = run(problem, 9)
    assert len({p.index for p in tried}) == 9
    observed = [Observation(p.index, float(ACCURACY[p.index])) for p in tried[:8]]
    again = strategy("exact-hardware", problem, 0).ask(observed, [], 8)
    assert again == tried[8]
    assert again.origin == "expected improvement"
    weights = [again.reason[f"weight_of_{name}"] for name in THREE]
    assert weights == pytest.approx(direction(0, 8, 3))
    other = strategy("exact-hardware", problem, 0).ask(observed, [], 9)
    assert other.reason["weight_of_carbon"] != again.reason["weight_of_carbon"]


def test_the_search_is_better_than_chance(problem):
    optimum = best_possible(problem, ACCURACY, directions=256)

    def share(name, seed):
        tried = [Tried(p.index, float(ACCURACY[p.index])) for p in run(problem, 14, name, seed)]
        return curve(problem, tried, directions=256)[-1] / optimum

    ours, random = (np.mean([share(name, seed) for seed in range(3)]) for name in ("exact-hardware", "sobol"))
    assert ours > random + 0.1, (ours, random)


def test_improvement_in_one_direction_is_that_of_the_volume_on_average(problem):
    """The widths of the staircases, averaged over directions, are the hypervolume that a model adds."""
    models, accuracy = [3, 40, SPACE.size - 1], [0.4, 0.5, 0.7]
    reference, new, level = problem.reference, 17, 0.6
    every = directions(1, 3, 256)
    cost = [problem.fronts.scalar(w) for w in every]
    scale = np.array([w.max() ** -3 for w in every]) * np.prod(reference) / 6

    def volume(some, levels):
        return float(np.mean([s * hypervolume(levels, c[some], 1.0) for s, c in zip(scale, cost, strict=True)]))

    points = [problem.fronts.of(m)[0] for m in (*models, new)]
    exact = hypervolumes([*accuracy, level], [shadow(p, reference) for p in points])
    assert volume(models, accuracy) == pytest.approx(exact[2], rel=0.01)
    gained = volume([*models, new], [*accuracy, level]) - volume(models, accuracy)
    assert gained == pytest.approx(exact[3] - exact[2], rel=0.05)


def test_the_published_way_and_evolution_take_three_costs(costs, problem):
    for name in ("nsga2", "qnehvi"):
        pytest.importorskip({"nsga2": "pymoo", "qnehvi": "ax"}[name])
        count = {"nsga2": 24, "qnehvi": 6}[name]
        tried = run(problem, count, name, costs=costs)
        assert len({(p.index, p.accelerator) for p in tried}) == count
        assert {f"{q}_of_bound" for q in THREE} <= set(tried[-1].reason)
