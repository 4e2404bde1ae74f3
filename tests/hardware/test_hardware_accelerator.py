"""The template, its text form, tables and the named spaces."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.errors import InfeasibleError, InputError
from catransformers.hardware.accelerator import LIMITS, Accelerator, AcceleratorTable
from catransformers.hardware.spaces import SPACES, space

TEXT = "cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2"
HZ = 5e8

accelerators = st.builds(
    Accelerator,
    cores=st.integers(1, 4),
    pe_x=st.integers(1, 256),
    pe_y=st.integers(1, 256),
    local_kib=st.floats(1, 4096),
    local_bandwidth=st.integers(1, 256),
    global_mib=st.floats(1 / 16, 8),
)


def test_parse_reads_the_documented_text():
    a = Accelerator.parse(TEXT)
    assert a == Accelerator(1, 256, 8, 64, 128, 2)
    assert str(a) == TEXT
    assert a.pes == 2048
    assert a.peak_tops(HZ) == pytest.approx(2.048)


@given(accelerators)
def test_text_and_table_give_an_accelerator_back(a):
    assert Accelerator.parse(str(a)) == a
    assert AcceleratorTable.of([a, a])[1] == a
    assert Accelerator(**a.to_dict()) == a


def test_parse_tells_all_mistakes_at_once():
    with pytest.raises(InputError) as caught:
        Accelerator.parse("cores=0,pex=8,pe_y=2.5,local_kib=nan,local_bandwidth=many,cores=1,what")
    text = str(caught.value)
    for part in ("cores", "pex", "did you mean 'pe_x'", "pe_y", "local_kib", "many", "given twice", "what", "missing"):
        assert part in text
    assert len(caught.value.problems) >= 8


@pytest.mark.parametrize(
    ("name", "value"),
    [(n, v) for n in LIMITS for v in (0, -1, math.nan, math.inf, True, "4", None) if (n, v) != ("voltage_v", None)],
)
def test_bad_values_are_refused(name, value):
    values = Accelerator.parse(TEXT).to_dict() | {name: value}
    with pytest.raises(InputError, match=name):
        Accelerator(**values)


def test_tables_select_rows_and_reckon_columns():
    table = space("micro", frequency_hz=HZ)
    some = table.select(table.cores == 2)
    assert len(some) == len(table) // 2
    assert some[0].cores == 2
    assert np.array_equal(some.pes, some.cores * some.pe_x * some.pe_y)
    assert table.select(np.array([7]))[0] == table[7]
    assert table.global_bytes.min() == 65536


@pytest.mark.parametrize(("name", "size"), [("micro", 10_500), ("edge", 5_760), ("edge-full", 61_236)])
def test_spaces_have_their_sizes_and_no_member_twice(name, size):
    table = space(name, frequency_hz=HZ)
    assert len(table) == size
    assert len(np.unique(np.column_stack(list(table.columns().values())), axis=0)) == size
    for attribute, values in SPACES[name].items():
        assert set(getattr(table, attribute)) == set(values)


def test_the_limit_of_peak_performance_keeps_its_edge():
    limited = space("edge", max_tops=20.48, frequency_hz=HZ)
    assert limited.peak_tops(HZ).max() == pytest.approx(16.384)
    assert len(space("edge", max_tops=16.384, frequency_hz=HZ)) == len(limited)


def test_overrides_replace_an_attributes_values():
    table = space("micro", frequency_hz=HZ, overrides={"cores": [1], "global_mib": [0.5, 0.25, 0.5]})
    assert len(table) == 10_500 // 2 // 6 * 2
    assert set(table.global_mib) == {0.25, 0.5}


def test_an_empty_space_says_what_would_help():
    with pytest.raises(InfeasibleError) as caught:
        space("edge", max_tops=0.01, frequency_hz=HZ)
    assert caught.value.demand == pytest.approx(0.064)
    assert caught.value.bound == 0.01
    assert caught.value.levers


def test_a_bad_space_tells_all_mistakes_at_once():
    with pytest.raises(InputError) as caught:
        space("egde", max_tops=math.nan, frequency_hz=HZ, overrides={"pe_z": [1], "pe_x": [0.5, 4], "cores": []})
    text = str(caught.value)
    for part in ("did you mean 'edge'", "max_tops", "pe_z", "0.5", "cores"):
        assert part in text
