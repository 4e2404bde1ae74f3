"""The studies of the paper by brute force over every trained model on every accelerator, and the laws they keep."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit
from small_study import BASE, SPACE, TABLE, TECHNOLOGY, trial

from catransformers.carbon.scenario import named_scenario, read_scenario
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import Objectives
from catransformers.errors import InfeasibleError, InputError
from catransformers.hardware.front import knee
from catransformers.search.analysis import MODES, asked, fronts_under, iso_accuracy, pruning, shares
from catransformers.search.analysis.question import _unbeaten, candidates
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.fronts import FrontMember, derive_front
from catransformers.search.problem import REFERENCE_MARGIN

QUANTITIES = ("carbon", "latency", "energy", "area", "tcdp", "water")
DEPENDING = st.sampled_from(["latency", "energy", "area", "carbon", "tcdp", "power", "tops", "water"])


def trained(seed, count=12, coarse=False):
    """Trials of random models; one in eight fails, some models are trained twice; `coarse` makes equal accuracies."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        model = int(rng.integers(SPACE.size))
        accuracy = float(expit(1.5 - 3 * (1 - SPACE.unit()[model]).mean() + 0.4 * rng.normal()))
        value = round(accuracy, 1 if coarse else 6)
        found.append(trial(number, model, None if rng.random() < 0.125 else value))
    return found


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes the costs; the operators are costed once for all tests."""
    cache = str(tmp_path_factory.mktemp("costs"))

    def made(objectives="carbon", scenario="always-on", **limits):
        given = named_scenario(scenario) if isinstance(scenario, str) else scenario
        return space_cost(SPACE, TABLE, TECHNOLOGY, given, objectives, Limits(**limits), cache_dir=cache)

    return made


@pytest.fixture(scope="module")
def costs(make):
    return make(latency=0.033)


@pytest.fixture(scope="module")
def wet(make):
    """Costs that know water too, for brute force."""
    return make(Objectives(("water",)))


def every_design(wet, trials):
    """All designs: (trial, accelerator), accuracies, values by quantity, parameters."""
    rows, accuracy, parameters = [], [], []
    names = [*QUANTITIES, "power", "tops"]
    values = {name: [] for name in names}
    for one in trials:
        if one.accuracy is None:
            continue
        found = wet.designs(SPACE.index(one.dimensions))
        for a in range(len(TABLE)):
            rows.append((one.number, a))
            accuracy.append(one.accuracy)
            parameters.append(found.parameters)
            for name in names:
                values[name].append(float(found.quantity(name)[a]))
    return rows, np.array(accuracy), {n: np.array(v) for n, v in values.items()}, np.array(parameters)


def keeps(limits, values, parameters, period=1 / 30):
    kept = values["latency"] <= period
    for name, bound in limits.of_designs().items():
        kept &= values[name] <= bound
    return kept if limits.parameters is None else kept & (parameters <= limits.parameters)


def unbeaten(accuracy, columns):
    """Distinct (accuracy, costs) of the designs that no other beats."""
    points = np.column_stack([-accuracy, *columns])
    kept = [p for p in points if not any((q <= p).all() and (q < p).any() for q in points)]
    return {tuple(p) for p in kept}


def volume(points, reference, floor=0.0):
    """Hypervolume cell by cell: of (−accuracy, costs) up to the reference."""
    corner = np.array([-floor, *reference])
    inside = [np.array(p) for p in points if (np.array(p) < corner).all()]
    if not inside:
        return 0.0
    edges = [np.unique([*(p[k] for p in inside), corner[k]]) for k in range(corner.size)]
    filled = np.zeros([edge.size - 1 for edge in edges], dtype=bool)
    for p in inside:
        filled[tuple(slice(int(np.searchsorted(e, x)), None) for e, x in zip(edges, p, strict=True))] = True
    sizes = np.diff(edges[0])
    for edge in edges[1:]:
        sizes = np.multiply.outer(sizes, np.diff(edge))
    return float(sizes[filled].sum())


def points_of(row):
    return {(-m.trial.accuracy, *m.design.minimised) for m in row.members}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([("carbon",), ("latency",), ("tcdp",), ("water",), ("carbon", "latency"), ("area", "energy")]),
    DEPENDING,
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
    st.booleans(),
)
def test_fronts_are_those_of_brute_force(costs, wet, seed, minimise, limited, places, coarse):
    trials = trained(seed, coarse=coarse)
    rows, accuracy, values, parameters = every_design(wet, trials)
    assume(rows)
    bounds = [float(np.quantile(values[limited], place)) for place in places]
    chosen = [Limits(**{limited: bound}) for bound in bounds]
    found = fronts_under(costs, trials, chosen, minimise)
    assert (found.minimise, found.floor, found.below_floor) == (minimise, 0.0, 0)
    for row, limits in zip(found.rows, chosen, strict=True):
        kept = keeps(limits, values, parameters)
        expected = unbeaten(accuracy[kept], [values[name][kept] for name in minimise])
        assert len(row.members) == len(expected)  # equal designs once
        assert sorted(points_of(row)) == [pytest.approx(p, rel=1e-12) for p in sorted(expected)]
        assert row.hypervolume == pytest.approx(volume(expected, found.reference), rel=1e-9)
        feasible = {rows[k][0] for k in np.flatnonzero(kept)}
        complete = {one.number for one in trials if one.accuracy is not None}
        assert row.feasible == len(feasible)
        assert {out.trial for out in row.left_out} == complete - feasible
        for member in row.members:
            own = rows.index((member.trial.number, member.design.accelerator_index))
            assert kept[own]
            assert member.design.feasible
            assert member.design.latency_s == pytest.approx(values["latency"][own], rel=1e-12)
        first = [m.design.objective for m in row.members]
        assert first == sorted(first)
        assert row.models == len({m.trial.number for m in row.members})
        if row.members:
            assert row.cheapest.design.objective == min(first)
            assert row.most_accurate.trial.accuracy == accuracy[kept].max()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), DEPENDING, st.lists(st.floats(0, 1), min_size=2, max_size=4), st.booleans())
def test_a_tighter_limit_never_enlarges_the_hypervolume(costs, wet, seed, limited, places, both):
    trials = trained(seed)
    rows, _, values, _ = every_design(wet, trials)
    assume(rows)
    bounds = sorted((float(np.quantile(values[limited], place)) for place in places), reverse=True)
    other = Limits(latency=0.01) if limited != "latency" else Limits(area=2e-6)
    chosen = [other.but(**{limited: bound}) for bound in bounds]
    found = fronts_under(costs, trials, chosen, ("carbon", "latency") if both else ("carbon",))
    volumes = [row.hypervolume for row in found.rows]
    assert volumes == sorted(volumes, reverse=True)
    assert [row.feasible for row in found.rows] == sorted((row.feasible for row in found.rows), reverse=True)


@pytest.mark.parametrize("minimise", [("carbon",), ("energy",), ("carbon", "latency")])
def test_under_the_studys_limits_it_is_the_studys_front(make, minimise):
    costs = make(Objectives(minimise), latency=2e-3, accuracy=0.5)
    trials = trained(3, 20)
    found = fronts_under(costs, trials)
    own = derive_front(costs, trials)
    (row,) = found.rows
    assert [(m.trial.number, m.design.minimised) for m in row.members] == [
        (m.trial.number, m.design.minimised) for m in own
    ]
    assert row.limits == costs.limits
    below = sum(one.accuracy is not None and one.accuracy < 0.5 for one in trials)
    assert found.below_floor == below > 0
    assert found.floor == 0.5
    assert found.reference == costs.reference


def test_the_reference_point_hangs_on_base_and_limits_alone(costs):
    limits = [Limits(tops=bound) for bound in (20, 0.1, 0.04)]
    few, many = (fronts_under(costs, trained(seed, count), limits, ("latency",)) for seed, count in ((1, 3), (2, 20)))
    base = replace(costs, limits=Limits()).base_designs
    least = [base.latency_s[base.quantity("tops") <= one.of_designs()["tops"]].min() for one in limits]
    assert least[0] < least[1] < least[2] < 1 / 30
    assert few.reference == many.reference == (pytest.approx(REFERENCE_MARGIN * least[2]),)


def test_the_base_need_not_keep_any_limit(costs):
    found = fronts_under(costs, trained(5, 20), [Limits(latency=1e-12)])
    base = replace(costs, limits=Limits()).base_designs
    assert found.reference == (pytest.approx(REFERENCE_MARGIN * base.total_kg.min()),)
    (row,) = found.rows
    assert (row.members, row.hypervolume, row.feasible, row.cheapest, row.most_accurate) == ((), 0.0, 0, None, None)


@pytest.mark.parametrize("quantity", ["latency", "energy", "area", "carbon", "tops", "parameters"])
def test_who_is_left_out_would_be_in_at_the_limit_that_is_named(costs, quantity):
    trials = trained(8, 20)
    whole = replace(costs, limits=Limits())
    own = [whole.designs(SPACE.index(t.dimensions)) for t in trials if t.accuracy is not None]
    least = [d.parameters if quantity == "parameters" else float(d.quantity(quantity).min()) for d in own]
    bound = sorted(set(least))[0] * (0.999 if len(set(least)) == 1 else 1.0)
    limit = int(bound) if quantity == "parameters" else bound
    (row,) = fronts_under(costs, trials, [Limits(**{quantity: limit})]).rows
    assert row.left_out
    for out in row.left_out:
        assert out.missed.quantity == quantity
        assert out.missed.demand > out.missed.bound
        enough = Limits(**{quantity: out.missed.demand})
        (raised,) = fronts_under(costs, trials, [enough]).rows
        assert out.trial not in {other.trial for other in raised.left_out}


def test_an_inference_is_done_before_the_next_is_due(costs, make):
    (row,) = fronts_under(costs, trained(1), [Limits(latency=9.0)]).rows
    assert row.limits.latency == pytest.approx(1 / 30)
    busy = make(scenario=read_scenario({"base": "always-on", "inferences_per_second": 2e4}))
    (row,) = fronts_under(busy, trained(1), [Limits()]).rows
    assert all(m.design.latency_s <= 1 / 2e4 for m in row.members)
    assert row.left_out
    assert {out.missed.quantity for out in row.left_out} == {"latency"}


def test_water_may_be_asked_for_though_the_study_does_not_know_it(costs, wet, make):
    trials = trained(4, 16)
    (row,) = fronts_under(costs, trials, [Limits()], ("water",)).rows
    assert [m.trial.number for m in row.members] == [m.trial.number for m in derive_front(wet, trials)]
    dry = make(scenario=read_scenario({"base": "always-on", "use_region": "gas"}))
    with pytest.raises(InputError, match="water"):
        fronts_under(dry, trials, [Limits()], ("water",))


def test_three_quantities_are_refused(costs):
    with pytest.raises(ValueError, match="one quantity or two"):
        fronts_under(costs, trained(0), minimise=("carbon", "latency", "energy"))


def test_no_trials_no_front(costs):
    found = fronts_under(costs, [trial(0, 0, None)])
    assert found.rows[0].members == ()
    assert found.rows[0].left_out == ()


@pytest.mark.parametrize("minimise", [("carbon",), ("carbon", "area"), ("tcdp",)])
def test_a_quantile_of_carbon_is_exact_though_few_designs_are_looked_at(make, minimise):
    costs = make(Objectives(("carbon",), "p95"))
    trials = trained(6, 8)
    chosen = [Limits(carbon=bound) for bound in (1.0, 0.03)]
    found = fronts_under(costs, trials, chosen, minimise)
    own = asked(costs, minimise)
    looked = candidates(own, SPACE.index(trials[0].dimensions), {"carbon", *minimise})
    assert looked.accelerator.size < len(TABLE)
    for row, limits in zip(found.rows, chosen, strict=True):
        points, accuracy = [], []
        for one in trials:
            if one.accuracy is None:
                continue
            designs = own.designs(SPACE.index(one.dimensions))
            kept = (designs.quantity("carbon") <= limits.carbon) & (designs.latency_s <= 1 / 30)
            columns = np.column_stack([designs.quantity(name) for name in minimise])[kept]
            points.append(columns)
            accuracy += [one.accuracy] * len(columns)
        expected = unbeaten(np.array(accuracy), np.concatenate(points).T)
        assert sorted(points_of(row)) == [pytest.approx(p, rel=1e-9) for p in sorted(expected)]


def test_a_design_without_dram_stays_beside_one_of_equal_energy_and_area(costs):
    found = replace(costs, limits=Limits()).designs(0)
    same = {name: np.ones(3) for name in ("latency_s", "energy_j", "idle_w", "area_m2", "embodied_kg")}
    pair = replace(found, resident=np.array([False, True, True]), life_energy_j=np.array([1.0, 1.1, 1.2]), **same)
    assert _unbeaten(pair, ("carbon",)).tolist() == [0, 1]


# Equal accuracy


def band(trials, middle, tolerance):
    return [t for t in trials if t.accuracy is not None and abs(t.accuracy - middle) <= tolerance]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 5e-3, 4e-4, 1.5e-4]), st.floats(0.02, 0.3))
def test_each_mode_has_the_best_design_of_the_band(costs, wet, seed, preset, tolerance):
    trials = trained(seed, 16)
    known = [t.accuracy for t in trials if t.accuracy is not None]
    middle = float(np.median(known)) if known else 0.5
    chosen = band(trials, middle, tolerance)
    assume(chosen)
    rows, _, values, _ = every_design(wet, chosen)
    try:
        found = iso_accuracy(costs, trials, middle, tolerance, limits=Limits(area=1.5e-6), preset_latency_s=preset)
    except InfeasibleError:
        assert not ((values["area"] <= 1.5e-6) & (values["latency"] <= 1 / 30)).any()
        return
    assert set(found.trials) == {t.number for t in chosen}
    assert {one.mode for one in found.choices} | set(found.missed) == set(MODES)
    for mode, quantities in MODES.items():
        bound = 1 / 30 if preset is None or mode in ("latency", "all", "tcdp") else min(preset, 1 / 30)
        kept = (values["area"] <= 1.5e-6) & (values["latency"] <= bound)
        choice = found.choice(mode)
        if choice is None:
            assert not kept.any()
            assert found.missed[mode].demand > found.missed[mode].bound
            continue
        own = rows.index((choice.member.trial.number, choice.member.design.accelerator_index))
        assert kept[own]
        assert choice.limits.bounds == pytest.approx({"area": 1.5e-6, "latency": bound})
        for name, value in choice.values.items():
            assert value == pytest.approx(values[name][own], rel=1e-12)
        if len(quantities) == 1:
            assert choice.values[mode] == pytest.approx(values[mode][kept].min(), rel=1e-12)
            equal = kept & (values[mode] == values[mode][own])
            assert choice.values["carbon"] == pytest.approx(values["carbon"][equal].min(), rel=1e-12)
        else:
            expected = unbeaten(np.zeros(kept.sum()), [values[name][kept] for name in quantities])
            place = tuple(choice.values[name] for name in quantities)
            assert any(p[1:] == pytest.approx(place, rel=1e-12) for p in expected)
            assert choice.trade_offs == len(expected)
            logs = np.log(np.array([p[1:] for p in expected]))
            scaled = (logs - logs.min(0)) / np.maximum(np.ptp(logs, axis=0), 1e-300)
            own_log = (np.log(place) - logs.min(0)) / np.maximum(np.ptp(logs, axis=0), 1e-300)
            assert (own_log**2).sum() == pytest.approx((scaled**2).sum(axis=1).min(), rel=1e-9, abs=1e-12)


def test_each_mode_is_the_best_at_its_own_quantity(costs):
    trials = [trial(k, k, 0.9) for k in range(SPACE.size)]
    found = iso_accuracy(costs, trials, 0.9)
    for mode in ("carbon", "latency", "energy", "area", "tcdp"):
        least = min(one.values[mode] for one in found.choices if one.limits == found.choice(mode).limits)
        assert found.choice(mode).values[mode] == least
    carbon, fast = found.choice("carbon"), found.choice("latency")
    relative = fast.relative_to(carbon)
    assert relative["carbon"] > 1 > relative["latency"]  # optimising latency costs carbon and the other way round
    assert carbon.relative_to(carbon) == dict.fromkeys(relative, 1.0)
    assert relative["tcdp"] == pytest.approx(relative["carbon"] * relative["latency"])


def test_the_papers_latency_limit_is_for_modes_that_do_not_minimise_it(make):
    slow = make(scenario=read_scenario({"base": "always-on", "inferences_per_second": 0.5}))
    found = iso_accuracy(slow, [trial(0, 0, 0.5)], 0.5)
    assert {one.mode: one.limits.latency for one in found.choices} == {
        "carbon": 0.05, "latency": 2.0, "energy": 0.05, "all": 2.0, "area": 0.05, "tcdp": 2.0,
    }  # fmt: skip
    tighter = iso_accuracy(slow, [trial(0, 0, 0.5)], 0.5, limits=Limits(latency=0.02))
    assert {one.limits.latency for one in tighter.choices} == {0.02}
    none = iso_accuracy(slow, [trial(0, 0, 0.5)], 0.5, limits=Limits(latency=1.5), preset_latency_s=None)
    assert {one.limits.latency for one in none.choices} == {1.5}


def test_the_edges_of_the_band_belong_to_it(costs):
    trials = [trial(0, 0, 0.89), trial(1, 1, 0.91), trial(2, 2, 0.8899), trial(3, 3, 0.9101), trial(4, 4, None)]
    assert iso_accuracy(costs, trials, 0.9, 0.01).trials == (1, 0)
    assert iso_accuracy(costs, trials, 0.91, 0.0).trials == (1,)


def test_an_empty_band_names_what_there_is(costs):
    with pytest.raises(InputError, match=r"no trained model has an accuracy of 50 ± 1 %.*60 to 80.*10 points") as told:
        iso_accuracy(costs, [trial(0, 0, 0.6), trial(1, 1, 0.8)], 0.5)
    assert len(told.value.problems) == 1
    hinted = float(told.value.problems[0].hint.split()[3]) / 100
    assert iso_accuracy(costs, [trial(0, 0, 0.6), trial(1, 1, 0.8)], 0.5, hinted).trials == (0,)
    with pytest.raises(InputError, match="no trial has been completed"):
        iso_accuracy(costs, [trial(0, 0, None)], 0.5)


def test_a_band_without_feasible_designs_says_what_is_missing(costs):
    with pytest.raises(InfeasibleError, match="50 ± 1 % accuracy has no accelerator within the limit on area"):
        iso_accuracy(costs, [trial(0, 0, 0.5)], 0.5, limits=Limits(area=1e-9))


# Along the front


def test_shares_fall_with_accuracy_and_sum_to_one(costs):
    trials = trained(7, 20)
    members = fronts_under(costs, trials, minimise=("carbon", "latency")).rows[0].members
    found = shares(members)
    assert {id(one.member) for one in found} == {id(member) for member in members}
    accuracy = [one.member.trial.accuracy for one in found]
    assert accuracy == sorted(accuracy, reverse=True)
    for one in found:
        assert one.embodied + one.operational == pytest.approx(1)
        assert one.operational * one.member.design.total_kg == pytest.approx(one.member.design.operational_kg)


def member_of(number, accuracy, **changes):
    dimensions = {**BASE.dimensions(), **changes}
    return FrontMember(replace(trial(number, 0, accuracy), dimensions=dimensions), 0, None)


def test_pruning_of_a_front_made_by_hand():
    whole = BASE.dimensions()
    half = {name: size // 2 for name, size in whole.items()}
    front = [
        member_of(0, 0.9),
        member_of(1, 0.8, **{"text.ffn_dim": half["text.ffn_dim"], "vision.ffn_dim": whole["vision.ffn_dim"] * 3 // 4}),
        member_of(1, 0.8, **{"text.ffn_dim": half["text.ffn_dim"], "vision.ffn_dim": whole["vision.ffn_dim"] * 3 // 4}),
        member_of(2, 0.3, **{"text.ffn_dim": half["text.ffn_dim"], "text.layers": half["text.layers"]}),
    ]
    tried = [member.trial for member in front if member.trial.number != 1] + [front[1].trial]
    tried += [replace(tried[0], number=3, dimensions=half), replace(tried[0], number=4, accuracy=None, status="failed")]
    found = pruning(SPACE, front, tried, bands=3)
    assert (found.models, found.trials) == (3, 4)
    assert [(round(b.high, 6), round(b.low, 6), b.models) for b in found.bands] == [
        (0.9, 0.7, 2), (0.7, 0.5, 0), (0.5, 0.3, 1),
    ]  # fmt: skip
    by_name = {row.name: row for row in found.dimensions}
    assert [row.name for row in found.dimensions[:3]] == ["text.ffn_dim", "vision.ffn_dim", "text.layers"]
    ffn = by_name["text.ffn_dim"]
    assert (ffn.first.number, ffn.kept, ffn.bands) == (1, 0.5, (0.75, None, 0.5))
    assert ffn.front == pytest.approx(2 / 3)
    assert ffn.trials == pytest.approx((1 + 0.5 + 0.5 + 0.5) / 4)
    assert ffn.space == 1.0
    layers = by_name["text.layers"]
    assert (layers.first.number, layers.bands, layers.space) == (2, (1.0, None, 0.5), 0.75)
    for name in ("vision.layers", "vision.heads", "text.heads", "text.embed_dim"):
        assert (by_name[name].first, by_name[name].kept, by_name[name].front) == (None, 1.0, 1.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_bands_part_the_front(costs, seed, bands):
    trials = trained(seed, 16, coarse=seed % 2 == 0)
    members = fronts_under(costs, trials).rows[0].members
    assume(members)
    found = pruning(costs.space, members, trials, bands)
    assert sum(band.models for band in found.bands) == found.models == len({m.trial.number for m in members})
    assert found.bands[0].high == max(m.trial.accuracy for m in members)
    assert found.bands[0].models > 0
    for row in found.dimensions:
        parts = [kept * band.models for kept, band in zip(row.bands, found.bands, strict=True) if kept is not None]
        assert sum(parts) == pytest.approx(row.front * found.models)
        above = [m for m in members if row.first is None or m.trial.accuracy > row.first.accuracy]
        assert all(m.trial.dimensions[row.name] == row.base for m in above)
    firsts = [-1.0 if row.first is None else row.first.accuracy for row in found.dimensions]
    assert firsts == sorted(firsts, reverse=True)


def test_nothing_to_look_at_is_an_error(costs):
    with pytest.raises(ValueError, match="0 designs"):
        pruning(costs.space, [], trained(0))
    members = fronts_under(costs, trained(0)).rows[0].members
    with pytest.raises(ValueError, match="0 bands"):
        pruning(costs.space, members, trained(0), 0)


def test_the_knee():
    first, second = np.array([1.0, 2.0, 8.0]), np.array([8.0, 2.0, 1.0])
    assert knee([first, second]) == 1
    assert knee([np.array([3.0, 3.0]), np.array([2.0, 1.0])]) == 1
    assert knee([np.array([5.0])]) == 0
