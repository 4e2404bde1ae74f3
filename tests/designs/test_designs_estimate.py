"""The library function behind `estimate`: what it takes, what it says, and what it refuses."""

import pytest

import catransformers
from catransformers.errors import InputError

ACCELERATOR = "cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1"


def test_it_takes_names_paths_and_changed_keys(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "always-on"\nlifetime_years = 2\n')
    by_path = catransformers.estimate("embedded", ACCELERATOR, scenario=str(path))
    by_keys = catransformers.estimate(
        "embedded", ACCELERATOR, scenario={"base": "always-on", "lifetime_years": 2}, dimensions={"text.layers": 6}
    )
    assert by_path.to_dict()["footprint"] == by_keys.to_dict()["footprint"]
    five = catransformers.estimate("embedded", ACCELERATOR, scenario="always-on")
    assert five.to_dict()["footprint"]["operational_kg"] == pytest.approx(
        2.5 * by_path.to_dict()["footprint"]["operational_kg"]
    )


def test_its_figures_are_those_of_its_plain_form():
    result = catransformers.estimate("ViT-B-32", ACCELERATOR)
    plain = result.to_dict()
    assert (result.latency_s, result.energy_j, result.area_mm2) == (
        plain["latency_s"],
        plain["energy_j"],
        plain["area_mm2"],
    )
    assert result.total_kg == plain["footprint"]["total_kg"]
    assert "scenario 'default'" in repr(result)
    assert len(repr(result)) < 300


def test_it_says_when_one_device_cannot_keep_up():
    assert catransformers.estimate("embedded", ACCELERATOR, scenario="always-on").meets_rate
    slow = catransformers.estimate("ViT-H-14", ACCELERATOR, scenario="always-on")
    assert slow.latency_s > 1 / 30
    assert not slow.meets_rate
    assert slow.to_dict()["meets_rate"] is False


def test_a_pruned_dimension_that_is_not_there():
    with pytest.raises(InputError, match=r"vision\.layers"):
        catransformers.estimate("embedded", ACCELERATOR, dimensions={"vision.layer": 3})


def test_technology_and_scenario_of_different_nodes():
    with pytest.raises(InputError, match="node_nm = 22"):
        catransformers.estimate("embedded", ACCELERATOR, scenario={"node_nm": 14})
