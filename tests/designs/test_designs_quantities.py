"""A quantity is a row and its formula: names, options, keys, limits and numbers follow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import catransformers
from catransformers.config.study import parse
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import OBJECTIVES, OF_DESIGNS, QUANTITIES, columns_of
from catransformers.designs.sweep import sweep

ROW = """
            Quantity(
                "cep", "kgCO2e J", "max_cep_kg_j", "kgCO2e J", "Nor have more carbon × energy.", "cep_kg_j",
                "carbon × energy", "lowest-CEP", "has {} less carbon × energy", "g·J", scale=G_PER_KG,
                of=("carbon", "energy"), formula=_product,
            ),
"""


def test_a_new_quantity_is_a_row_and_its_formula(tmp_path: Path) -> None:
    source = Path(catransformers.__file__).parent
    package = tmp_path / "catransformers"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    table = package / "designs" / "quantities.py"
    before, mark, after = table.read_text().partition('            Quantity(\n                "parameters",')
    table.write_text(before + ROW.lstrip("\n") + mark + after)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    options = ("--objectives", "cep,latency", "--max-cep-kg-j", "1e9")
    found = json.loads(run("-m", "catransformers", "sweep", "--space", "micro", *options, "--json"))
    assert found["objectives"] == ["latency", "cep"]
    assert found["limits"]["max_cep_kg_j"] == 1e9
    for row in found["front"]:
        assert row["cep_kg_j"] == pytest.approx(row["total_kg"] * row["energy_j"])
    study = 'name = "x"\n[objectives]\nminimise = ["cep", "latency"]\nmax_cep_kg_j = 2.0\n'
    asked = f"from catransformers.config.study import parse; print(parse({study!r}, 'x')[0].objectives.limits)"
    assert run("-c", asked).strip() == "{'cep': 2.0}"


@pytest.mark.parametrize("name", ["power", "energy_delay", "sci"])
def test_the_quantities_that_came_as_rows(name: str) -> None:
    found = sweep("embedded", "micro", scenario="always-on", objectives=[name, "area"])
    costs, number = found.designs, found.scenario.inferences
    expected = {
        "power": costs.energy_j / costs.latency_s,
        "energy_delay": costs.energy_j * costs.latency_s,
        "sci": costs.total_kg * 1000 / number,
    }[name]
    assert np.allclose(found.quantity(name), expected, rtol=1e-12)
    assert found.quantity(name)[found.front].min() == found.quantity(name)[found.within].min()
    assert QUANTITIES[name].key in found.to_dict()["front"][0]


def test_rows_hang_together() -> None:
    assert OBJECTIVES[0] == "carbon"
    for name, row in QUANTITIES.items():
        assert row.limit.startswith("max_")
        assert set(row.falls) <= set(row.of)
        assert (row.formula is None) == (not row.of)
        assert columns_of({name}) <= {*QUANTITIES, "inferences"}
    config, problems = parse('name = "x"\n[objectives]\nmax_sci_g = 0\nmax_energy_delay_j_s = 3.0\n', "x")
    assert [problem.where for problem in problems] == ["x: objectives.max_sci_g"]
    assert config.objectives.limits["energy_delay"] == 3.0


def test_the_docs_name_every_key() -> None:
    docs = Path(__file__).parents[2] / "docs"
    study, sweeps = (docs / "study-file.md").read_text(), (docs / "json.md").read_text()
    assert all(f"`{row.limit}`" in study for row in QUANTITIES.values())
    assert all(f"`{name}`" in study for name in OBJECTIVES)
    assert all(f"`{QUANTITIES[name].limit}`" in sweeps for name in OF_DESIGNS)


def test_equal_limits_are_one_key():
    assert {Limits(latency=0.05, area=3e-6): 1}[Limits(area=3e-6, latency=0.05)] == 1
    assert Limits(latency=0.05) != Limits(latency=0.05, accuracy=0.9)
