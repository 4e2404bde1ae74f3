from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.carbon.embodied import ABATEMENTS, FabNode, die_carbon, fab_node, table_nodes
from catransformers.carbon.footprint import die_split, embodied_split
from catransformers.carbon.making import assess_die, assess_memory
from catransformers.carbon.parts import (
    board_carbon,
    memory_kinds,
    memory_per_gb,
)
from catransformers.carbon.ranges import Range
from catransformers.carbon.scenario import named_scenario, scenario_from_mapping
from catransformers.carbon.yields import YieldModel
from catransformers.errors import InputError, Problem
from catransformers.registry import EMBODIED_MODELS
from catransformers.reports.assumptions import assumptions

FIXED = YieldModel("fixed", 0.875)
CM2 = 1e-4
MM2 = 1e-6


def die_kg(area_m2, node, abatement=95, intensity=0.642, model=FIXED):
    parts = die_carbon(
        area_m2, fab_intensity_kg_per_kwh=intensity, node_nm=node, abatement=abatement, yield_model=model
    )
    return parts.total_kg


@pytest.mark.parametrize(
    ("node", "g_per_cm2"),
    [
        (28, 1431.7714),
        (22, 1576.816),
        (20, 1669.0286),
        (14, 1680.4571),
        (10, 1927.9429),
        (8, 1960.96),
        (7, 2548.9143),
        (5, 3080.5714),
        (3, 3493.1429),
    ],
)
def test_carbon_per_area_of_every_node(node, g_per_cm2):
    assert die_kg(CM2, node) == pytest.approx(g_per_cm2 / 1000, rel=1e-7)


@pytest.mark.parametrize(
    ("abatement", "intensity", "kg"),
    [
        (95, 0.642, 0.1576816),
        (97, 0.642, 0.15320845714285716),
        (99, 0.642, 0.1487353142857143),
        (95, 0.583, 0.15041954285714285),
        (97, 0.583, 0.1459464),
        (95, 0.524, 0.14315748571428571),
    ],
)
def test_ten_square_millimetres_at_22_nm(abatement, intensity, kg):
    assert die_kg(10 * MM2, 22, abatement, intensity) == pytest.approx(kg, rel=1e-9)


def test_negative_binomial():
    """The figures belong to 642 g/kWh and 95 % abatement (1379.714 g/cm² before yield)."""
    model = YieldModel("negative-binomial")
    assert die_kg(10 * MM2, 22, model=model) == pytest.approx(0.1390781, rel=1e-6)
    assert die_kg(400 * MM2, 22, model=model) == pytest.approx(7.480, abs=5e-4)


@pytest.mark.parametrize(
    ("kind", "good", "kg"),
    [
        ("lpddr3_20nm", 0.875, 0.21028571428571427),
        ("lpddr3_30nm", 0.875, 0.22971428571428573),
        ("lpddr4", 0.875, 0.054857142857142854),
        ("ddr4_10nm", 0.875, 0.07428571428571429),
        ("ddr4_10nm", 0.9, 0.07222222222222222),
    ],
)
def test_a_gigabyte_of_dram(kind, good, kg):
    assert assess_memory(kind, 1, share=good).total_kg.typical == pytest.approx(kg, rel=1e-9)


def test_disks_count_no_yield_and_boards_count_layers():
    assert assess_memory("exosx16", 1000, "hdd").total_kg.typical == pytest.approx(1.334)
    assert board_carbon(0.01, 4) == pytest.approx(0.0043)
    assert board_carbon(0.01, 12) == pytest.approx(0.01 * 12 * 0.13)


@given(st.floats(1e-8, 1e-3), st.floats(0, 1.2), st.sampled_from(ABATEMENTS), st.floats(7, 28))
def test_the_parts_add_up_and_intensity_acts_linearly(area, intensity, abatement, node):
    model = YieldModel("negative-binomial")

    def parts(kg_per_kwh):
        return die_carbon(
            area,
            fab_intensity_kg_per_kwh=kg_per_kwh,
            node_nm=node,
            abatement=abatement,
            yield_model=model,
        )

    one, double, zero = parts(intensity), parts(2 * intensity), parts(0.0)
    made = one.energy_kg + one.gases_kg + one.materials_kg
    assert one.total_kg == pytest.approx(made / one.yield_fraction)
    assert one.yield_loss_kg >= 0
    assert double.total_kg - one.total_kg == pytest.approx(one.total_kg - zero.total_kg, abs=1e-12)


@given(st.floats(0, 1e-3), st.floats(0, 1e-3))
def test_more_than_proportional_in_area(a, b):
    """Two small dies never emit more than one of their joint area: the case for chiplets, before bonding."""
    model = YieldModel("negative-binomial")
    assert die_kg(a, 22, model=model) + die_kg(b, 22, model=model) <= die_kg(a + b, 22, model=model) * (1 + 1e-9)


def test_the_table_is_monotone():
    """Finer nodes take more energy and gas and have more defects; abatement helps."""
    nodes = [fab_node(node) for node in table_nodes()]
    assert [node.node_nm for node in nodes] == sorted((node.node_nm for node in nodes), reverse=True)
    for coarse, fine in pairwise(nodes):
        assert coarse.energy_kwh_per_m2.typical <= fine.energy_kwh_per_m2.typical
        for abatement in ABATEMENTS:
            assert coarse.gases_kg_per_m2[abatement].typical <= fine.gases_kg_per_m2[abatement].typical
        if fine.defects_per_m2 is not None:
            assert coarse.defects_per_m2.typical <= fine.defects_per_m2.typical
    for node in nodes:
        gases = node.gases_kg_per_m2
        assert gases[99].typical < gases[97].typical < gases[95].typical
        assert gases[97].typical == pytest.approx((gases[95].typical + gases[99].typical) / 2)
        ranges = [node.energy_kwh_per_m2, node.materials_kg_per_m2, *gases.values()]
        assert all(0 < r.low <= r.typical <= r.high for r in ranges)


def test_nodes_between_are_interpolated_and_say_so():
    between = fab_node(16)
    assert between.interpolated_from == (14, 20)
    assert fab_node(22).interpolated_from == ()
    share = np.log(16 / 14) / np.log(20 / 14)
    assert between.gases_kg_per_m2[95].typical == pytest.approx(2000 + share * (1900 - 2000))
    assert fab_node(20).defects_per_m2.typical == pytest.approx(900 + (800 - 900) * np.log(20 / 14) / np.log(22 / 14))


@pytest.mark.parametrize("node", [2, 2.999, 28.1, 0, -7, float("nan"), float("inf")])
def test_nodes_outside_are_refused(node):
    with pytest.raises(InputError, match="no fab figures"):
        fab_node(node)


def test_no_invented_defect_density():
    with pytest.raises(InputError, match="none is known at 5 nm"):
        die_kg(MM2, 5, model=YieldModel("poisson"))
    given_density = die_carbon(
        CM2, fab_intensity_kg_per_kwh=0.642, node_nm=5, yield_model=YieldModel("poisson"), defects_per_m2=1e4
    )
    assert given_density.yield_fraction == pytest.approx(np.exp(-1))


@pytest.mark.parametrize("area", [-1e-6, float("nan"), float("inf")])
def test_bad_areas_are_refused(area):
    with pytest.raises(InputError, match="area_m2"):
        die_kg(np.array([1e-6, area]), 22)


def test_other_bad_input():
    with pytest.raises(InputError, match="abatement"):
        die_kg(MM2, 22, abatement=96)
    with pytest.raises(InputError, match="did you mean 'lpddr4'"):
        assess_memory("lpddr5", 1)
    with pytest.raises(InputError, match="board"):
        board_carbon(1, 0)


def test_every_memory_has_a_range():
    for memory_class in ("dram", "ssd", "hdd"):
        kinds = memory_kinds(memory_class)
        assert kinds
        for kind in kinds:
            spread = memory_per_gb(kind, memory_class)
            assert 0 < spread.low <= spread.typical <= spread.high


class Flat:
    """10,000 kWh, 1 kg of gases and 5 kg of materials a square metre at every node of at most 100 nm."""

    abatements = ABATEMENTS

    def fab_node(self, node_nm, where):
        if node_nm > 100:
            raise InputError(Problem(where, f"nothing is known of {node_nm:g} nm", allowed="at most 100 nm"))
        gases = dict.fromkeys(self.abatements, Range(1, 1, 1))
        return FabNode(node_nm, Range(9e3, 1e4, 1.2e4), gases, Range(5, 5, 5), Range(1e3, 1e3, 1e3))


class Lacking(Flat):
    abatements = (95,)


@pytest.fixture
def flat(monkeypatch):
    for name, model in (("flat", Flat), ("lacking", Lacking)):
        monkeypatch.setitem(EMBODIED_MODELS.rows, name, model)
    fab_node.cache_clear()
    yield lambda **keys: scenario_from_mapping("always-on", {"embodied_model": "flat", "yield": 0.5, **keys}, "mine")
    fab_node.cache_clear()


def problems(make, **keys):
    with pytest.raises(InputError) as caught:
        make(**keys)
    return [str(problem) for problem in caught.value.problems]


def test_another_model_changes_a_die(flat):
    scenario = flat(fab_intensity_g_per_kwh=500)
    per_m2 = 0.5 * 1e4 + 1 + 5
    assert embodied_split(CM2, False, scenario).total_kg == pytest.approx(CM2 * per_m2 / 0.5)
    split = die_split(CM2, scenario)
    assert [split.energy_kg, split.gases_kg, split.materials_kg] == pytest.approx([CM2 * 5e3, CM2 * 1, CM2 * 5])
    found = assess_die(100, scenario)
    assert found.range_kg[2] > 1.05 * found.total_kg > found.range_kg[0]
    assert die_carbon(
        CM2, fab_intensity_kg_per_kwh=0.5, embodied_model="flat", yield_model=FIXED
    ).total_kg == pytest.approx(CM2 * per_m2 / 0.875)


def test_another_model_has_nodes_and_defects_of_its_own(flat):
    assert flat(node_nm=90, **{"yield": "poisson"}).defects_per_m2 == 1e3
    for density in ({}, {"defect_density_per_cm2": 0.1}):
        (told,) = problems(flat, node_nm=130, **density)
        assert told == "mine.node_nm: nothing is known of 130 nm; allowed: at most 100 nm"
    assert "out of range" in problems(flat, node_nm=0)[0]
    assert "out of range" in problems(flat, node_nm=90, embodied_model="act")[0]


def test_another_model_is_told(flat):
    scenario = flat()
    assert "22 nm, embodied model flat, 95 % abatement" in scenario.describe()
    assert scenario.to_dict()["embodied_model"] == assess_die(10, scenario).to_dict()["embodied_model"] == "flat"
    assert ("Embodied carbon", "after flat", "a model of another package") in assumptions(scenario)
    plain = named_scenario("default")
    assert "embodied_model" not in plain.to_dict()
    assert "embodied model" not in plain.describe()


def test_an_unknown_model_offers_the_nearest(flat):
    assert problems(flat, embodied_model="atc", node_nm=90) == [
        "mine.embodied_model: unknown embodied model 'atc'; allowed: act, flat, lacking (did you mean 'act'?)"
    ]
    for wrong in (3, ["act"], "", None):
        (told,) = problems(flat, embodied_model=wrong)
        assert told.startswith("mine.embodied_model: ")
    with pytest.raises(InputError, match="did you mean 'flat'"):
        fab_node(22, "flatt")


def test_a_model_gives_every_abatement(flat):
    (told,) = problems(flat, embodied_model="lacking")
    assert told == "mine.node_nm: the embodied model 'lacking' gives no process gases at 97 %, 99 % abatement"


def test_act_is_found_without_searching_packages(monkeypatch):
    monkeypatch.setattr("catransformers.registry.entries_of", lambda group: pytest.fail("searched"))
    fab_node.cache_clear()
    assert scenario_from_mapping("default", {"embodied_model": "act"}, "mine").fab_node == fab_node(22)
