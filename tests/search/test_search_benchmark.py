"""The search benchmark: its landscapes, its judge against an independent one, and its tables."""

import numpy as np
import pytest

landscapes = pytest.importorskip("landscapes")
report = pytest.importorskip("search_report")


def test_smooth_landscape_follows_the_findings():
    """Halving a dimension costs: vision more than text; embedding more than layers, these more than FFN and heads."""
    found = landscapes.smooth()
    full = found.space.base.dimensions()
    assert found.accuracy[found.space.index(full)] == pytest.approx(landscapes.BASE_ACCURACY)
    half = {n: found.accuracy[found.space.index(full | {n: found.space.values[n][0]})] for n in full}
    for encoder in ("vision", "text"):
        embed, layers, ffn, heads = (half[f"{encoder}.{n}"] for n in ("embed_dim", "layers", "ffn_dim", "heads"))
        assert embed < layers < ffn < heads < landscapes.BASE_ACCURACY
    for name in ("layers", "ffn_dim", "embed_dim", "heads"):
        assert half[f"vision.{name}"] < half[f"text.{name}"]


def test_rugged_landscape_has_many_local_optima_and_the_smooth_one_has_one():
    def local_optima(found):
        grid = found.accuracy.reshape(found.space.shape)
        best = np.ones(grid.shape, dtype=bool)
        for axis in range(grid.ndim):
            rising = np.diff(grid, axis=axis) > 0
            ahead, behind = [(0, 0)] * grid.ndim, [(0, 0)] * grid.ndim
            ahead[axis], behind[axis] = (0, 1), (1, 0)
            best &= ~np.pad(rising, ahead) & np.pad(rising, behind, constant_values=True)
        return int(best.sum())

    assert local_optima(landscapes.smooth()) == 1
    assert local_optima(landscapes.rugged()) > 20


def test_luck_depends_on_model_and_seed_alone():
    found = landscapes.smooth()
    assert found.observe(17, 3) == found.observe(17, 3)
    seen = np.array([found.observe(17, seed) for seed in range(400)]) - found.accuracy[17]
    assert seen.std() == pytest.approx(landscapes.NOISE, rel=0.15)
    assert abs(seen.mean()) < 0.002


def test_a_short_table_of_measured_accuracies_is_refused(tmp_path):
    lines = landscapes.MEASURED.read_text().splitlines()[:51]
    short = tmp_path / "short.csv"
    short.write_text("\n".join(lines) + "\n")
    with pytest.raises(landscapes.TooFewMeasuredError, match=r"50 measured.*measure_landscape\.py"):
        landscapes.embedded(short)


def test_the_table_counts_trials_to_match():
    def run(strategy, shares):
        trials = [{"as_run": s, "trained": s, "seconds": 1.0} for s in shares]
        return {"landscape": "smooth", "mode": "carbon", "strategy": strategy, "trials": trials}

    slow = [run("qnehvi", np.linspace(0.1, 0.92, 100))]
    quick = [run("exact-hardware", np.minimum(np.arange(1, 101) * step, 1.0)) for step in (0.04, 0.05)]
    lines = report.table(slow + quick).splitlines()
    assert "| smooth | carbon | 100.0% | 92.0% | 92.0% | 2, 1 | 21 (19 to 23) |" in lines
    row = next(line for line in reversed(lines) if "exact-hardware" in line)
    assert "| 21 (19 to 23) |" in row.replace(".0", "")  # 0.92 is reached at trial 23 and 19
    assert next(line for line in lines if "qnehvi |" in line).count("92.0%") == 1


def test_the_curves_are_drawn_for_every_landscape_and_mode():
    trials = [{"as_run": share, "seconds": 1.0} for share in np.linspace(0.1, 0.9, 20)]
    runs = [
        {"landscape": "smooth", "mode": mode, "strategy": name, "trials": trials[:length]}
        for mode in ("carbon", "all")
        for name, length in (("sobol", 20), ("sobol", 15), ("qnehvi", 20))
    ]
    picture = report.figure(runs, "svg")
    assert picture == report.figure(runs, "svg")
    for words in ("smooth, carbon", "smooth, all", "sobol (2)", "qnehvi"):
        assert f"<!-- {words} -->".encode() in picture, words


@pytest.mark.parametrize("costs", [[2.0], [2.0, 5.0]])
def test_attainment_surfaces_of_two_runs(costs):
    """Two runs of one design each: the better one is the best surface, the worse one what all attain."""
    pytest.importorskip("moocore")
    worse = [cost + 1 for cost in costs]
    runs = [{"mode": "m", "trials": [{"accuracy": a, "costs": [c]}]} for a, c in ((0.5, costs), (0.4, worse))]
    text = report.attainment(runs, lambda _, trial: trial["costs"])
    if len(costs) == 1:
        assert "| the best run | 0.5000 | 2 |" in text
        assert "| all runs | 0.4000 | 3 |" in text
    else:
        assert text.count("| 0.4000 | 6 | 2 | 2 | 3 |") == 1  # half of two runs is one


def test_attainment_of_nothing_says_so():
    pytest.importorskip("moocore")
    assert report.attainment([], lambda _, trial: trial["costs"]) == "no results of that name"


def test_attainment_that_not_all_runs_have_a_part_in_says_so():
    pytest.importorskip("moocore")
    runs = [{"mode": "m", "trials": [{"accuracy": 0.5, "costs": costs}]} for costs in ([[2.0]], [])]
    assert "1 of 2 runs brought no design" in report.attainment(runs, lambda _, trial: trial["costs"])
