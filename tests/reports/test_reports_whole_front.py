"""Data hold every design of a front in several costs, pages and tables a few; what was not trained says why."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from catransformers.carbon.footprint import footprint_range
from catransformers.cli import main
from catransformers.config.study import read
from catransformers.designs.estimate import estimate
from catransformers.execution.results import load_study
from catransformers.reports.study.derive import summarise
from catransformers.reports.study.narrative import doubts, state
from catransformers.reports.study.tables import front_csv, study_object, terminal_front
from catransformers.reports.study.write import write_report
from catransformers.search.fronts import accuracy_of
from catransformers.study.records import ProposalRecord, TrialRecord
from catransformers.study.store import Store


def widened(study, **limits):
    """The same study with more accelerators, so that a front has more designs than are shown, and other limits."""
    config, problems = read(study.config)
    assert not problems
    dimensions = {**config.hardware.dimensions, "pe_x": (4.0, 8.0, 16.0, 32.0, 64.0), "pe_y": (4.0, 8.0, 16.0)}
    sections = {
        "hardware": replace(config.hardware, dimensions=dimensions),
        "objectives": replace(config.objectives, **limits),
    }
    study.config.write_text(replace(config, **sections).to_toml())
    return load_study(study.root)


@pytest.fixture
def both(study_of):
    return widened(study_of(objectives='mode = "all"'))


def brute_force(results):
    """(trial, accelerator) of all trained models × all accelerators that nothing beats, by comparing every pair."""
    costs, points = results.costs, {}
    for trial in results.trials:
        if trial.accuracy is None:
            continue
        found = costs.designs(costs.space.index(trial.dimensions))
        for row in np.flatnonzero(found.within):
            values = tuple(found.quantity(name)[row] for name in costs.objectives.minimise)
            points[trial.number, str(costs.table[int(row)])] = (-accuracy_of(trial), *values)
    return {
        key
        for key, own in points.items()
        if not any(all(a <= b for a, b in zip(other, own, strict=True)) and other != own for other in points.values())
    }


@pytest.mark.parametrize(
    "objectives", ['mode = "all"', 'minimise = ["energy", "area"]', 'minimise = ["carbon", "latency", "area"]']
)
def test_data_hold_every_design_of_the_front(objectives, study_of):
    results = widened(study_of(objectives=objectives))
    summary = summarise(results)
    data = study_object(summary)
    rows = list(csv.DictReader(io.StringIO(front_csv(summary))))
    keys = ("cores", "pe_x", "pe_y", "local_kib", "local_bandwidth", "global_mib")

    def machine(own):
        return ",".join(f"{key}={float(own[key]):g}" for key in keys)

    found = {(one["trial"], machine(one["accelerator"])) for one in data["front"]}
    assert found == brute_force(results) and len(found) == len(data["front"])
    assert {(int(row["trial"]), machine(row)) for row in rows} == found
    assert [row["design"] for row in rows] == [one["design"] for one in data["front"]]
    assert [one["design"] for one in data["front"]] == [str(k + 1) for k in range(len(found))]
    firsts = [one["objectives"][results.config.objectives.quantities[0]] for one in data["front"]]
    assert firsts == sorted(firsts)

    assert set(data["shown"]) == {design.name for design in summary.front} < {one["design"] for one in data["front"]}
    shown = {design.name: design for design in summary.front}
    for one, row in zip(data["front"], rows, strict=True):
        spec = results.costs.space.spec(one["dimensions"])
        alone = estimate(spec, machine(one["accelerator"]), scenario=results.costs.scenario).to_dict()
        for key in ("latency_s", "energy_j", "area_mm2", "params", "macs"):
            assert one[key] == pytest.approx(alone[key], rel=1e-12) and float(row[key]) == one[key]
        for key in ("total_kg", "total_kg_p5", "total_kg_p95"):
            assert one[key] == pytest.approx(alone["footprint"][key], rel=1e-12) and float(row[key]) == one[key]
        for part in ("die", "dram", "package"):
            assert float(row[f"{part}_kg"]) == pytest.approx(alone["footprint"]["embodied_kg"][part], rel=1e-12)
        assert row["validation"] and one["accuracy"]["validation"]["value"] == float(row["validation"])
        if one["design"] in shown:
            design = shown[one["design"]]
            assert (design.trial, design.cost.total_kg, design.range_kg[2]) == (
                one["trial"], one["total_kg"], one["total_kg_p95"],
            )  # fmt: skip


def test_a_shown_design_has_the_range_of_its_own_accelerator(both):
    summary = summarise(both)
    assert len({design.range_kg for design in summary.front}) == len(summary.front)
    for design in summary.front:
        cost = design.cost
        own = footprint_range(cost.area_m2, cost.life_energy_j, not cost.resident, both.costs.scenario)
        assert design.range_kg == pytest.approx([float(end) for end in own])
        assert design.range_kg[0] < cost.total_kg < design.range_kg[2]


def test_tables_stay_short_and_say_how_many_there_are(both, tmp_path, capsys):
    summary = summarise(both)
    assert len(terminal_front(summary)[1]) == len(summary.front) + 1 < len(summary.members) + 1
    written = write_report(both, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    said = f"The front has {len(summary.members)} designs, of which {len(summary.front)} are shown"
    assert said in page
    assert page.count('id="row-') == len(summary.front) + 1
    folders = sorted(path.name for path in (tmp_path / "report" / "designs").iterdir())
    assert folders == sorted(f"{int(design.name):02d}" for design in summary.front)
    assert json.loads((tmp_path / "report" / "front.json").read_text()) == study_object(written.summary)
    with pytest.raises(SystemExit):
        main(["status", str(both.directory.root)])
    assert said in " ".join(capsys.readouterr().out.split())


def test_one_cost_shows_all(study_of):
    summary = summarise(load_study(study_of().root))
    data = study_object(summary)
    assert "percentile" not in data["headline"]
    assert [member.model for member in summary.members] == list(summary.front)
    assert data["shown"] == [design["design"] for design in data["front"]] == ["1", "2", "3"][: len(data["front"])]
    assert "are shown" not in " ".join(doubts(summary))


@pytest.fixture
def limited(study_of):
    """A study with a limit that the full model breaks everywhere, a trial that therefore was not run, and one whose
    strategy chose an accelerator on which a good model breaks it."""
    study = study_of(tested=False, trials=3)
    results = widened(study)
    whole, good = results.trials[:2]
    first, second = (results.costs.designs(results.costs.space.index(t.dimensions)).latency_s for t in (whole, good))
    results = widened(study, max_latency_ms=1e3 * first.min() * (1 - 1e-6))
    assert second.min() < results.costs.limits.latency < second.max()
    with Store(study.database, "write") as store:
        for number, model, accelerator in ((3, whole, None), (4, good, int(second.argmax()))):
            dimensions = model.dimensions
            proposal = ProposalRecord(number, dimensions, "elsewhere", accelerator=accelerator)
            store.add_proposal(proposal)
            record = replace(good, number=number, dimensions=dimensions, proposal=proposal)
            if accelerator is None:
                why = "not trained: it has no accelerator"
                record = TrialRecord(
                    number, dimensions, "failed", None, None, {}, 1, 1, 0.0, why, proposal, untrained=True
                )
            store.add_trial(record)
    return load_study(study.root)


def test_what_was_not_trained_and_what_broke_a_limit_as_run_say_which_and_by_how_much(limited, tmp_path):
    summary = summarise(limited)
    assert (summary.failed, summary.untrained) == (0, 1)
    assert state(summary) == "5 of 5 trials, 1 not trained (no accelerator within the limits)"
    assert any("were not trained" in line for line in doubts(summary))
    trials = study_object(summary)["trials"]
    assert trials == {"planned": 5, "complete": 4, "failed": 0, "not_trained": 1, "left": 0}
    never, reckless = summary.trials[3], summary.trials[4]
    assert never.untrained and never.cost is None
    assert "has no accelerator within the limit on latency: the best possible is" in never.missed
    ((quantity, value, bound),) = reckless.broken
    assert quantity == "latency" and value > bound == limited.costs.limits.latency
    assert reckless.cost is not None and reckless.cost.feasible and reckless.chosen != reckless.cost.accelerator
    write_report(limited, tmp_path / "report", checkpoints=False)
    page = (tmp_path / "report" / "report.html").read_text()
    assert ">not trained<" in page and "has no accelerator within the limit on latency" in page
    assert "which breaks a limit: latency " in page
    assert "accelerator 0" not in page  # a row's number says nothing to a reader


def test_carbon_at_a_quantile_is_called_so(study_of, tmp_path):
    results = load_study(study_of(objectives='carbon_quantile = "p95"').root)
    summary = summarise(results)
    assert summary.best is not None
    assert summary.best.cost.objective == pytest.approx(summary.best.range_kg[2])
    data = study_object(summary)
    assert "carbon at the 95th percentile of its range" in data["headline"]
    assert "carbon p95" in " ".join(terminal_front(summary)[0])
    write_report(results, tmp_path / "report")
    assert "carbon over the device's life, 95th percentile" in (tmp_path / "report" / "report.html").read_text()
