"""The registry: own rows and other packages' entry points, lazily, and what is said of broken ones."""

import subprocess
import sys

import pytest

from catransformers.errors import InputError
from catransformers.registry import STRATEGIES, Registry, entries_of

OWN = {"plain": "fractions:Fraction", "never-imported": "no_such_module:Thing"}
GROUP = "catransformers.tests"


@pytest.fixture
def things(tmp_path, monkeypatch):
    """Makes a registry beside packages that each have entry points in its group."""

    def make(packages=None, rows=OWN, shape="builtins:type"):
        for package, entries in (packages or {}).items():
            info = tmp_path / f"{package}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in entries.items())]
            (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        return Registry("thing", "section.thing", GROUP, rows, shape)

    monkeypatch.syspath_prepend(tmp_path)
    entries_of.cache_clear()
    yield make
    entries_of.cache_clear()


def problems(call):
    with pytest.raises(InputError) as caught:
        call()
    return caught.value.problems


def test_own_rows_come_first_then_other_packages_by_name(things):
    registry = things({"toys": {"zebra": "decimal:Decimal", "ant": "fractions:Fraction"}})
    assert list(registry) == ["plain", "never-imported", "ant", "zebra"]
    assert len(registry) == 4
    assert "zebra" in registry and "lion" not in registry
    assert registry["zebra"].__name__ == registry.find("zebra").__name__ == "Decimal"
    assert registry.get("lion") is None
    with pytest.raises(KeyError):
        registry["lion"]


def test_an_own_name_is_found_without_searching_packages(things, monkeypatch):
    registry = things()
    monkeypatch.setattr("catransformers.registry.entries_of", lambda group: pytest.fail("searched"))
    assert "plain" in registry
    assert registry.find("plain").__name__ == "Fraction"
    registry.check("never-imported")


def test_listing_names_imports_nothing(things):
    registry = things({"toys": {"broken": "no_such_module:Thing"}})
    assert set(registry) == {*OWN, "broken"}
    assert "broken" in registry


def test_an_unknown_name_offers_the_nearest(things):
    registry = things({"toys": {"zebra": "decimal:Decimal"}})
    (problem,) = problems(lambda: registry.find("zebrra"))
    assert str(problem) == (
        "section.thing: unknown thing 'zebrra'; allowed: never-imported, plain, zebra (did you mean 'zebra'?)"
    )
    (problem,) = problems(lambda: registry.check("zebrra", "--thing"))
    assert problem.where == "--thing"


def test_names_that_are_defined_twice_are_all_told(things):
    registry = things(
        {"toys": {"plain": "decimal:Decimal", "zebra": "decimal:Decimal"}, "zoo": {"zebra": "fractions:Fraction"}}
    )
    told = problems(lambda: list(registry))
    assert [p.what for p in told] == [
        "the thing 'plain' is defined twice: fractions:Fraction (package catransformers) and "
        "decimal:Decimal (package toys)",
        "the thing 'zebra' is defined twice: decimal:Decimal (package toys) and fractions:Fraction (package zoo)",
    ]
    assert problems(lambda: registry.find("zebra")) == told
    assert registry.find("plain").__name__ == "Fraction"  # an own name needs no other package


def test_the_same_package_twice_on_the_path_is_one(things):
    registry = things({"toys": {"zebra": "decimal:Decimal"}, "toys_again": {"zebra": "decimal:Decimal"}})
    assert registry.find("zebra").__name__ == "Decimal"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_module:Thing", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("fractions:Nothing", "cannot be imported: AttributeError: "),
        ("fractions:Fraction.from_float", "is of type method, not a class"),
        ("not a value", "cannot be imported: ValueError: "),
    ],
)
def test_what_cannot_be_used_names_its_package(things, value, said):
    registry = things({"toys": {"zebra": value}})
    (problem,) = problems(lambda: registry.find("zebra"))
    assert f"the thing 'zebra' cannot be used: {value} (package toys) {said}" in problem.what
    assert problem.where == "section.thing"
    assert problem.hint == "mend or uninstall that package"


def test_what_is_added_must_be_of_the_kinds_shape(things):
    registry = things({"toys": {"zebra": "math:pi", "lion": "fractions:Fraction"}}, shape="builtins:float")
    assert registry.find("zebra") > 3
    (problem,) = problems(lambda: registry.find("lion"))
    assert problem.what.endswith("is of type ABCMeta, not a float")


def test_other_groups_are_not_this_one(things):
    things({"toys": {"zebra": "decimal:Decimal"}})
    assert "zebra" not in STRATEGIES


def test_the_registry_is_cheap_to_import():
    code = "import sys, catransformers.registry; sys.exit('importlib.metadata' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
