"""Fact tables refuse what would make a number indefensible."""

import importlib.resources
from pathlib import Path

import pytest

from catransformers import facts
from catransformers.errors import IntegrityError

HEADER = "name,value,unit,low,high,source,licence\n"


@pytest.fixture
def table(tmp_path, monkeypatch):
    def write(text):
        (tmp_path / "t.csv").write_text(text)
        monkeypatch.setattr(facts, "files", lambda _: Path(tmp_path))
        facts.rows.cache_clear()
        facts.facts.cache_clear()
        return facts.facts("t")

    yield write
    facts.rows.cache_clear()
    facts.facts.cache_clear()


def test_a_fact_has_value_range_unit_and_source(table):
    fact = table(HEADER + "mac,0.1,pJ,0.05,0.2,a paper,MIT\n")["mac"]
    assert (fact.low, fact.value, fact.high, fact.unit) == (0.05, 0.1, 0.2, "pJ")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("mac,nan,pJ,0,1,s,MIT", "≤"),
        ("mac,3,pJ,0,1,s,MIT", "≤"),
        ("mac,1,pJ,0,1,,MIT", "no source"),
        ("mac,1,pJ,0,1", "fields"),
        ("mac,1,pJ,0,1,s,MIT\nmac,1,pJ,0,1,s,MIT", "twice"),
    ],
)
def test_a_bad_row_is_refused(table, row, message):
    with pytest.raises(IntegrityError, match=message):
        table(HEADER + row + "\n")


def test_a_missing_table_is_named():
    with pytest.raises(IntegrityError, match="nothing_such"):
        facts.rows("nothing_such")


def test_every_shipped_fact_table_is_sound():
    folder = importlib.resources.files("catransformers.data")
    tables = [p.name.removesuffix(".csv") for p in folder.iterdir() if p.name.endswith(".csv")]
    assert tables
    for name in tables:
        if set(facts.REQUIRED) <= set(facts.rows(name)[0]):
            assert facts.facts(name)
