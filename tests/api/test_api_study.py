"""A study in Python: folders as text, changes by section, limits by the study's keys, and what is refused."""

import subprocess
import sys

import pytest

import catransformers as ct
from catransformers.execution.results import load_study


@pytest.mark.parametrize("opener", [ct.open_study, load_study])
def test_a_folder_may_be_text_or_a_path(opener, tmp_path):
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(ct.InputError, match="no study in this folder"):
            opener(folder)


def test_all_mistakes_of_a_study_are_told_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ct.InputError) as caught:
        ct.search({"name": "x", "modell": {}}, search={"trials": 0}, hardware={"space": "micrro"})
    text = str(caught.value)
    assert "modell" in text and "search.trials" in text and "'micro'" in text
    assert not (tmp_path / "runs").exists()


def test_changes_are_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ct.InputError, match="search"):
        ct.search({"name": "x"}, search=3)


def test_a_fixed_model_is_swept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ct.InputError, match="sweep"):
        ct.search({"name": "x", "hardware": {"space": "micro"}, "objectives": {"mode": "hardware"}})


def test_models_by_family():
    assert {model.family for model in ct.models("bert")} == {"bert"}
    with pytest.raises(ct.InputError, match="did you mean 'bert'"):
        ct.models("bart")


def test_carbon_of_parts():
    assert ct.carbon.die(20).total_kg > ct.carbon.die(10).total_kg
    assert ct.carbon.memory("lpddr4", 8).total_kg.typical == pytest.approx(
        2 * ct.carbon.memory("lpddr4", 4).total_kg.typical
    )
    clean = ct.carbon.footprint(4.5, 0.018, use_region="FR")
    assert clean.total_kg < ct.carbon.footprint(4.5, 0.018).total_kg
    with pytest.raises(ct.InputError) as caught:
        ct.carbon.die(-1, node_nm=1000, fab_region="Atlantis")
    assert all(word in str(caught.value) for word in ("area_mm2", "node_nm", "Atlantis"))
    with pytest.raises(ct.InputError, match="lpddr4"):
        ct.carbon.memory("lpddr44", 4)


def test_names_complete_and_nothing_heavy_is_imported():
    code = (
        "import sys, catransformers as ct; assert 'open_study' in dir(ct); print({'torch', 'numpy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "set()"
