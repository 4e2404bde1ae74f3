"""Dataflows, and the closed forms of a systolic array against published and simulated cycles."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.hardware import systolic_cycles

CLOSED_FORMS = Path(__file__).parents[1] / "data" / "systolic_closed_form.csv"
sizes = st.integers(1, 300)


def rows():
    with CLOSED_FORMS.open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_every_known_row(dataflow):
    table = rows()
    assert len(table) == 108
    for row in table:
        shape = [int(row[key]) for key in ("M", "K", "N", "R", "C")]
        assert systolic_cycles(*shape, dataflow) == int(row[dataflow])
    columns = [np.array([int(row[key]) for row in table]) for key in ("M", "K", "N", "R", "C")]
    assert np.array_equal(systolic_cycles(*columns, dataflow), [int(row[dataflow]) for row in table])


@given(sizes, sizes, sizes, st.integers(1, 64), st.integers(1, 64))
def test_never_below_the_ideal_and_symmetric(m, k, n, r, c):
    for dataflow in ("os", "ws", "is"):
        assert systolic_cycles(m, k, n, r, c, dataflow) * r * c >= m * k * n
    assert systolic_cycles(m, k, n, r, c, "ws") == systolic_cycles(n, k, m, r, c, "is")
    assert systolic_cycles(m, k, n, r, c, "os") == systolic_cycles(n, k, m, c, r, "os")


def test_bad_input():
    with pytest.raises(InputError, match="did you mean 'os'"):
        systolic_cycles(1, 1, 1, 1, 1, "oss")
    with pytest.raises(InputError) as caught:
        systolic_cycles(0, 1, np.array([1, -1]), 1, 1, "os")
    assert len(caught.value.problems) == 2
