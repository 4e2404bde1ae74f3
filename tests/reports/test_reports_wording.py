from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.reports import wording
from catransformers.reports.wording import MINUS, NBSP


def plain(text: str) -> str:
    return wording.breakable(text).replace(MINUS, "-")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01834, "0.0183"),
        (0, "0"),
        (12.345, "12.3"),
        (999.6, "1,000"),
        (1234.5, "1,230"),
        (0.09996, "0.100"),
        (5, "5.00"),
    ],
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert wording.number(value) == text


@given(st.floats(1e-12, 1e12), st.integers(1, 6))
def test_a_number_reads_back_within_its_rounding(value: float, figures: int) -> None:
    shown = float(plain(wording.number(value, figures)).replace(",", ""))
    assert math.isclose(shown, value, rel_tol=0.5001 * 10 ** (1 - figures))


@given(st.floats(1e-12, 1e6), st.sampled_from(["carbon", "latency", "energy", "area"]))
def test_an_amount_has_its_unit_and_reads_back(value: float, quantity: str) -> None:
    text, unit = plain(wording.amount(quantity, value)).split(" ", 1)
    prefixes = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1, "m": 1e-3, "µ": 1e-6, "n": 1e-9, "p": 1e-12}
    base = {"carbon": "g CO₂e", "latency": "s", "energy": "J", "area": "mm²"}[quantity]
    assert unit.endswith(base)
    factor = {"carbon": 1e3, "area": 1e6}.get(quantity, 1.0)
    scale = prefixes[unit.removesuffix(base)]
    assert math.isclose(float(text.replace(",", "")) * scale / factor, value, rel_tol=0.006, abs_tol=1e-15)


def test_one_unit_serves_a_column() -> None:
    unit = wording.unit_for("carbon", [0.0005, 0.02])
    assert unit.label == f"g{NBSP}CO₂e"
    assert [unit.text(v) for v in (0.0005, 0.02)] == ["0.500", "20.0"]


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.3149, "31 %"), (0.042, "4.2 %"), (0.0035, "0.35 %"), (0.0, "0 %"), (-0.0, "0 %"), (-0.31, "-31 %")],
)
def test_percent(fraction: float, text: str) -> None:
    assert plain(wording.percent(fraction)) == text


def test_percent_with_a_sign() -> None:
    assert plain(wording.percent(0.2, sign=True)) == "+20 %"
    assert plain(wording.percent(-0.0, sign=True)) == "0 %"


def test_more_and_less() -> None:
    assert plain(wording.saving("carbon", 0.31)) == "emits 31 % less carbon"
    assert plain(wording.saving("latency", -0.05)) == "takes 5.0 % more time"


def test_accuracies_and_losses() -> None:
    assert plain(wording.score(0.6432, 0.0121)) == "64.3 ± 1.2"
    assert wording.score(0.6432, None) == "64.3"
    assert plain(wording.points(-0.021, 0.008)) == "-2.1 ± 0.8"
    assert wording.points(-0.0001, None) == "0.0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42.4, "42 s"), (185, "3 min 05 s"), (59.9, "1 min 00 s"), (7800, "2 h 10 min"), (273600, "3 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_what_was_pruned() -> None:
    base = {"vision.layers": 6, "text.heads": 4}
    assert wording.pruned(base, base) == "unpruned"
    assert wording.pruned({"vision.layers": 4, "text.heads": 4}, base) == "vision layers 6 → 4"
