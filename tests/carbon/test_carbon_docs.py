import doctest
import re
import shlex
from pathlib import Path

import pytest

from catransformers.carbon.factors import FACTOR_NAMES
from catransformers.carbon.impacts import IMPACTS
from catransformers.carbon.scenario_keys import KEYS
from catransformers.cli import main
from catransformers.facts import facts

PAGE = Path(__file__).parents[2] / "docs" / "carbon.md"


def test_the_examples_of_the_page_run():
    failures, tried = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert tried >= 7
    assert failures == 0


def test_the_page_names_every_key():
    text = PAGE.read_text(encoding="utf-8")
    assert [key for key in KEYS if f"`{key}`" not in text] == []


LICENCES = {
    "fab_nodes": {"MIT", "BSD-3-Clause"},
    "memory_carbon": {"MIT", "Apache-2.0"},
    "embodied_other": {"MIT", "BSD-3-Clause", "Apache-2.0"},
    "grid_water": {"CC BY 4.0"},
    "grid_energy_minerals": {"MPL-2.0"},
}


@pytest.mark.parametrize("table", LICENCES)
def test_every_fact_states_its_source_its_licence_and_its_range(table):
    for fact in facts(table).values():
        assert fact.licence in LICENCES[table]
        assert fact.source
        assert fact.low == fact.high or "range" in fact.source or "judgement" in fact.source


def commands():
    """The `carbon` commands of the page that need no study."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("catransformers carbon") and "runs/" not in line:
            yield line


@pytest.mark.parametrize("line", list(commands()))
def test_the_commands_of_the_page_run(capsys, line):
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line, comments=True)[1:])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    claimed = re.search(r"# ([\d.]+) g$", line)
    assert claimed is None or claimed[1] in out


def test_the_page_has_commands_and_speaks_of_every_impact_and_factor():
    text = PAGE.read_text(encoding="utf-8")
    assert len(list(commands())) >= 10
    assert all(name.replace("_", " ") in text for name in IMPACTS)
    assert (
        len(FACTOR_NAMES) == len(re.findall(r"^\| .* \| (?:× |± |99 %|by kind)", text, re.MULTILINE)) + 1
    )  # two grids


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
