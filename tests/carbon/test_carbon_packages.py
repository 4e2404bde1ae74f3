"""Several dies in a package: chiplets, bonding, packages by area; and the split of the embodied part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.carbon.footprint import embodied_split, footprint, footprint_range
from catransformers.carbon.scenario import SCENARIO_NAMES, named_scenario, scenario_from_mapping

areas = st.floats(1e-8, 1e-3)


def changed(base="default", **keys):
    return scenario_from_mapping(base, keys, "test")


def test_four_chiplets_by_hand():
    """400 mm² as four dies of 110 mm² (a tenth more area), bonded at 99 % each; negative binomial at 0.08 per cm²."""
    scenario = changed(chiplets=4, chiplet_area_overhead=0.1, bonding_yield=0.99)
    one = 1.10 * (0.642 * 1.077 + 0.18828 + 0.5) * (1 + 1.10 * 0.08 / 3) ** 3
    made = footprint(400e-6, 0.0, False, scenario)
    assert made.die_kg == pytest.approx(4 * one)
    assert made.package_kg == pytest.approx(0.15 + (4 * one + 0.15) * (1 / 0.99**4 - 1))
    whole = footprint(400e-6, 0.0, False, named_scenario("default"))
    assert whole.die_kg == pytest.approx(7.480, abs=5e-4)
    assert 4 * one < whole.die_kg  # the case for chiplets


def test_a_package_by_area():
    scenario = changed(package="per-area", package_g_per_cm2=80, chiplets=2, chiplet_area_overhead=0.5)
    without, with_dram = (footprint(2e-4, 0.0, needs, scenario).package_kg for needs in (False, True))
    assert without == pytest.approx(3 * 0.080)  # 3 cm² of silicon
    assert with_dram == pytest.approx(3 * 0.080 + 0.15)  # DRAM comes in an average package


def test_chiplets_without_overhead_and_with_perfect_bonding_only_help():
    whole = footprint(np.geomspace(1e-6, 1e-3, 20), 0.0, False, named_scenario("default")).die_kg
    last = whole
    for n in (2, 4, 8):
        split = footprint(np.geomspace(1e-6, 1e-3, 20), 0.0, False, changed(chiplets=n)).die_kg
        assert np.all(split < last)
        last = split
    fixed = changed("paper", chiplets=4)
    assert footprint(1e-4, 0.0, False, fixed).die_kg == pytest.approx(
        footprint(1e-4, 0.0, False, named_scenario("paper")).die_kg
    )  # a yield that does not depend on area sees no reason for them


@given(areas, st.booleans(), st.integers(1, 8), st.floats(0.5, 1), st.floats(0, 0.5), st.sampled_from(SCENARIO_NAMES))
def test_the_split_adds_up_to_the_footprint(area, needs, chiplets, bonding, overhead, name):
    scenario = changed(name, chiplets=chiplets, bonding_yield=bonding, chiplet_area_overhead=overhead)
    made, split = footprint(area, 0.0, needs, scenario), embodied_split(area, needs, scenario)
    assert split.total_kg == pytest.approx(made.embodied_kg, rel=1e-12)
    assert split.memory_kg == made.dram_kg
    assert split.package_kg + split.bonding_loss_kg == pytest.approx(float(made.package_kg), rel=1e-12)
    made_dies = split.fab_energy_kg + split.gases_kg + split.materials_kg + split.yield_loss_kg
    assert made_dies == pytest.approx(made.die_kg, rel=1e-12)
    assert all(float(part) >= 0 for part in split.to_dict().values())


@given(areas, st.floats(0.5, 1), st.floats(0.5, 1))
def test_worse_bonding_never_helps(area, one, other):
    low, high = sorted((one, other))
    worse, better = (
        footprint(area, 0.0, True, changed(chiplets=3, bonding_yield=share)).total_kg for share in (low, high)
    )
    assert better <= worse * (1 + 1e-12)


def test_wafer_edges_and_chiplets_go_together():
    scenario = changed(wafer_diameter_mm=300, chiplets=2)
    two = footprint(2e-4, 0.0, False, scenario).die_kg
    one = footprint(1e-4, 0.0, False, changed(wafer_diameter_mm=300)).die_kg
    assert two == pytest.approx(2 * one)


def test_ranges_of_assemblies_surround_their_figures():
    scenario = changed(chiplets=4, bonding_yield=0.98, package="per-area", package_g_per_cm2=100)
    p5, p50, p95 = footprint_range(1e-4, 1e-3, True, scenario)
    total = footprint(1e-4, 1e-3, True, scenario).total_kg
    assert p5 < total < p95
    assert p5 < p50 < p95
