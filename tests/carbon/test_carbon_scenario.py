import json

import pytest

from catransformers.carbon.scenario import SCENARIO_NAMES, named_scenario, scenario_from_mapping
from catransformers.carbon.scenario_keys import KEYS
from catransformers.errors import InputError
from catransformers.facts import facts

WHERE = "study.toml: scenario"


def change(base="always-on", /, **overrides):
    return scenario_from_mapping(base, overrides, WHERE)


def problems(base="always-on", /, **overrides):
    with pytest.raises(InputError) as caught:
        change(base, **overrides)
    return [str(problem) for problem in caught.value.problems]


def test_the_published_setting():
    paper = named_scenario("paper")
    assert paper.use_intensity_kg_per_kwh == pytest.approx(0.224)
    assert paper.fab_intensity_kg_per_kwh == pytest.approx(0.642)
    assert paper.inferences == 94_608_000
    assert paper.yields.fixed == facts("embodied_other")["fixed_yield"].value
    assert (paper.node_nm, paper.abatement, paper.yield_model) == (22, 95, "fixed:0.875")
    assert (paper.dram, paper.dram_kind, paper.dram_gb, paper.package) == ("always", "lpddr3_20nm", 1, "none")


def test_the_published_code_counts_other_inferences():
    code, paper = named_scenario("paper-code"), named_scenario("paper")
    assert code.inferences == 30_000_000
    assert code.inferences_per_second == pytest.approx(30e6 / (3 * 365 * 86400))
    same = {"use", "fab", "node_nm", "abatement", "yield", "dram", "dram_kind", "dram_gb", "package", "pue"}
    assert {key: code.to_dict()[key] for key in same} == {key: paper.to_dict()[key] for key in same}


def test_default_is_the_same_place_and_time():
    default, paper = named_scenario("default"), named_scenario("paper")
    assert (default.use, default.fab, default.inferences) == (paper.use, paper.fab, paper.inferences)
    assert (default.yield_model, default.dram_kind) == ("negative-binomial", "lpddr4")
    assert (default.dram, default.package) == ("when-needed", "per-package")
    assert default.defects_per_m2 == pytest.approx(800)


def test_always_on():
    scenario = named_scenario("always-on")
    assert scenario.inferences == 30 * 5 * 365 * 86400
    assert scenario.use_intensity_kg_per_kwh == pytest.approx(0.481)
    assert (scenario.dram, scenario.package) == ("when-needed", "none")


@pytest.mark.parametrize("name", SCENARIO_NAMES)
def test_every_scenario_describes_itself(name):
    scenario = named_scenario(name)
    assert scenario.name == name
    assert json.loads(json.dumps(scenario.to_dict(), allow_nan=False))["use"]["source"]
    for said in (f"{scenario.inferences:,.0f}", "642 g/kWh", "22 nm", scenario.yield_model):
        assert said in scenario.describe()


def test_changes():
    scenario = change(use_region="FR", lifetime_years=2, **{"yield": "poisson"}, dram_gb=0.5)
    assert scenario.use_intensity_kg_per_kwh == pytest.approx(0.044179)
    assert scenario.inferences == 30 * 2 * 365 * 86400
    assert scenario.yield_model == "poisson"
    assert scenario.name == "always-on with use_region = FR, lifetime_years = 2, yield = poisson, dram_gb = 0.5"
    assert change(name="mine", pue=1.2).name == "mine"


def test_the_last_word_on_inferences_wins():
    assert change("paper-code", inferences_per_second=2).inferences == 2 * 94_608_000
    assert change("paper", inferences=1000).inferences == 1000
    longer = change("paper-code", lifetime_years=5)
    assert longer.inferences == 30_000_000
    assert longer.period_s == pytest.approx(5 * 365 * 86400 / 30e6)  # the same inferences, longer waits


def test_regions_as_numbers():
    assert change(use_region=100).use_intensity_kg_per_kwh == pytest.approx(0.1)
    assert change(fab_region="500").fab_intensity_kg_per_kwh == pytest.approx(0.5)
    assert change(use_intensity_g_per_kwh=100).use_intensity_kg_per_kwh == pytest.approx(0.1)
    assert change(fab_intensity_g_per_kwh=0).fab_intensity_kg_per_kwh == 0


def test_a_grid_that_gets_cleaner():
    scenario = change(use_intensity_change_per_year=-0.05)
    assert 0.481 * 0.95**5 < scenario.use_intensity_kg_per_kwh < 0.481


def test_a_grid_with_a_table_of_years():
    scenario = change(use_intensity_g_per_kwh_by_year=[400, 300, 200], lifetime_years=4)
    assert scenario.use_intensity_kg_per_kwh == pytest.approx((0.4 + 0.3 + 0.2 + 0.2) / 4)
    assert scenario.to_dict()["use_intensity_g_per_kwh_by_year"] == [400, 300, 200]
    assert "275 on average over its life" in scenario.describe()
    assert change(use_intensity_g_per_kwh_by_year="400, 300,200", lifetime_years=4).use_path == scenario.use_path
    found = problems(use_intensity_g_per_kwh_by_year=[400, -1, "x"])
    assert [line.split(": ")[1] for line in found] == [
        "scenario.use_intensity_g_per_kwh_by_year, year 2",
        "scenario.use_intensity_g_per_kwh_by_year, year 3",
    ]
    assert "year 1: '' is not a number" in problems(use_intensity_g_per_kwh_by_year="")[0]


def test_the_device_may_be_off_for_a_part_of_its_life():
    half, whole = change(duty=0.5), change()
    assert half.inferences == whole.inferences / 2
    assert half.period_s == whole.period_s  # while it is on it works as before
    assert change("paper-code", duty=0.5).inferences == 30_000_000
    assert "0.5 of the time on" in half.describe()


def test_packages_by_area_need_their_factor():
    assert "no sourced factor per area exists" in problems(package="per-area")[0]
    assert "has no effect" in problems(package_g_per_cm2=3)[0]
    scenario = change(package="per-area", package_g_per_cm2=250)
    assert scenario.package_kg_per_m2 == pytest.approx(2500)
    assert "250 g/cm²" in scenario.describe()
    assert len(problems(package="per-aera", package_g_per_cm2=3)) == 1


def test_chiplets_are_described():
    text = change(chiplets=4, chiplet_area_overhead=0.1, bonding_yield=0.99).describe()
    assert "4 chiplets (+10% area), bonding yield 0.99" in text
    assert change(chiplets=4, bonding_yield=0.99).assembly_yield == pytest.approx(0.99**4)


def test_a_basis_may_be_asked_for_or_stated():
    direct = change(use_region="US-CA", use_basis="direct", fab_region=642)
    assert direct.use_intensity_kg_per_kwh == pytest.approx(0.179064)
    assert "mixes bases (direct and lifecycle)" in problems(use_region="US-CA", use_basis="direct")[0]
    stated = problems(use_region=500, use_basis="marginal")
    assert "mixes bases (marginal and average)" in stated[0]
    assert change(use_region=500, use_basis="marginal", allow_mixed_basis=True).use.basis.signal == "marginal"
    assert "is known for 'TW'" in problems(fab_region="TW", fab_basis="marginal")[0]
    table = problems(use_intensity_g_per_kwh_by_year=[500, 400], use_basis="marginal")
    assert "mixes bases (marginal and average)" in table[0]


def test_room_for_a_model_in_its_dram():
    scenario = change(dram_gb=1)
    assert scenario.with_room(1e9) is scenario
    assert scenario.with_room(1.5e9).dram_gb == 2
    assert scenario.with_room(16.1e9).dram_gb == 32


def test_bases_do_not_mix_silently():
    found = problems(use_region="US-NY")
    assert len(found) == 1
    assert "mixes bases (direct and lifecycle)" in found[0]
    allowed = change(use_region="US-NY", allow_mixed_basis=True)
    assert allowed.mixed_basis_allowed
    assert "bases mixed as allowed" in allowed.describe()
    assert "bases mixed" not in change(use_region="FR", allow_mixed_basis=True).describe()
    assert change(use_region="US-NY", fab_region=642).fab_intensity_kg_per_kwh == pytest.approx(0.642)


def test_every_mistake_at_once():
    found = problems(
        lifetime_year=3,
        pue=float("nan"),
        fab_region="Tiwan",
        use_region="Nowhere",
        node_nm=2,
        dram_kind="lpddr5",
        package=True,
        inferences_per_second=-2,
        abatement="95",
        allow_mixed_basis="yes",
        name="",
        **{"yield": "poison"},
    )
    keys = {line.removeprefix(f"{WHERE}").split(":")[0] for line in found}
    expected = {"pue", "fab_region", "use_region", "node_nm", "dram_kind", "package", "inferences_per_second"}
    expected |= {"abatement", "allow_mixed_basis", "name", "yield"}
    assert keys == {"", *(f".{key}" for key in expected)}
    assert len(found) == 12
    text = "\n".join(found)
    for hint in ("'lifetime_years'", "'Taiwan'", "'lpddr4'", "'poisson'"):
        assert f"did you mean {hint}" in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lifetime_years", 0),
        ("lifetime_years", "3"),
        ("lifetime_years", True),
        ("lifetime_years", float("inf")),
        ("lifetime_years", 1e308),
        ("lifetime_years", 10**400),
        ("inferences", 1e308),
        ("inferences_per_second", 10**400),
        ("use_region", 10**400),
        ("use_region", 1e300),
        ("fab_intensity_g_per_kwh", 1e300),
        ("use_intensity_change_per_year", 10.0),
        ("defect_density_per_cm2", 1e300),
        ("texts_per_image", 1e308),
        ("pue", 1e308),
        ("dram_gb", 1e308),
        ("yield", 10**400),
        ("inferences", -1),
        ("pue", 0.9),
        ("dram_gb", -1),
        ("dram_yield", 0),
        ("dram_yield", 1.1),
        ("use_region", -5),
        ("use_region", [1]),
        ("use_intensity_g_per_kwh", "TW"),
        ("use_intensity_change_per_year", -1),
        ("node_nm", 40),
        ("abatement", 96),
        ("yield", 0),
        ("yield", [1]),
        ("texts_per_image", -1),
        ("wafer_diameter_mm", 0),
        ("dram", "sometimes"),
        ("inferences_per_second", 0),
        ("inferences", 0),
        ("duty", 0),
        ("duty", 1.1),
        ("chiplets", 0),
        ("chiplets", 2.0),
        ("chiplets", True),
        ("chiplet_area_overhead", -0.1),
        ("bonding_yield", 0),
        ("package_g_per_cm2", -1),
        ("package_g_per_cm2", 10.0),
        ("site_water_l_per_kwh", -1),
        ("use_basis", 3),
        ("fab_basis", "average and such"),
        ("use_intensity_g_per_kwh_by_year", []),
        ("use_intensity_g_per_kwh_by_year", 3),
    ],
)
def test_each_bad_value_is_named_once(key, value):
    found = problems(**{key: value})
    assert len(found) == 1
    assert found[0].startswith(f"{WHERE}.{key}: ")


def test_a_grid_that_grows_beyond_any_number():
    assert "no grid grows" in problems(use_intensity_change_per_year=1.0, lifetime_years=1000)[0]


def test_contradictions():
    assert "contradicts" in problems(inferences=1, inferences_per_second=1)[0]
    assert "contradicts" in problems(use_region="FR", use_intensity_g_per_kwh=1)[0]
    assert "contradicts" in problems(fab_region="FR", fab_intensity_g_per_kwh=1)[0]
    table = {"use_intensity_g_per_kwh_by_year": [1]}
    for key, value in (("use_region", "FR"), ("use_intensity_g_per_kwh", 1), ("use_intensity_change_per_year", 0.1)):
        assert "contradicts" in problems(**{key: value}, **table)[0]


def test_no_invented_defect_density():
    found = problems(node_nm=5)
    assert len(found) == 1
    assert found[0].startswith(f"{WHERE}.node_nm: the negative-binomial yield needs a defect density")
    assert change(node_nm=5, defect_density_per_cm2=0.3).defects_per_m2 == pytest.approx(3000)
    assert change(node_nm=5, **{"yield": 0.8}).yields.fixed == 0.8


def test_unknown_scenario():
    with pytest.raises(InputError, match=r"unknown scenario 'alwayson'.*did you mean 'always-on'"):
        named_scenario("alwayson")


def test_interpolated_nodes_say_so():
    scenario = change(node_nm=16)
    assert "16 nm (interpolated)" in scenario.describe()
    assert scenario.to_dict()["node_interpolated_from"] == [14, 20]


def test_every_key_has_a_meaning():
    assert all(key.meaning for key in KEYS.values())
