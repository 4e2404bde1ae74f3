"""A study looked at under other scenarios: ranked again exactly, nothing trained, nothing of the study changed."""

import hashlib
import json
from dataclasses import replace

import made_up_studies
import numpy as np
import pytest

from catransformers.carbon.scenario import named_scenario, scenario_from_mapping
from catransformers.cli import main
from catransformers.errors import InputError
from catransformers.execution.results import load_study
from catransformers.execution.studies.assemble import assemble
from catransformers.execution.studies.under_scenario import under_scenario
from catransformers.reports.carbon.sensitivity import sensitivity, variations
from catransformers.reports.carbon.sensitivity_figure import sensitivity_figure
from catransformers.reports.study.other_scenario import results_under, slug, write_report_under
from catransformers.search.fronts import derive_front


def fingerprint(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return ended.value.code, out, err


@pytest.mark.parametrize(
    "keys",
    [
        {"base": "paper"},
        {"base": "paper-code"},
        {"base": "always-on", "duty": 0.25, "chiplets": 2, "dram": "always", "inferences_per_second": 2},
    ],
    ids=["paper", "paper-code", "other"],
)
def test_costs_under_a_scenario_are_those_of_a_study_that_has_it(study, keys):
    """The short way (replace what depends on carbon) against the long one (cost everything again)."""
    results = load_study(study.root)
    changes = dict(keys)
    scenario = scenario_from_mapping(changes.pop("base"), changes, "test")
    short = under_scenario(results.costs, results.config, scenario)
    long = assemble(replace(results.config, scenario=keys))
    assert short.limits == long.limits
    assert np.array_equal(short.cost, long.cost)
    assert np.array_equal(short.accelerator, long.accelerator)
    assert short.base_best == long.base_best
    assert [m.design for m in derive_front(short, results.trials)] == [
        m.design for m in derive_front(long, results.trials)
    ]


def test_the_same_scenario_changes_nothing(study):
    results = load_study(study.root)
    again = results_under(results, results.costs.scenario)
    assert [m.design for m in again.front] == [m.design for m in results.front]


def test_a_scenario_of_another_node_is_refused(study):
    results = load_study(study.root)
    with pytest.raises(InputError, match="node_nm"):
        under_scenario(results.costs, results.config, scenario_from_mapping("default", {"node_nm": 7}, "test"))


def test_a_report_under_another_scenario(study, capsys):
    before = fingerprint(study.root)
    code, out, err = run(capsys, "report", study.root, "--scenario", "paper", "--json")
    assert code == 0, err
    found = json.loads(out)
    folder = study.root / "report-paper"
    assert found["report"] == str(folder / "report.html")
    assert found["scenario"]["name"] == "paper"
    assert all(design["embodied_kg"] > 0.21 for design in found["front"])  # a DRAM in every device
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "searched for under the scenario" in page
    after = fingerprint(study.root)
    assert {name: after[name] for name in before} == before  # the study and its own report are as they were
    assert json.loads((folder / "front.json").read_text(encoding="utf-8"))["scenario"]["name"] == "paper"


def test_a_report_says_what_was_never_tested(study):
    results = load_study(study.root)
    untested = replace(results, evaluations=tuple(e for e in results.evaluations if e.subject != 2))
    written = write_report_under(untested, named_scenario("always-on"))
    assert any("never evaluated on the test set: design 1" in line for line in written.summary.warnings)


def test_all_mistakes_of_a_report_at_once(capsys, tmp_path):
    code, _, err = run(capsys, "report", tmp_path, "--scenario", "papr")
    assert code == 2
    assert "there is no study" in err
    assert "did you mean 'paper'" in err


def test_a_scenario_that_nothing_keeps_up_with(study, capsys, tmp_path):
    path = tmp_path / "fast.toml"
    path.write_text('base = "always-on"\ninferences_per_second = 1e8\n')
    code, _, err = run(capsys, "report", study.root, "--scenario", path)
    assert code == 3
    assert "latency" in err
    code, _, err = run(capsys, "carbon", "sensitivity", study.root, "--scenario", path)
    assert code == 2
    assert "no trained model keeps" in err


def test_names_of_folders():
    assert slug("paper") == "paper"
    assert slug("always-on with use_region = FR, pue = 1.2") == "always-on-with-use-region-FR-pue-1.2"
    assert slug("§") == "scenario"


def test_the_front_is_the_studys_own(study):
    results = load_study(study.root)
    found = sensitivity(results)
    assert [m.trial for m in found.own.members] == [m.trial.number for m in results.front]
    assert [m.total_kg for m in found.own.members] == [m.design.total_kg for m in results.front]
    assert set(found.probability) == {m.trial for m in found.own.members}
    assert all(0 <= share <= 1 for share in found.probability.values())


def test_every_variation_is_the_front_of_a_study_that_has_it(study):
    results = load_study(study.root)
    found = sensitivity(results)
    for row in found.rows:
        long = derive_front(under_scenario(results.costs, results.config, row.variation.scenario), results.trials)
        assert [(m.trial, m.accelerator) for m in row.members] == [
            (m.trial.number, m.design.accelerator_index) for m in long
        ]
        assert [m.total_kg for m in row.members] == pytest.approx([m.design.total_kg for m in long])
        own = {m.trial for m in found.own.members}
        now = {m.trial for m in row.members}
        assert (set(row.stay), set(row.come), set(row.leave)) == (own & now, now - own, own - now)
        assert row.regret is None or row.regret >= 0


@pytest.fixture
def roomy(tmp_path, monkeypatch):
    """A study with 192 accelerators to choose from."""
    text = made_up_studies.TINY
    for old, new in (
        ("cores = [1]", "cores = [1, 2]"),
        ("pe_x = [8, 32]", "pe_x = [4, 8, 16, 32]"),
        ("pe_y = [8]", "pe_y = [2, 8]"),
        ("local_kib = [4]", "local_kib = [1, 4, 16]"),
        ("global_mib = [0.25, 0.5, 1]", "global_mib = [0.25, 0.5, 1, 2]"),
    ):
        assert old in text
        text = text.replace(old, new)
    monkeypatch.setattr(made_up_studies, "TINY", text)
    return made_up_studies.make_study(tmp_path / "roomy")


def test_regret_by_hand(roomy):
    """Where designs move to another accelerator, those who stayed emit too much: by how much, worked out again."""
    results = load_study(roomy.root)
    found = sensitivity(results)
    assert any(row.moved for row in found.rows)
    row = max(found.rows, key=lambda row: row.regret or 0.0)
    assert row.regret > 0.001
    costs = under_scenario(results.costs, results.config, row.variation.scenario)
    best = {m.accuracy: m.total_kg for m in row.members}
    worst = 0.0
    for member in found.own.members:
        trial = next(t for t in results.trials if t.number == member.trial)
        kept = costs.designs(costs.space.index(trial.dimensions)).total_kg[member.accelerator]
        least = min(kg for accuracy, kg in best.items() if accuracy >= member.accuracy)
        worst = max(worst, kept / least - 1)
    assert row.regret == pytest.approx(worst)


def test_all_assumptions_are_varied():
    found = variations(named_scenario("always-on"))
    assert {v.factor for v in found} == {
        "grid of use",
        "grid of the fab",
        "lifetime",
        "rate",
        "yield",
        "DRAM",
        "package",
    }
    assert len({(v.factor, v.value) for v in found}) == len(found)
    given = variations(named_scenario("paper-code"))
    half = next(v.scenario for v in given if v.value == "1.5 years")
    assert half.inferences == 15_000_000
    assert half.period_s == named_scenario("paper-code").period_s
    fast = next(v.scenario for v in given if v.factor == "rate" and v.scenario.inferences > 30e6)
    assert fast.inferences == 300_000_000
    assert fast.inferences_per_second == pytest.approx(10 * named_scenario("paper-code").inferences_per_second)


def test_no_yield_is_tried_that_is_not_known():
    scenario = scenario_from_mapping("paper", {"node_nm": 5}, "test")
    assert [v for v in variations(scenario) if v.factor == "yield"] == []


def test_sensitivity_as_a_command(study, capsys):
    before = fingerprint(study.root)
    code, out, err = run(capsys, "carbon", "sensitivity", study.root)
    assert code == 0, err
    for word in ("How it moves", "grid of use", "South Korea", "regret", "Which factor matters", "sensitivity.svg"):
        assert word in out
    after = fingerprint(study.root)
    assert {name: after[name] for name in before} == before
    first = (study.root / "sensitivity.svg").read_bytes()
    assert b"<svg" in first
    code, out, _ = run(capsys, "carbon", "sensitivity", study.root, "--json")
    found = json.loads(out)
    assert (study.root / "sensitivity.svg").read_bytes() == first  # the same bytes for the same study
    assert found["figure"].endswith("sensitivity.svg")
    assert all(0 <= member["probability_on_front"] <= 1 for member in found["front"])
    for swing in found["tornado"]["factors"].values():
        assert swing["low_kg"] <= swing["high_kg"]
    assert len(found["variations"]) == len(sensitivity(load_study(study.root)).rows)


def test_sensitivity_from_another_scenario_and_as_png(study, capsys, tmp_path):
    code, out, _ = run(
        capsys, "carbon", "sensitivity", study.root, "--scenario", "paper", "--figure", tmp_path / "a.png", "--json"
    )
    assert code == 0
    assert json.loads(out)["scenario"]["name"] == "paper"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert not (study.root / "sensitivity.svg").exists()


def test_a_study_without_trials(study_of, capsys):
    root = study_of(trials=0).root
    code, _, err = run(capsys, "carbon", "sensitivity", root)
    assert code == 2
    assert "no trial has been completed" in err


def test_the_picture_has_a_panel_for_each_assumption(study):
    found = sensitivity(load_study(study.root))
    picture = sensitivity_figure(found, "svg", "recall@1")
    assert picture.count(b'id="axes_') >= 7
