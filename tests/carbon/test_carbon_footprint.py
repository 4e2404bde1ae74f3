import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.carbon.footprint import die_split, footprint, footprint_range
from catransformers.carbon.scenario import SCENARIO_NAMES, named_scenario, scenario_from_mapping
from catransformers.errors import InputError

areas = st.floats(0, 1e-3)
energies = st.floats(0, 10)


def test_the_published_setting_by_hand():
    print_ = footprint(10e-6, 0.01, False, named_scenario("paper"))
    assert print_.die_kg == pytest.approx(0.1576816)
    assert print_.dram_kg == pytest.approx(0.2102857, abs=1e-7)  # always there in the published setting
    assert print_.package_kg == 0
    assert print_.operational_kg == pytest.approx(0.01 * 94_608_000 / 3.6e6 * 0.224)
    assert print_.total_kg == pytest.approx(0.1576816 + 0.21028571 + 0.0588672)


def test_the_published_code():
    # 1 J an inference: 30,000,000 J = 8.3333 kWh at 224 g
    assert footprint(0.0, 1.0, False, named_scenario("paper-code")).operational_kg == pytest.approx(1.8666667)


def test_a_model_that_fits_saves_the_dram_and_its_package():
    scenario = named_scenario("default")
    fits, spills = (footprint(4e-6, 0.01, needs, scenario) for needs in (False, True))
    assert fits.dram_kg == 0
    assert spills.dram_kg == pytest.approx(0.0548571, abs=1e-7)
    assert fits.package_kg == pytest.approx(0.15)
    assert spills.package_kg == pytest.approx(0.30)
    never = scenario_from_mapping("default", {"dram": "never"}, "test")
    assert footprint(4e-6, 0.01, True, never).dram_kg == 0
    nothing = scenario_from_mapping("default", {"dram_gb": 0}, "test")
    assert footprint(4e-6, 0.01, True, nothing).package_kg == pytest.approx(0.15)


@pytest.mark.parametrize("name", SCENARIO_NAMES)
@given(area=areas, energy=energies, needs=st.booleans())
def test_totals_are_sums_and_every_part_counts(name, area, energy, needs):
    scenario = named_scenario(name)
    print_ = footprint(area, energy, needs, scenario)
    assert print_.embodied_kg == pytest.approx(print_.die_kg + print_.dram_kg + print_.package_kg)
    assert print_.total_kg == pytest.approx(print_.embodied_kg + print_.operational_kg)
    assert die_split(area, scenario).total_kg == pytest.approx(print_.die_kg, rel=1e-12)
    assert min(print_.die_kg, print_.dram_kg, print_.package_kg, print_.operational_kg) >= 0


@given(areas, areas, energies, energies)
def test_monotone_in_area_and_energy(area_a, area_b, energy_a, energy_b):
    scenario = named_scenario("always-on")
    low = footprint(min(area_a, area_b), min(energy_a, energy_b), False, scenario).total_kg
    high = footprint(max(area_a, area_b), max(energy_a, energy_b), True, scenario).total_kg
    assert low <= high * (1 + 1e-12)


@given(st.floats(0, 1000), st.floats(1, 3), st.floats(0.1, 20))
def test_linear_in_use_intensity_pue_and_lifetime(intensity, pue, years):
    changes = {"use_region": intensity, "pue": pue, "lifetime_years": years}
    scenario = scenario_from_mapping("always-on", changes, "test")
    kwh = 0.001 * 30 * years * 365 * 86400 / 3.6e6
    assert footprint(1e-6, 0.001, False, scenario).operational_kg == pytest.approx(kwh * intensity / 1000 * pue)


def test_wafer_edge_costs_more():
    scenario = scenario_from_mapping("default", {"wafer_diameter_mm": 300}, "test")
    with_edge, without = (footprint(1e-4, 0, False, s).die_kg for s in (scenario, named_scenario("default")))
    assert with_edge == pytest.approx(without * 706.8583 / 640.2149, rel=1e-6)
    assert die_split(1e-4, scenario).total_kg == pytest.approx(with_edge)


def test_broadcasts_and_agrees_with_single_designs():
    scenario = named_scenario("default")
    area = np.array([1e-6, 5e-6, 2e-5])  # accelerators
    energy = np.linspace(0.001, 0.1, 6).reshape(2, 3)  # models × accelerators
    needs = np.array([[True, False, False], [True, True, False]])
    table = footprint(area, energy, needs, scenario)
    p50 = footprint_range(area, energy, needs, scenario, samples=50)[1]
    for i in range(2):
        for j in range(3):
            one = footprint(area[j], energy[i, j], bool(needs[i, j]), scenario)
            for part in ("die_kg", "dram_kg", "package_kg", "embodied_kg", "operational_kg", "total_kg"):
                assert getattr(table, part)[i, j] == getattr(one, part)
            alone = footprint_range(area[j], energy[i, j], bool(needs[i, j]), scenario, samples=50)[1]
            assert p50[i, j] == alone
    assert table.die_kg.shape == table.total_kg.shape == (2, 3)


def test_plain_form():
    plain = footprint(10e-6, 0.01, True, named_scenario("paper")).to_dict()
    assert plain["embodied_kg"]["total"] == pytest.approx(0.3679673, abs=1e-7)
    assert isinstance(plain["total_kg"], float)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_bad_input(bad):
    scenario = named_scenario("paper")
    with pytest.raises(InputError, match="area_m2"):
        footprint(np.array([1e-6, bad]), 1.0, False, scenario)
    with pytest.raises(InputError, match="energy_j"):
        footprint(1e-6, bad, False, scenario)
    with pytest.raises(InputError, match="energy_j"):
        footprint_range(1e-6, bad, False, scenario)
