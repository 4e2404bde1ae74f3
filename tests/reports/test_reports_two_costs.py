"""Reports of studies that minimise two quantities, or others than carbon, latency and energy."""

import json

import numpy as np
import pytest

from catransformers.execution.results import load_study
from catransformers.reports.study.derive import summarise
from catransformers.reports.study.figures import front_figure
from catransformers.reports.study.static import front_svg
from catransformers.reports.study.write import write_report


@pytest.fixture
def both(study_of):
    return load_study(study_of(objectives='mode = "all"').root)


def test_the_front_has_each_models_cheapest_and_fastest_design(both):
    summary = summarise(both)
    assert (summary.objective, summary.second) == ("carbon", "latency")
    assert {d.trial for d in summary.front} == {m.trial.number for m in both.front}
    for trial in {d.trial for d in summary.front}:
        shown = [d.cost for d in summary.front if d.trial == trial]
        every = [m.design for m in both.front if m.trial.number == trial]
        assert min(c.objective for c in shown) == min(c.objective for c in every)
        assert min(c.second for c in shown) == min(c.second for c in every)
        assert all(c.objective == c.total_kg and c.second == c.latency_s for c in shown)
    assert np.all(np.diff(summary.hypervolume) >= 0)
    assert summary.reference == both.costs.reference


def test_the_figure_has_a_panel_for_each_cost(both):
    summary = summarise(both)
    figure = json.loads(front_figure(summary))
    assert "carbon" in figure["layout"]["xaxis"]["title"]["text"]
    assert "latency" in figure["layout"]["xaxis2"]["title"]["text"]
    right = [trace for trace in figure["data"] if trace.get("xaxis") == "x2"]
    left = [trace for trace in figure["data"] if trace.get("xaxis") != "x2"]
    assert [t["meta"] for t in left] == [t["meta"] for t in right]
    assert not any(trace.get("line", {}).get("shape") == "hv" for trace in figure["data"])  # no staircase
    front = next(trace for trace in right if trace["meta"]["role"] == "front")
    latency = sorted(d.cost.latency_s for d in summary.front)
    assert sorted(front["x"]) == pytest.approx([1e3 * x for x in latency]) or sorted(front["x"]) == pytest.approx(
        [1e6 * x for x in latency]
    )
    drawn = front_svg(summary)
    assert "latency (" in drawn or drawn.count("axes_") >= 2


def test_the_report_names_both(both, tmp_path):
    write_report(both, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "carbon and latency as low as possible" in page
    assert "The hypervolume is the volume" in page
    found = json.loads((tmp_path / "report" / "front.json").read_text())
    assert found["second_objective"] == "latency"
    assert found["reference"]["second_cost"] == both.costs.reference[1]


@pytest.mark.parametrize(
    "objectives",
    ['minimise = ["tcdp"]', 'minimise = ["area"]', 'minimise = ["energy", "area"]', 'carbon_quantile = "p95"',
     "min_accuracy = 0.58", 'mode = "all"\nmax_power_w = 9.0\nmax_tops = 4.0'],
)  # fmt: skip
def test_a_report_of_any_objectives_is_written(objectives, study_of, tmp_path):
    results = load_study(study_of(objectives=objectives).root)
    write_report(results, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert ("95th percentile of its range)" in page) == ("p95" in objectives)
    if "min_accuracy" in objectives:
        assert "accuracy of the front ≥ 58 %" in page
        assert all(m.trial.accuracy >= 0.58 for m in results.front)
