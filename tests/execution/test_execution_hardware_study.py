"""Mode `hardware`: the exact front of a fixed model, against brute force, against `sweep` and the study's own costs."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from catransformers.carbon.footprint import footprint_range
from catransformers.carbon.scenario import read_scenario
from catransformers.config.study import parse, read
from catransformers.designs.estimate import estimate
from catransformers.designs.sweep import sweep
from catransformers.errors import InfeasibleError, InputError
from catransformers.execution.loop import run_study
from catransformers.execution.results import load_study
from catransformers.execution.studies.assemble import assemble, check
from catransformers.execution.studies.hardware_study import hardware_front, read_hardware_study, run_hardware_study

STUDY = """
name = "fixed"
[hardware]
space = "micro"
[hardware.dimensions]
cores = [1, 2]
pe_x = [8, 32]
pe_y = [4, 16]
local_kib = [4]
local_bandwidth = [16, 64]
[scenario]
base = "always-on"
use_region = "FR"
[objectives]
mode = "hardware"
"""
VALUES = {"cores": [1, 2], "pe_x": [8, 32], "pe_y": [4, 16], "local_kib": [4], "local_bandwidth": [16, 64]}
SCENARIO = {"base": "always-on", "use_region": "FR"}
LIMITS = [
    "",
    "max_latency_ms = 0.3",
    "max_area_mm2 = 1.0\nmax_energy_mj = 0.056",
    "max_power_w = 0.2\nmax_tops = 0.128",
    "max_water_l = 0.6\nmax_tcdp_kg_s = 2e-5",
    'carbon_quantile = "p95"\nmax_carbon_kg = 0.174',
]


def fixed_study(limits="", **changes):
    text = STUDY + limits + "\n" + "\n".join(changes.values())
    config, problems = parse(text, "fixed.toml")
    assert problems == []
    return config


@cache
def estimates():
    """Every accelerator estimated alone."""
    scenario = read_scenario(SCENARIO)
    return [estimate("embedded", accelerator, scenario=scenario) for accelerator in assemble(fixed_study()).table]


def one_by_one(config, scenario):
    """(carbon, latency, within) of every accelerator, each from its own estimate; a limit on water is left out."""
    own, rows = config.objectives, []
    for found in estimates():
        latency, energy, area = found.cost.latency_s, found.cost.energy_j, found.cost.area_m2
        carbon = float(found.footprint.total_kg)
        if own.carbon_quantile == "p95":
            carbon = float(footprint_range(area, found.life_energy_j, not found.cost.resident, scenario)[2])
        kept = [latency <= 1 / scenario.inferences_per_second]
        for limit, value in (
            (own.max_latency_ms, 1e3 * latency),
            (own.max_energy_mj, 1e3 * energy),
            (own.max_area_mm2, 1e6 * area),
            (own.max_power_w, energy / latency),
            (own.max_tops, found.tops),
            (own.max_carbon_kg, carbon),
            (own.max_tcdp_kg_s, carbon * latency),
        ):
            kept.append(limit is None or value <= limit * (1 + 1e-9))
        rows.append((carbon, latency, all(kept)))
    return rows


@pytest.mark.parametrize("limits", LIMITS)
def test_the_front_is_that_of_brute_force_of_sweep_and_of_the_studys_own_costs(limits):
    config = fixed_study(limits)
    scenario = read_scenario(SCENARIO)
    found = hardware_front(config)
    assert found.objectives == ("carbon", "latency")

    costs = assemble(config)  # the costs that any other mode searches with
    own = costs.base_designs
    assert found.within.tolist() == own.within.tolist()
    assert 0 < found.within.sum() < len(costs.table) + (not limits)
    assert sorted(found.front) == sorted(own.front(("carbon", "latency")))
    for name in ("carbon", "latency", "area"):
        assert found.quantity(name) == pytest.approx(own.quantity(name), rel=1e-12)

    rows = one_by_one(config, scenario)
    if "water" not in limits:
        assert found.within.tolist() == [kept for *_, kept in rows]
    points = [(c, t) for (c, t, _), kept in zip(rows, found.within, strict=True) if kept]
    best = {p for p in points if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)}
    assert [found.quantity("carbon")[row] for row in found.front] == pytest.approx(sorted(c for c, _ in best))

    section = config.objectives
    given = {
        name: getattr(section, name)
        for name in (
            "max_energy_mj", "max_area_mm2", "max_power_w", "max_tops", "max_carbon_kg", "max_tcdp_kg_s", "max_water_l",
        )
    }  # fmt: skip
    given["max_latency_ms"] = section.max_latency_ms or 1e3 / 30  # an inference is over before the next one
    swept = sweep(
        "embedded", "micro", values=VALUES, scenario=SCENARIO, objectives=["carbon", "latency"], limits=given,
        carbon_quantile=section.carbon_quantile,
    )  # fmt: skip
    assert [str(swept.table[row]) for row in swept.front] == [str(found.table[row]) for row in found.front]
    assert np.array_equal(swept.quantity("carbon")[swept.front], found.quantity("carbon")[found.front])


def test_a_study_is_kept_found_again_and_not_changed(tmp_path):
    config, folder = fixed_study("max_area_mm2 = 1.0"), tmp_path / "study"
    first = run_hardware_study(config, folder)
    text = (folder / "study.toml").read_text()
    assert "[search]" not in text and "[accuracy]" not in text and "importance" not in text
    again = run_hardware_study(config, folder)
    assert (folder / "study.toml").read_text() == text
    assert json.dumps(first.sweep.to_dict()) == json.dumps(again.sweep.to_dict())
    stored = read_hardware_study(folder)
    assert json.dumps(stored.sweep.to_dict()) == json.dumps(first.sweep.to_dict())
    assert read(folder / "study.toml") == (config.without_training(), [])
    run_hardware_study(fixed_study("max_area_mm2 = 1.0", more="[search]\ntrials = 3\n[accuracy]\nsteps = 7"), folder)
    with pytest.raises(InputError, match=r"objectives\.max_area_mm2: was 1.0 when the study began") as told:
        run_hardware_study(fixed_study("max_area_mm2 = 1.5"), folder)
    assert len(told.value.problems) == 1
    assert (folder / "study.toml").read_text() == text


def test_it_is_no_folder_for_a_study_that_trains_and_the_other_way_round(study, fake, tmp_path):
    fixed, problems = parse(STUDY, "fixed.toml")
    assert not problems
    run_hardware_study(fixed, tmp_path / "fixed")
    with pytest.raises(InputError, match="in which no model is trained"):
        load_study(tmp_path / "fixed")
    with pytest.raises(InputError, match=r"objectives.mode: was 'hardware' when the study began"):
        run_study(study(search__trials=1), tmp_path / "fixed", executor=fake)
    trained = run_study(study(search__trials=1), tmp_path / "trained", executor=fake)
    changed = replace(trained.config, objectives=fixed.objectives)
    with pytest.raises(InputError) as told:
        run_hardware_study(changed, tmp_path / "trained")
    assert {p.where.rpartition(": ")[2] for p in told.value.problems} <= {
        "objectives.mode", "objectives.max_latency_ms",
    }  # fmt: skip
    assert len(load_study(tmp_path / "trained").trials) == 1
    assert read_hardware_study(tmp_path / "trained") is None
    assert read_hardware_study(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("max_latency_ms = 0.01", "limit on latency.*what would help: raise max_latency_ms to"),
        ("max_parameters = 10", "exceeds the limit on parameters.*raise objectives.max_parameters to"),
    ],
)
def test_limits_that_nothing_keeps_say_which_and_write_nothing(limits, said, tmp_path):
    config, _ = parse(STUDY + limits, "fixed.toml")
    with pytest.raises(InfeasibleError, match=said):
        run_hardware_study(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_it_does_not_need_may_be_wrong_and_what_it_needs_may_not(tmp_path):
    idle = '[accuracy]\ntask = "none"\ndata = "none.csv"\n[search]\nstrategy = "none"\n[execution]\ndevice = "cuda"'
    config, _ = parse(STUDY + idle + '\n[model.space]\n"no.dimension" = { min = 3 }', "fixed.toml")
    assert check(config) == []
    wrong = STUDY.replace("micro", "mirco").replace("always-on", "alwayson") + "min_accuracy = 0.5\n"
    config, _ = parse(wrong + '[model]\nbase = "ViT-B-61"', "fixed.toml")
    text = "\n".join(map(str, check(config, "fixed.toml")))
    for expected in ("'micro'", "'always-on'", "'ViT-B-16'", "min_accuracy: cannot be told in mode hardware"):
        assert expected in text
    config, _ = parse(STUDY.replace('use_region = "FR"', "use_region = 100") + "max_water_l = 1.0", "fixed.toml")
    with pytest.raises(InputError, match="no sourced water factor"):
        run_hardware_study(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
