import doctest
from pathlib import Path

import pytest

from catransformers.carbon.scenario_keys import KEYS
from catransformers.facts import facts

PAGE = Path(__file__).parents[2] / "docs" / "carbon.md"


def test_the_examples_of_the_page_run():
    failures, tried = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert tried >= 7
    assert failures == 0


def test_the_page_names_every_key():
    text = PAGE.read_text(encoding="utf-8")
    assert [key for key in KEYS if f"`{key}`" not in text] == []


@pytest.mark.parametrize("table", ["fab_nodes", "memory_carbon", "embodied_other"])
def test_every_fact_states_its_source_and_its_range(table):
    for fact in facts(table).values():
        assert fact.licence in {"MIT", "BSD-3-Clause", "Apache-2.0"}
        assert fact.low == fact.high or "range" in fact.source or "judgement" in fact.source


def test_the_node_table_of_the_page_is_the_fact_table():
    text = PAGE.read_text(encoding="utf-8")
    table = facts("fab_nodes")
    for name, fact in table.items():
        quantity, node = name.removesuffix("nm").split("_")
        row = next(line for line in text.splitlines() if line.startswith(f"| {node} |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        shown = {"energy": cells[1], "materials": cells[3], "defects": cells[4]}
        shown["gases95"], shown["gases99"] = cells[2].split(", ")
        assert float(shown[quantity]) == fact.value
