"""The cost side of a study against the estimator of single designs, and what is said when nothing is feasible."""

import numpy as np
import pytest
from small_study import trial

from catransformers.carbon.footprint import footprint
from catransformers.carbon.scenario import named_scenario, scenario_from_mapping
from catransformers.designs.limits import Limits
from catransformers.errors import InfeasibleError
from catransformers.hardware.cost import estimate_workload, fits_on_chip
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.fronts import convergence, derive_front
from catransformers.search.geometry.pareto import hypervolume
from catransformers.search.problem import REFERENCE_MARGIN
from catransformers.search.space import model_space
from catransformers.workloads import clip, families
from catransformers.workloads.zoo import named_spec

TECHNOLOGY = technology("default-22nm")
TABLE = accelerators(
    "micro",
    frequency_hz=TECHNOLOGY.frequency_hz,
    overrides={"cores": [1, 2], "pe_x": [8], "pe_y": [4], "local_kib": [2, 16], "local_bandwidth": [32],
               "global_mib": [0.25, 0.5, 1]},
)  # fmt: skip
BASE = named_spec("embedded")
SPACE = model_space(
    BASE,
    {
        "vision.layers": {"values": [BASE.vision.layers // 2, BASE.vision.layers]},
        "vision.heads": {"values": [BASE.vision.heads]},
        "vision.ffn_dim": {"step": 96},
        "text.layers": {"values": [BASE.text.layers // 2, BASE.text.layers]},
        "text.heads": {"values": [2, BASE.text.heads]},
        "text.ffn_dim": {"values": [BASE.text.ffn_dim]},
        "text.embed_dim": {"values": [40, BASE.text.embed_dim]},
    },
)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes the costs; the operators are costed once for all tests."""
    cache = str(tmp_path_factory.mktemp("costs"))

    def made(scenario="always-on", objective="carbon", **limits):
        given = named_scenario(scenario) if isinstance(scenario, str) else scenario
        return space_cost(SPACE, TABLE, TECHNOLOGY, given, objective, Limits(**limits), cache_dir=cache)

    return made


@pytest.fixture(scope="module")
def costs(make):
    return make()


def estimated(spec, scenario):
    """Latency, energy and carbon of a model on every accelerator, one design at a time."""
    work = families.workload(spec, scenario.texts_per_image)
    rows = []
    for accelerator in TABLE:
        cost = estimate_workload(work, accelerator, TECHNOLOGY)
        wait = max(1 / scenario.inferences_per_second - cost.latency_s, 0)
        printed = footprint(cost.area_m2, cost.energy_j + wait * cost.idle_w, not cost.resident, scenario)
        rows.append((cost.latency_s, cost.energy_j, float(printed.total_kg), cost.resident))
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("objective", ["carbon", "latency", "energy"])
def test_the_minimum_equals_that_of_single_estimates(objective, make):
    costs = make(objective=objective)
    for index in np.random.default_rng(0).choice(SPACE.size, 2, replace=False):
        latency, energy, carbon, resident = estimated(SPACE.spec(int(index)), costs.scenario)
        expected = {"latency": latency, "energy": energy, "carbon": carbon}[objective]
        assert costs.cost[index] == pytest.approx(expected.min(), rel=1e-9)
        assert expected[costs.accelerator[index]] == pytest.approx(expected.min(), rel=1e-9)
        found = costs.designs(int(index))
        assert found.latency_s == pytest.approx(latency, rel=1e-9)
        assert found.energy_j == pytest.approx(energy, rel=1e-9)
        assert found.total_kg == pytest.approx(carbon, rel=1e-9)
        assert np.array_equal(found.resident, resident)


def test_every_model_equals_the_minimum_of_its_own_list(costs):
    for index in range(SPACE.size):
        best = costs.best(index)
        assert best.objective == costs.cost[index] == costs.designs(index).total_kg.min()
        assert best.total_kg == best.objective


def test_both_residencies_occur_and_agree_with_the_hardware(costs):
    seen = set()
    for index in range(0, SPACE.size, 7):
        work = families.workload(SPACE.spec(index))
        expected = fits_on_chip(work.weight_bytes, work.activation_bytes, TABLE)
        assert np.array_equal(costs.designs(index).resident, expected)
        seen |= set(expected.tolist())
    assert seen == {True, False}


def test_parameters_are_the_closed_form(costs):
    for index in range(0, SPACE.size, 13):
        assert costs.parameters[index] == clip.parameters(SPACE.spec(index))


def test_more_texts_an_image_cost_more(make):
    twice = make(scenario_from_mapping("always-on", {"texts_per_image": 2}, "scenario"))
    latency, _, carbon, _ = estimated(SPACE.spec(5), twice.scenario)
    assert twice.designs(5).latency_s == pytest.approx(latency, rel=1e-9)
    assert twice.designs(5).total_kg == pytest.approx(carbon, rel=1e-9)
    assert np.all(twice.cost > make().cost)


def test_limits_are_kept_and_never_help(costs, make):
    found = costs.base_designs
    tight = make(latency=float(np.quantile(found.latency_s, 0.4)), area=float(np.quantile(found.area_m2, 0.6)))
    assert np.all(tight.cost >= costs.cost)
    for index in range(0, SPACE.size, 11):
        best = tight.best(index)
        assert best.latency_s <= tight.limits.latency
        assert best.area_m2 <= tight.limits.area
        assert best.feasible


def test_a_limit_on_parameters_excludes_models(costs, make):
    bound = int(np.median(costs.parameters))
    limited = make(parameters=bound)
    assert np.array_equal(np.isfinite(limited.cost), costs.parameters <= bound)
    with pytest.raises(InfeasibleError, match="max_parameters"):
        limited.best(SPACE.size - 1)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"latency": 1e-7}, ["latency", "ms", "objectives.max_latency_ms"]),
        ({"carbon": 1e-6}, ["carbon", "kgCO2e", "objectives.max_carbon_kg"]),
        ({"parameters": 10}, ["parameters", "objectives.max_parameters"]),
        ({"latency": 1e-7, "energy": 1e-9}, ["the best possible is"]),
    ],
)
def test_an_impossible_space_says_which_limit_and_by_how_much(limits, words, make):
    with pytest.raises(InfeasibleError) as caught:
        make(**limits).problem()
    assert all(word in str(caught.value) for word in ["every model of the space", *words])
    assert caught.value.gap > 0


def test_limits_that_only_clash_together_are_named(make):
    free = make()
    fastest = min(free.designs(i).latency_s.min() for i in range(SPACE.size))
    smallest = free.base_designs.area_m2.min()
    with pytest.raises(InfeasibleError, match=r"latency|area"):
        make(latency=float(fastest * 1.001), area=float(smallest * 1.001)).problem()


def test_attribution_splits_what_is_saved(costs):
    index = 0
    parts = costs.attribution(index)
    base_latency, _, base_carbon, _ = estimated(BASE, costs.scenario)
    _, _, small_carbon, _ = estimated(SPACE.spec(index), costs.scenario)
    assert parts.base_fastest.latency_s == pytest.approx(base_latency.min(), rel=1e-9)
    assert parts.base_best.total_kg == pytest.approx(base_carbon.min(), rel=1e-9)
    assert parts.pruned_same.accelerator == parts.base_best.accelerator
    assert parts.pruned_same.total_kg == pytest.approx(small_carbon[base_carbon.argmin()], rel=1e-9)
    assert parts.pruned_best.total_kg == pytest.approx(small_carbon.min(), rel=1e-9)
    assert parts.pruned_best.total_kg <= parts.pruned_same.total_kg <= parts.base_best.total_kg
    assert parts.base_best.total_kg <= parts.base_fastest.total_kg


def test_the_base_that_breaks_a_limit_is_shown_without_it(make):
    free = make()
    limited = make(carbon=float(np.quantile(free.cost, 0.3)))
    assert not limited.base_best.feasible
    assert limited.base_best.accelerator == free.base_best.accelerator
    problem = limited.problem()
    assert problem.reference[0] == REFERENCE_MARGIN * limited.cost[np.isfinite(limited.cost)].max()
    assert free.problem().reference[0] == REFERENCE_MARGIN * free.base_best.total_kg


def test_front_and_convergence_are_derived_from_the_trials(costs):
    order = np.argsort(costs.cost)
    cheap, middle, dear = (int(order[k]) for k in (0, SPACE.size // 2, SPACE.size - 1))
    tried = ((dear, 0.7), (cheap, 0.3), (middle, None), (middle, 0.2), (cheap, 0.3))
    trials = [trial(number, model, accuracy, SPACE) for number, (model, accuracy) in enumerate(tried)]
    members = derive_front(costs, trials)
    assert [m.trial.number for m in members] == [1, 0]  # the failed, the beaten and the duplicate are not there
    assert [m.design.objective for m in members] == [costs.cost[cheap], costs.cost[dear]]
    curve = convergence(costs, trials[::-1])
    reference = costs.problem().reference[0]
    assert curve[0] == hypervolume([0.7], [costs.cost[dear]], reference)
    assert np.all(np.diff(curve) >= 0)
    assert curve[1] == curve[2] == curve[3] == curve[4]
    assert derive_front(costs, []) == ()
