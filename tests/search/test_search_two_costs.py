"""Two costs beside accuracy: fronts, convergence, judge and strategy on a small real space, and the laws they keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from search_judge import Tried, attainment, best_possible, curve, curve_as_run, incumbents, over_seeds, trials_to_reach
from small_study import SPACE, TABLE, TECHNOLOGY, trial

from catransformers.carbon.scenario import named_scenario, scenario_from_mapping
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import Objectives
from catransformers.errors import InfeasibleError, InputError
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.fronts import convergence, derive_front, representatives
from catransformers.search.geometry.regions import layers
from catransformers.search.problem import REFERENCE_MARGIN, Observation
from catransformers.search.strategies import strategy
from catransformers.search.strategies.training_success import success_probability

ALL = Objectives(("carbon", "latency"))
UNIT = SPACE.unit()
ACCURACY = expit(1.0 - (1 - UNIT) ** 1.5 @ np.array([1.0, 0.5, 1.4, 0.5, 0.7, 0.3, 0.9, 0.3]))


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes the costs; the operators are costed once for all tests."""
    cache = str(tmp_path_factory.mktemp("costs"))

    def made(objectives=ALL, scenario="always-on", **limits):
        given = named_scenario(scenario) if isinstance(scenario, str) else scenario
        return space_cost(SPACE, TABLE, TECHNOLOGY, given, objectives, Limits(**limits), cache_dir=cache)

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
    levels = np.round(ACCURACY[models], 1 if rng.random() < 0.5 else 4)
    pairs = enumerate(zip(models, levels, strict=True))
    return [trial(n, int(model), None if rng.random() < 0.2 else float(level)) for n, (model, level) in pairs]


def run(problem, trials, seed=0, workers=1, fails=()):
    chooser = strategy("exact-hardware", problem, seed)
    tried = []
    for number in range(trials):
        seen = max(0, number - workers + 1)
        observed = [Observation(p.index, None if p.index in fails else float(ACCURACY[p.index])) for p in tried[:seen]]
        tried.append(chooser.ask(observed, [p.index for p in tried[seen:]], number))
    return tried


@pytest.mark.parametrize("names", [("carbon", "latency"), ("energy", "area"), ("tcdp", "energy")])
def test_the_fronts_of_a_real_space_are_those_of_its_single_models(names, make):
    costs = make(Objectives(names), latency=0.02)
    for model in range(0, SPACE.size, 7):
        x, y = costs.front_of(model).points.T
        kept = costs.staircases.of(model)
        assert kept[0] == pytest.approx(x, rel=1e-6)
        assert kept[1] == pytest.approx(y, rel=1e-6)
        assert x.min(initial=np.inf) == pytest.approx(costs.cost[model], rel=1e-12)


def test_the_reference_is_fixed_by_the_base_models_own_front(costs, make):
    own = costs.base_designs
    rows = own.front(("carbon", "latency"))
    assert costs.reference == pytest.approx(
        [REFERENCE_MARGIN * own.quantity(name)[rows].max() for name in ("carbon", "latency")]
    )
    assert costs.problem().reference == costs.reference
    tight = make(latency=float(np.quantile(own.latency_s, 0.0)) * 0.9)  # the base breaks it
    assert np.isfinite(tight.problem().reference).all()


def test_nothing_feasible_says_which_limit(make):
    with pytest.raises(InfeasibleError, match="max_latency_ms"):
        make(latency=1e-7).problem()
    with pytest.raises(InfeasibleError, match="max_tops"):
        make(tops=1e-7).problem()
    with pytest.raises(InfeasibleError, match="max_tcdp_kg_s"):
        make(Objectives(("carbon",)), tcdp=1e-12).problem()


def test_water_needs_sourced_factors_and_is_then_that_of_the_impacts(make):
    from catransformers.carbon.impacts import impact_footprint

    costs = make(Objectives(("water",)), scenario="default")
    best = costs.best(3)
    printed = impact_footprint("water", best.area_m2, best.life_energy_j, costs.scenario)
    assert best.objective == pytest.approx(float(printed.total), rel=1e-12)
    unknown = scenario_from_mapping("default", {"use_region": 0.3}, "scenario")
    with pytest.raises(InputError, match="water factor"):
        make(Objectives(("water",)), scenario=unknown)


def test_carbon_at_a_quantile_is_that_of_the_footprint(make):
    from catransformers.carbon.footprint import footprint_range

    costs, typical = make(Objectives(("carbon",), "p95")), make(Objectives(("carbon",)))
    best = costs.best(5)
    assert best.objective == pytest.approx(
        float(footprint_range(best.area_m2, best.life_energy_j, not best.resident, costs.scenario)[2]), rel=1e-9
    )
    assert costs.cost[5] == pytest.approx(best.objective, rel=2e-4)
    every = costs.designs(5).quantity("carbon")
    assert best.objective == pytest.approx(every.min(), rel=4e-4)
    assert np.all(costs.cost > typical.cost)


def test_front_members_are_all_undominated_designs(costs):
    trials = trials_of(3)
    members = derive_front(costs, trials)
    everything = [
        (t.accuracy, float(x), float(y))
        for t in trials
        if t.accuracy is not None
        for x, y in costs.front_of(SPACE.index(t.dimensions)).points
    ]
    expected = {
        p for p in everything if not any(q != p and q[0] >= p[0] and q[1] <= p[1] and q[2] <= p[2] for q in everything)
    }
    assert sorted((m.trial.accuracy, m.design.objective, m.design.second) for m in members) == sorted(expected)
    assert [m.design.objective for m in members] == sorted(m.design.objective for m in members)
    assert derive_front(costs, []) == ()
    shown = representatives(members)
    assert {m.trial.number for m in shown} == {m.trial.number for m in members}
    assert len(shown) <= 2 * len({m.trial.number for m in members})


def test_designs_below_the_accuracy_floor_are_no_members(make):
    trials = trials_of(4)
    floor = float(np.median([t.accuracy for t in trials if t.accuracy is not None]))
    for objectives in (ALL, Objectives(("carbon",))):
        limited, free = make(objectives, accuracy=floor), make(objectives)
        members = derive_front(limited, trials)
        assert members
        assert all(m.trial.accuracy >= floor for m in members)
        assert {m.trial.number for m in members} <= {m.trial.number for m in derive_front(free, trials)}
        assert np.all(convergence(limited, trials) <= convergence(free, trials))
        assert np.array_equal(limited.cost, free.cost)  # never a reason not to train


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_incumbent_front_never_gets_worse_and_is_the_same_whoever_tried(costs, seed):
    trials = trials_of(seed)
    values = convergence(costs, trials)
    assert np.all(np.diff(values) >= 0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(trials))
    again = [trial(k, SPACE.index(trials[o].dimensions), trials[o].accuracy) for k, o in enumerate(order)]

    def values_of(members):
        return [(m.trial.accuracy, m.design.objective, m.design.second) for m in members]

    assert values_of(derive_front(costs, trials)) == values_of(derive_front(costs, again))
    assert convergence(costs, again)[-1] == pytest.approx(values[-1], rel=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["latency", "energy", "area", "carbon", "tcdp", "power", "tops"]))
def test_a_limit_never_enlarges_the_hypervolume(costs, make, seed, name):
    """Against one reference point, that of the study without the limit."""
    trials = [t for t in trials_of(seed) if t.accuracy is not None]
    rng = np.random.default_rng(seed)
    bound = float(np.quantile(costs.base_designs.quantity(name), rng.random())) * 1.001
    limited = make(**{name: bound})

    def volume(found):
        fronts = [found.front_of(SPACE.index(t.dimensions)).points.T for t in trials]
        return layers([t.accuracy for t in trials], fronts, costs.reference).hypervolume

    assert volume(limited) <= volume(costs) * (1 + 1e-12)
    for member in derive_front(limited, trials):
        found = limited.designs(member.model)
        assert found.quantity(name)[member.design.accelerator_index] <= bound * (1 + 1e-9)


def test_the_judge_agrees_with_the_study(costs, problem):
    trials = trials_of(5)
    tried = [Tried(SPACE.index(t.dimensions), t.accuracy) for t in trials]
    assert curve(problem, tried) == pytest.approx(convergence(costs, trials), rel=1e-5)
    assert curve_as_run(costs, tried) == pytest.approx(convergence(costs, trials), rel=1e-12)
    members = {m.trial.number for m in derive_front(costs, trials)}
    assert members == set(incumbents(problem, tried))
    one = [Tried(t.model, t.accuracy, accelerator=0) for t in tried]
    assert np.all(curve_as_run(costs, one) <= curve_as_run(costs, tried))
    assert np.all(np.diff(curve_as_run(costs, one)) >= 0)


def test_the_best_possible_is_that_of_all_models(costs, problem, make):
    every = layers(ACCURACY, [problem.fronts.steps.of(m)[:2] for m in range(SPACE.size)], problem.reference).hypervolume
    assert best_possible(problem, ACCURACY) == pytest.approx(every, rel=1e-9)
    whole = [Tried(m, float(ACCURACY[m])) for m in range(SPACE.size)]
    single = make(Objectives(("carbon",))).problem()
    assert curve(single, whole)[-1] == pytest.approx(best_possible(single, ACCURACY), rel=1e-9)


def test_curves_of_several_seeds():
    curves = [np.array([1.0, 2, 4, 4]), np.array([0.0, 3, 3]), np.array([2.0, 2, 5])]
    median, low, high = over_seeds(curves)
    assert (list(median), list(low), list(high)) == ([1, 2, 4], [0, 2, 3], [2, 3, 5])
    assert [trials_to_reach(curves[0], 4.0, share) for share in (0.25, 0.5, 0.99, 1.1)] == [1, 2, 3, None]


def test_the_median_attainment_is_what_half_of_the_runs_reach():
    accuracy = [np.array([0.5, 0.7]), np.array([0.6]), np.array([0.2])]
    cost = [np.array([1.0, 2.0]), np.array([1.5]), np.array([3.0])]
    at = np.array([0.5, 1.0, 1.6, 2.5, 3.5])
    assert list(attainment(accuracy, cost, at, 0.5)) == [0, 0, 0.5, 0.6, 0.6]
    assert list(attainment(accuracy, cost, at, 1.0)) == [0, 0, 0, 0, 0.2]


def test_a_new_instance_proposes_the_same_in_two_costs(problem):
    tried = run(problem, 11, workers=2)
    assert len({p.index for p in tried}) == 11
    observed = [Observation(p.index, float(ACCURACY[p.index])) for p in tried[:9]]
    again = strategy("exact-hardware", problem, 0).ask(observed, [tried[9].index], 10)
    assert again == tried[10]
    assert tried[10].origin == "expected improvement"
    assert tried[10].reason["expected_improvement"] > 0


def test_learning_beats_even_coverage_in_two_costs(problem):
    best = best_possible(problem, ACCURACY)
    learnt = curve(problem, [Tried(p.index, float(ACCURACY[p.index])) for p in run(problem, 14)])
    rng = np.random.default_rng(0)
    by_chance = [
        curve(problem, [Tried(int(m), float(ACCURACY[m])) for m in rng.choice(SPACE.size, 14, replace=False)])[-1]
        for _ in range(9)
    ]
    assert learnt[-1] > 0.9 * best
    assert learnt[-1] > np.median(by_chance)


@pytest.mark.parametrize("objectives", [ALL, Objectives(("carbon",))])
def test_failures_keep_the_search_away_from_where_they_lie(objectives, make):
    problem = make(objectives).problem()
    fails = {int(m) for m in np.flatnonzero(UNIT[:, 0] > 0.9) if m % 2 == 0 or m == SPACE.size - 1}
    tried = run(problem, 16, fails=fails)
    assert len({p.index for p in tried}) == 16
    learnt = [p for p in tried if "chance_of_success" in p.reason]
    assert learnt
    assert all(0 < p.reason["chance_of_success"] < 1 for p in learnt)


def test_the_chance_of_success_is_a_count_of_what_is_near():
    points = np.array([[0.0, 0.0], [1.0, 1.0]])
    assert success_probability(points, np.empty((0, 2)), points) is None
    lonely = success_probability(points, points[:1], np.empty((0, 2)))
    assert lonely[0] == pytest.approx(0.5)
    assert lonely[1] == pytest.approx(1.0, abs=1e-6)
    assert success_probability(points, np.repeat(points[:1], 3, axis=0), np.empty((0, 2)))[0] == pytest.approx(0.25)
    assert success_probability(points, points[:1], points[:1])[0] == pytest.approx(2 / 3)
