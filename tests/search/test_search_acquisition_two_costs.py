"""Expected hypervolume improvement in accuracy and two costs, against its definition and Monte Carlo."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm

from catransformers.search.acquisition import column_bounds, two_costs
from catransformers.search.acquisition import dominated_level as settled_module
from catransformers.search.acquisition.column_bounds import Bound, Columns
from catransformers.search.acquisition.dominated_level import DominatedLevels
from catransformers.search.acquisition.two_costs import expected_improvement, most_promising, new_areas
from catransformers.search.costs.hardware_fronts import HardwareFronts
from catransformers.search.geometry.regions import Region, front2, layers

REFERENCE = (3.0, 5.0)


def random_fronts(rng, models, most=6, empty=0.1, grid=None):
    counts, first, second = [], [], []
    for _ in range(models):
        n = 0 if rng.random() < empty else int(rng.integers(1, most + 1))
        x, y = rng.uniform(0.2, 3.4, n), rng.uniform(0.2, 5.5, n)
        if grid is not None:
            x, y = np.floor(x * grid) / grid, np.floor(y * grid) / grid
        members = front2(x, y)
        counts.append(members.size)
        first.append(x[members])
        second.append(y[members])
    x, y = np.concatenate(first).astype(np.float32), np.concatenate(second).astype(np.float32)
    return HardwareFronts(np.concatenate(([0], np.cumsum(counts))), x, y, np.zeros(x.size, dtype=np.int16))


def random_known(rng, fronts, members, floor=0.0):
    chosen = rng.integers(0, len(fronts), members)
    accuracy = np.round(rng.uniform(0.05, 0.9, members), 1 if rng.random() < 0.3 else 6)  # at times equal ones
    return chosen, accuracy, layers(accuracy, [fronts.of(int(k))[:2] for k in chosen], REFERENCE, floor)


def area_by_counting(points, reference):
    """Of the union of rectangles, cell by cell of the grid that all corners make."""
    xs = np.unique([*(min(x, reference[0]) for x, _ in points), reference[0]])
    ys = np.unique([*(min(y, reference[1]) for _, y in points), reference[1]])
    cells = 0.0
    for x0, x1 in pairwise(xs):
        for y0, y1 in pairwise(ys):
            if any(x <= x0 and y <= y0 for x, y in points):
                cells += (x1 - x0) * (y1 - y0)
    return cells


def volume(accuracy, fronts, reference, floor=0.0):
    """Hypervolume by its definition: slices of accuracy, each the union of rectangles."""
    levels = np.unique([floor, *(a for a in accuracy if a > floor)])
    total = 0.0
    for low, high in pairwise(levels):
        points = [p for a, f in zip(accuracy, fronts, strict=True) if a >= high for p in zip(*f, strict=True)]
        total += (high - low) * area_by_counting(points, reference)
    return total


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_hypervolume_is_that_of_its_definition(seed):
    rng = np.random.default_rng(seed)
    fronts = random_fronts(rng, 6)
    floor = float(rng.choice([0.0, 0.4]))
    chosen, accuracy, known = random_known(rng, fronts, 5, floor)
    expected = volume(accuracy, [fronts.of(int(k))[:2] for k in chosen], REFERENCE, floor)
    assert known.hypervolume == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_new_area_at_each_level_is_that_of_its_definition(seed):
    rng = np.random.default_rng(seed)
    fronts = random_fronts(rng, 8)
    _, _, known = random_known(rng, fronts, 4)
    found = new_areas(np.arange(8), fronts, known)
    for model in range(8):
        own = Region.of(*fronts.of(model)[:2], REFERENCE)
        for k, region in enumerate((Region.of([], [], REFERENCE), *known.regions)):
            assert found[model, k] == pytest.approx(region.united(own).area - region.area, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("floor", [0.0, 0.35])
def test_agrees_with_monte_carlo(seed, floor):
    rng = np.random.default_rng(seed)
    fronts = random_fronts(rng, 12, empty=0)
    chosen, accuracy, known = random_known(rng, fronts, 5, floor)
    mean, deviation, models = rng.normal(0, 1.2, 4), rng.uniform(0.05, 0.8, 4), rng.integers(0, 12, 4)
    exact = expected_improvement(mean, deviation, models, fronts, known)
    draws = norm.ppf((np.arange(1500) + 0.5) / 1500)  # stratified, so that 1,500 do
    fronts_known = [fronts.of(int(k))[:2] for k in chosen]
    for i, model in enumerate(models):
        own = fronts.of(int(model))[:2]
        sampled = [
            layers([*accuracy, y], [*fronts_known, own], REFERENCE, floor).hypervolume - known.hypervolume
            for y in expit(mean[i] + deviation[i] * draws)
        ]
        assert exact[i] == pytest.approx(np.mean(sampled), rel=4e-3, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_bounds_hold_and_the_most_promising_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    n = 200
    fronts = random_fronts(rng, n)
    floor = float(rng.choice([0.0, 0.3]))
    _, _, known = random_known(rng, fronts, int(rng.choice([0, 3, 9, 60])), floor)
    columns = Columns.of(fronts, REFERENCE)
    mean, deviation = rng.normal(-0.5, 2, n), rng.uniform(0.03, 1.5, n)
    models = np.arange(n)
    success_probability = rng.uniform(0.3, 1, n) if rng.random() < 0.5 else None
    every = expected_improvement(mean, deviation, models, fronts, known)
    areas = new_areas(models, fronts, known)
    assert np.all(np.diff(areas, axis=1) <= 1e-9)  # what bounds one level bounds those below
    dominated_from = DominatedLevels.of(known).of_models(fronts, 0, n).astype(np.int64)
    for part in (columns, columns.coarse):
        bound = Bound.of(known, part)
        assert np.all(areas <= bound.areas_until(models, dominated_from) * (1 + 1e-3) + 1e-9)
        some = np.unique(rng.integers(0, areas.shape[1], 3))
        assert np.all(areas[:, some] <= bound.areas(models, list(some)) * (1 + 1e-3) + 1e-9)
    every = every if success_probability is None else every * success_probability
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("EXACT", 2), ("BATCH", 16), ("PART", 8), ("ROWS", 64)):  # so that every bound is needed
            patch.setattr(two_costs, name, value)
        position, gain = most_promising(mean, deviation, models, fronts, columns, known, success_probability)
    assert gain == pytest.approx(every.max(), rel=1e-3)
    assert every[position] == pytest.approx(every.max(), rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 64, settled_module.CELLS]))
def test_from_its_settled_level_on_a_model_adds_nothing(seed, cells):
    rng = np.random.default_rng(seed)
    fronts = random_fronts(rng, 60, most=3, grid=rng.choice([None, 1, 4]))  # on a grid costs are equal, some are 0
    reference = (3.0, 5.0) if rng.random() < 0.5 else (2.1, 4.1)
    chosen = rng.integers(0, 60, int(rng.integers(0, 30)))
    known = layers(rng.uniform(0.05, 0.9, chosen.size), [fronts.of(int(k))[:2] for k in chosen], reference)
    new = (new_areas(np.arange(60), fronts, known) > 0).sum(axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settled_module, "CELLS", cells)
        levels = DominatedLevels.of(known)
    found = np.concatenate([levels.of_models(fronts, begin, begin + 20) for begin in (0, 20, 40)])
    assert np.all(found >= new)


def test_settled_levels_are_seldom_later_than_they_must_be():
    rng = np.random.default_rng(3)
    fronts, tried = random_fronts(rng, 400, most=3), random_fronts(rng, 30, empty=0)
    known = layers(np.linspace(0.9, 0.2, 30), [tried.of(k)[:2] for k in range(30)], REFERENCE)
    new = (new_areas(np.arange(400), fronts, known) > 0).sum(axis=1)
    found = DominatedLevels.of(known).of_models(fronts, 0, 400)
    assert np.mean(found != new) <= 0.02
    assert len(set(new)) > 3  # there is something to be found


def test_batches_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    fronts = random_fronts(rng, 300)
    _, _, known = random_known(rng, fronts, 6)
    mean, deviation, models = rng.normal(size=300), rng.uniform(0.1, 0.5, 300), np.arange(300)
    whole = most_promising(mean, deviation, models, fronts, Columns.of(fronts, REFERENCE), known)
    monkeypatch.setattr(column_bounds, "POINTS", 1)
    for name, value in (("BATCH", 7), ("EXACT", 3), ("ROWS", 64), ("PART", 2)):
        monkeypatch.setattr(two_costs, name, value)
    again = most_promising(mean, deviation, models, fronts, Columns.of(fronts, REFERENCE), known)
    assert again[0] == whole[0]
    assert again[1] == pytest.approx(whole[1], rel=1e-3)


def test_columns_lie_at_or_below_the_fronts():
    rng = np.random.default_rng(1)
    fronts = random_fronts(rng, 100)
    for columns in (Columns.of(fronts, REFERENCE), Columns.of(fronts, REFERENCE).coarse):
        for model in range(100):
            own = Region.of(*fronts.of(model)[:2], REFERENCE)
            for k, (left, right) in enumerate(zip(columns.edges[:-1], columns.edges[1:], strict=True)):
                inside = np.linspace(left, right, 20, endpoint=False) if right > left else np.empty(0)
                assert np.all(columns.heights[model, k] <= own.edge(inside) + 1e-6)


def test_nothing_to_gain_beyond_the_reference_or_without_an_accelerator():
    fronts = HardwareFronts(
        np.array([0, 0, 1, 2, 3]),
        np.array([3.0, 1.0, 1.0], dtype=np.float32),
        np.array([1.0, 5.0, 1.0], dtype=np.float32),
        np.zeros(3, dtype=np.int16),
    )
    known = layers([0.5], [(np.array([2.0]), np.array([2.0]))], REFERENCE)
    found = expected_improvement(np.full(4, 1.0), np.full(4, 0.3), np.arange(4), fronts, known)
    assert list(found[:3]) == [0, 0, 0]
    assert found[3] > 0
