import pytest

from catransformers.carbon.grid import Basis, given_intensity, region_intensity, regions
from catransformers.errors import InputError
from catransformers.facts import rows


@pytest.mark.parametrize(
    ("text", "code", "g_per_kwh"),
    [
        ("FR", "FRA", 44.179),
        ("fra", "FRA", 44.179),
        ("France", "FRA", 44.179),
        (" france ", "FRA", 44.179),
        ("CA", "CAN", 174.814),
        ("US-CA", "US-CA", 199.57),
        ("california", "US-CA", 199.57),
        ("US-NY", "US-NY", 211.653),
        ("US", "USA", 383.549),
        ("UK", "GBR", 210.891),
        ("NO", "NOR", 30.746),
        ("world", "world", 481),
        ("US-CA-paper", "US-CA-paper", 224),
        ("TW", "TWN", 635.651),
        ("wind", "wind", 11),
        ("224", "224", 224),
        (224, "224", 224),
        (0.5, "0.5", 0.5),
        (0, "0", 0),
    ],
)
def test_regions_of_use(text, code, g_per_kwh):
    grid = region_intensity(text)
    assert grid.code == code
    assert grid.intensity_kg_per_kwh == pytest.approx(g_per_kwh / 1000)


def test_a_fab_is_looked_up_where_acts_table_has_it():
    assert region_intensity("TW", use="fab").intensity_kg_per_kwh == pytest.approx(0.642)
    assert region_intensity("Taiwan", use="fab").year == 2023
    assert region_intensity("DE", use="fab").intensity_kg_per_kwh == pytest.approx(0.34414)


def test_the_basis_is_part_of_the_value():
    assert str(region_intensity("US-CA").basis) == "lifecycle, production, average"
    direct = region_intensity("US-CA", basis=Basis("direct"))
    assert direct.intensity_kg_per_kwh == pytest.approx(0.179064)
    assert str(direct.basis) == "direct, production, average"
    assert region_intensity("US-NY").basis.scope == "direct"
    assert region_intensity("US", basis=Basis("direct")).intensity_kg_per_kwh == pytest.approx(0.349667)
    assert str(region_intensity(642).basis) == "unstated"


def test_conflicting_bases():
    lifecycle = Basis("lifecycle", "production", "average")
    assert lifecycle.conflicts(lifecycle) == ()
    assert lifecycle.conflicts(Basis()) == ()
    assert lifecycle.conflicts(Basis("direct", "consumption", "average")) == (
        "lifecycle and direct",
        "production and consumption",
    )


def test_unknown_regions_offer_the_nearest():
    with pytest.raises(InputError, match=r"scenario\.use_region: unknown region 'Germny'.*did you mean 'Germany'"):
        region_intensity("Germny", where="scenario.use_region")


def test_ambiguous_names_are_not_guessed():
    with pytest.raises(InputError, match="'Georgia' is ambiguous; allowed: GEO or US-GA"):
        region_intensity("Georgia")


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "-3", "nan", True, None, ["TW"], ""])
def test_bad_regions(bad):
    with pytest.raises(InputError):
        region_intensity(bad)


def test_a_scope_that_a_region_lacks():
    with pytest.raises(
        InputError, match="basis 'lifecycle' is known for 'US-NY'; allowed: direct, production, average"
    ):
        region_intensity("US-NY", basis=Basis("lifecycle"))


def test_every_row_is_reachable_by_its_codes_and_says_where_it_is_from():
    for table in ("grid_countries", "grid_us_states", "grid_zones", "fab_regions"):
        for row in rows(table):
            use = "fab" if table == "fab_regions" else "use"
            basis = Basis(row["scope"], row["accounting"])
            for code in filter(None, (row["code"], row["code2"])):
                grid = region_intensity(code, use=use, basis=basis)
                assert grid.code == row["code"]
                assert grid.intensity_kg_per_kwh * 1000 == pytest.approx(float(row["g_per_kwh"]))
                assert 0 <= grid.low_kg_per_kwh <= grid.intensity_kg_per_kwh <= grid.high_kg_per_kwh
            assert row["source"] and row["licence"]


def test_all_countries_and_states_are_there():
    assert len(rows("grid_countries")) == 212
    states = {row["code"] for row in rows("grid_us_states") if row["scope"] == "direct"} - {"USA"}
    assert len(states) == 51


def test_search():
    assert {grid.code for grid in regions("calif")} == {"US-CA", "US-CA-paper"}
    assert regions("no such place") == ()


def test_to_dict_is_plain():
    plain = region_intensity("TW", use="fab").to_dict()
    assert plain["g_per_kwh"] == 642
    assert plain["basis"] == "lifecycle, production, average"


def test_no_marginal_value_is_tabulated_but_a_number_may_state_it():
    with pytest.raises(InputError, match=r"'marginal' is known for 'TW'.*a number in g/kWh with its basis"):
        region_intensity("TW", basis=Basis(signal="marginal"))
    marginal = region_intensity(700, basis=Basis(signal="marginal"))
    assert str(marginal.basis) == "marginal"
    assert marginal.basis.conflicts(region_intensity("TW").basis) == ("marginal and average",)
    assert given_intensity(700).basis.conflicts(marginal.basis) == ()


def test_a_basis_in_words():
    assert Basis.parse("lifecycle, production, average") == region_intensity("TW").basis
    assert Basis.parse(" Marginal,direct ") == Basis("direct", "unstated", "marginal")
    for grid in regions():
        if str(grid.basis) != "unstated":
            assert Basis.parse(str(grid.basis)) == grid.basis


def test_a_basis_that_means_nothing():
    with pytest.raises(InputError) as caught:
        Basis.parse("lifecycel, direct, lifecycle, average, marginal", where="--basis")
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == 3
    assert "did you mean 'lifecycle'" in found[0]
    assert "'direct' and 'lifecycle' exclude each other" in found[1]
    assert "'average' and 'marginal' exclude each other" in found[2]
