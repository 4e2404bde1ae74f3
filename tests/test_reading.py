"""Rules of values, and tables read by them: the good values come back, every mistake is told in a fixed order."""

import math

import pytest

from catransformers.errors import InputError, Problems
from catransformers.reading import Choice, Flag, Number, from_to, parse_toml, read_table, read_toml


def refusal(rule, value):
    with pytest.raises(InputError) as caught:
        rule(value, "key")
    return str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 6, math.nan, math.inf, 10**400])
def test_numbers_out_of_range_name_the_range(value):
    assert refusal(Number(0, 5, above=True), value) == f"key: {value} is out of range; allowed: a number > 0 and ≤ 5"


@pytest.mark.parametrize("value", [True, "3", None, [1], {}])
def test_what_is_no_number(value):
    assert refusal(Number(0), value) == f"key: {value!r} is not a number; allowed: a number ≥ 0"


def test_numbers_are_floats_or_whole():
    assert type(Number(0, 5)(3, "key")) is float
    assert type(Number(0, 5, whole=True)(3, "key")) is int
    assert Number(0, 5, step=1)(3.0, "key") == 3.0
    assert "3.5 is out of range" in refusal(Number(0, 5, step=1), 3.5)
    assert "3.0 is not a number" in refusal(Number(0, 5, whole=True), 3.0)
    assert "5 is out of range" in refusal(Number(0, 5, below=True), 5)
    assert (from_to(0, above=True), from_to(1, 64, "an integer")) == ("a number above 0", "an integer from 1 to 64")


def test_choices_offer_the_nearest():
    rule = Choice(lambda: ("murphy", "seeds"))
    assert rule("seeds", "key") == "seeds"
    assert refusal(rule, "murfy") == "key: 'murfy' is not an option; allowed: murphy, seeds (did you mean 'murphy'?)"
    assert "unknown model 'x'" in refusal(Choice(("murphy",), kind="model"), "x")
    assert "True is not an option" in refusal(Choice((1, 2)), True)
    assert "'yes' is neither true nor false" in refusal(Flag(), "yes")


def test_a_table_is_read_to_the_end():
    problems = Problems()
    rules = {"a": Number(0), "b": Choice(("x",)), "c": Flag(), "d": Flag()}
    good = read_table({"e.f": 1, "c": 3, "a": 1}, rules, "t.", problems, optional=("d",))
    assert good == {"a": 1.0}
    assert [str(problem) for problem in problems] == [
        "t.b: missing; allowed: x",
        "t.c: 3 is neither true nor false",
        't."e.f": unknown key; allowed: a, b, c, d',
    ]


def test_files_that_are_no_toml(tmp_path):
    path = tmp_path / "x.toml"
    with pytest.raises(InputError, match="cannot be read: No such file or directory; allowed: a file"):
        read_toml(path, "a file")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_toml(path, "a file")
    with pytest.raises(InputError, match=r"here: not TOML: .*line 1"):
        parse_toml("a = b", "here")
