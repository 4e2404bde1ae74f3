import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.carbon.yields import (
    YIELD_KINDS,
    YieldModel,
    die_yield,
    dies_per_wafer,
    wafer_area_per_die,
)
from catransformers.errors import InputError

AREA_DEPENDENT = [YieldModel(kind) for kind in YIELD_KINDS[1:]]
areas = st.floats(0, 1e-3)
densities = st.floats(0, 1e4)


@pytest.mark.parametrize(
    ("text", "kind", "fixed"),
    [
        (0.875, "fixed", 0.875),
        ("0.875", "fixed", 0.875),
        ("fixed:0.875", "fixed", 0.875),
        (1, "fixed", 1.0),
        ("Poisson", "poisson", 1.0),
        ("murphy", "murphy", 1.0),
        ("seeds", "seeds", 1.0),
        (" negative-binomial ", "negative-binomial", 1.0),
    ],
)
def test_parse(text, kind, fixed):
    model = YieldModel.parse(text)
    assert (model.kind, model.fixed) == (kind, fixed)
    assert YieldModel.parse(str(model)) == model


@pytest.mark.parametrize("bad", [0, -0.1, 1.01, float("nan"), float("inf"), True, "fixed", "fixed:", "x", ""])
def test_parse_refuses(bad):
    with pytest.raises(InputError, match=r"where: .*yield"):
        YieldModel.parse(bad, where="where")


def test_parse_offers_the_nearest():
    with pytest.raises(InputError, match="did you mean 'poisson'"):
        YieldModel.parse("poison")


def test_values_by_hand():
    # λ = 4 cm² · 0.08/cm² = 0.32
    yields = {model.kind: float(die_yield(model, 4e-4, 800.0)) for model in AREA_DEPENDENT}
    assert yields == pytest.approx(
        {
            "poisson": 0.7261490,
            "murphy": 0.7323667,
            "seeds": 1 / 1.32,
            "negative-binomial": (1 + 0.32 / 3) ** -3,
        },
        rel=1e-6,
    )


@given(areas, densities)
def test_order_of_the_models(area, density):
    """The more the defects cluster, the more dies escape them: Poisson ≤ Murphy, negative binomial ≤ Seeds."""
    poisson, murphy, seeds, binomial = (float(die_yield(model, area, density)) for model in AREA_DEPENDENT)
    slack = 1 + 1e-12
    assert 0 < poisson <= murphy * slack <= seeds * slack**2 <= 1 + 1e-9
    assert poisson <= binomial * slack <= seeds * slack**2


@given(areas, areas, densities)
def test_larger_dies_yield_less(a, b, density):
    small, large = sorted((a, b))
    for model in AREA_DEPENDENT:
        assert die_yield(model, large, density) <= die_yield(model, small, density) * (1 + 1e-12)
        assert die_yield(model, 0.0, density) == 1.0


def test_fixed_ignores_area_and_scales_as_implied_defects():
    model = YieldModel("fixed", 0.875)
    assert die_yield(model, np.array([0.0, 1e-3]), 0.0) == pytest.approx(0.875)
    assert die_yield(model, 1e-5, 0.0, 2.0) == pytest.approx(0.875**2)


def test_broadcasts():
    assert die_yield(YieldModel("murphy"), np.zeros((3, 1)), np.ones(4)).shape == (3, 4)


def test_dies_per_wafer_by_hand():
    # 100 mm² on 300 mm: π·150²/100 − π·300/√200 = 706.858 − 66.643
    assert dies_per_wafer(1e-4, 0.3) == pytest.approx(640.2149, rel=1e-6)
    assert wafer_area_per_die(1e-4, 0.3) == pytest.approx(np.pi * 0.15**2 / 640.2149, rel=1e-6)
    assert wafer_area_per_die(0.0, 0.3) == 0.0


@given(st.floats(1e-7, 1e-3))
def test_edge_waste_is_never_negative_and_small_for_small_dies(area):
    per_die = wafer_area_per_die(area, 0.3)
    assert per_die >= area
    assert wafer_area_per_die(1e-8, 0.3) == pytest.approx(1e-8, rel=1e-3)


def test_a_die_larger_than_the_wafer_is_refused():
    with pytest.raises(InputError, match="does not fit a wafer of 100 mm"):
        wafer_area_per_die(6e-3, 0.1)


@pytest.mark.parametrize(
    ("model", "area_m2", "scale"), [(YieldModel("poisson"), 1.0, 1.0), (YieldModel("fixed", 1e-300), 1e-6, 1.875)]
)
def test_a_yield_of_nothing_is_refused_rather_than_divided_by(model, area_m2, scale):
    with pytest.raises(InputError, match="no die of"):
        die_yield(model, area_m2, 1e3, scale)
