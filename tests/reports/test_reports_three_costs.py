"""Reports of studies that minimise three quantities and more."""

import csv
import io
import json

import pytest

from catransformers.execution.results import load_study
from catransformers.reports.study.derive import summarise
from catransformers.reports.study.figures import caption, front_figure
from catransformers.reports.study.static import front_svg
from catransformers.reports.study.tables import front_csv, terminal_front
from catransformers.reports.study.write import write_report

THREE = ("carbon", "latency", "tcdp")


@pytest.fixture
def results(study_of):
    return load_study(study_of(objectives='minimise = ["carbon", "latency", "tcdp"]').root)


def test_the_front_has_each_models_best_design_in_each_quantity(results):
    summary = summarise(results)
    assert summary.config.objectives.quantities == THREE
    assert summary.reference == results.costs.reference
    assert len(summary.reference) == 3
    for trial in {d.trial for d in summary.front}:
        shown = [d.cost for d in summary.front if d.trial == trial]
        every = [m.design for m in results.front if m.trial.number == trial]
        for place in range(3):
            assert min(c.minimised[place] for c in shown) == min(c.minimised[place] for c in every)
        for cost in shown:
            assert cost.minimised == pytest.approx((cost.total_kg, cost.latency_s, cost.total_kg * cost.latency_s))
    assert list(summary.hypervolume) == sorted(summary.hypervolume)


def test_the_figure_has_a_panel_for_each_cost(results):
    summary = summarise(results)
    figure = json.loads(front_figure(summary))
    axes = [figure["layout"][name] for name in ("xaxis", "xaxis2", "xaxis3")]
    for axis, words in zip(axes, ("carbon", "latency", "carbon × latency"), strict=True):
        assert words in axis["title"]["text"]
    ends = [end for axis in axes for end in axis["domain"]]
    assert ends == sorted(ends)
    assert (ends[0], ends[-1]) == (0, pytest.approx(1))
    roles = [[t["meta"]["role"] for t in figure["data"] if t.get("xaxis", "x") == x] for x in ("x", "x2", "x3")]
    assert roles[0] == roles[1] == roles[2]
    assert "by carbon, latency and tcdp" in caption(summary)
    drawn = front_svg(summary)
    assert all(f'id="axes_{k}"' in drawn for k in (1, 2, 3))


def test_tables_show_all_that_is_minimised(results):
    summary = summarise(results)
    titles, rows = terminal_front(summary)
    assert sum(title.startswith("tcdp") for title in titles) == 1
    assert all(len(row) == len(titles) for row in rows)
    found = list(csv.DictReader(io.StringIO(front_csv(summary))))
    for row, design in zip(found, summary.front, strict=True):
        assert float(row["tcdp_kg_s"]) == design.cost.minimised[2]


def test_the_report_names_all(results, tmp_path):
    write_report(results, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "carbon, latency and tcdp as low as possible" in page
    assert "The hypervolume is the volume" in page
    assert page.count("<th>carbon × latency (") == 1
    found = json.loads((tmp_path / "report" / "front.json").read_text())
    assert found["objectives"] == list(THREE)
    assert list(found["reference"]["costs"].values()) == list(results.costs.reference)
    for design in (*found["front"], found["base"]):
        assert design["objectives"]["tcdp"] == pytest.approx(design["total_kg"] * design["latency_s"])
        assert design["objectives"]["carbon"] == design["total_kg"]


@pytest.mark.parametrize(
    "objectives",
    ['minimise = ["energy", "area", "tcdp", "carbon"]', 'minimise = ["carbon", "energy", "area"]\nmax_tops = 4.0',
     'minimise = ["latency", "energy", "carbon"]\ncarbon_quantile = "p95"\nmin_accuracy = 0.58'],
)  # fmt: skip
def test_a_report_of_any_three_is_written(objectives, study_of, tmp_path):
    results = load_study(study_of(objectives=objectives).root)
    write_report(results, tmp_path / "report")
    assert "The hypervolume is the volume" in (tmp_path / "report" / "report.html").read_text()
