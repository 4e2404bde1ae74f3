"""A package that adds one of each kind from outside: it passes the kits, and a study runs with it."""

import json
import os
import sys
import tomllib
from configparser import ConfigParser
from datetime import timedelta
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import ClassVar

import pytest
import torch

from catransformers.accuracy.tasks import TASKS
from catransformers.accuracy.training.losses import class_loss
from catransformers.carbon.footprint import die_split
from catransformers.carbon.scenario import named_scenario, read_scenario
from catransformers.cli import main
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.models.families.nets import make_net
from catransformers.registry import EXECUTORS, FAMILIES, INTENSITY_SOURCES, STRATEGIES, entries_of
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.space import model_space
from catransformers.testing import (
    ExecutorConformance,
    FamilyConformance,
    IntensitySourceConformance,
    StrategyConformance,
    TaskConformance,
)
from catransformers.testing.kit import randomised
from catransformers.workloads.spec import VisionSpec, VitSpec
from catransformers.workloads.zoo import embedded_spec

PLUGIN = Path(__file__).parents[1] / "plugin"
STUDY = """
name = "toy"
[model.space]
"vision.ffn_dim" = { values = [128, 256] }
"vision.layers" = { values = [3, 6] }
"vision.embed_dim" = { values = [64] }
"vision.heads" = { values = [4] }
"text.layers" = { values = [3] }
"text.ffn_dim" = { values = [128] }
"text.embed_dim" = { values = [48] }
[hardware]
space = "micro"
[hardware.dimensions]
cores = [1]
pe_x = [8]
pe_y = [4]
local_kib = [16]
local_bandwidth = [32]
global_mib = [1]
[scenario]
base = "always-on"
embodied_model = "toy-fab"
[accuracy]
task = "toy-scenes"
steps = 1
batch_size = 8
[search]
strategy = "toy-ladder"
trials = 1
[execution]
executor = "toy-executor"
measure = "toy-meter"
"""


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The plug-in stands on the path, as an installed package does."""
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])]))
    entries_of.cache_clear()
    yield
    entries_of.cache_clear()


class TestToyFamily(FamilyConformance):
    def spec(self):
        encoder = VisionSpec(2, 6, 4, 2, 2, 5, image_size=4, patch_size=2)
        return FAMILIES["toy-vit"].from_dict(VitSpec(encoder, 3).to_dict() | {"family": "toy-vit"})

    def batch(self):
        images = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        return {"images": images, "labels": torch.tensor([0, 1, 2])}

    def loss(self, outputs, batch):
        return class_loss(outputs, batch)


class TestToyTask(TaskConformance):
    def task(self):
        return resolve_name(TASKS["toy-scenes"].opener)(None, None)

    def net(self):
        spec = embedded_spec()
        return randomised(
            make_net(spec.with_dimensions({n: max(1, size // 4) for n, size in spec.dimensions().items()}))
        )


FIXED = {"pe_x": [8], "local_bandwidth": [16], "local_kib": [2], "global_mib": [0.25]}


@cache
def small_costs():
    tech = technology("default-22nm")
    table = accelerators("micro", max_tops=0.05, frequency_hz=tech.frequency_at, overrides={**FIXED, "pe_y": [4, 8]})
    spec = VitSpec(VisionSpec(4, 64, 64, 4, 16, 37, 48, 8), 10)
    space = model_space(
        spec, {"ffn_dim": {"values": [16, 32, 64]}, "layers": {"values": [1, 2, 3, 4]}, "embed_dim": {"values": [64]}}
    )
    return space_cost(space, table, tech, named_scenario("always-on"))


class Strategies(StrategyConformance):
    def costs(self):
        return small_costs()


class TestLadder(Strategies):
    def name(self):
        return "toy-ladder"


class TestSobol(Strategies):
    def name(self):
        return "sobol"


class TestExactHardware(Strategies):
    def name(self):
        return "exact-hardware"


class TestNsga2(Strategies):
    def name(self):
        pytest.importorskip("pymoo")
        return "nsga2"


@pytest.mark.slow
class TestQNehvi(Strategies):
    def name(self):
        pytest.importorskip("ax")
        return "qnehvi"


class TestLocalExecutor(ExecutorConformance):
    def place(self):
        return EXECUTORS.rows["local"]


class TestToyExecutor(ExecutorConformance):
    def place(self):
        return "toys.executor:ToyExecutor"


class Sources(IntensitySourceConformance):
    keys: ClassVar = {}
    registered = ""

    def source(self):
        return INTENSITY_SOURCES.find(self.registered)

    def environ(self):
        return self.keys

    def secrets(self):
        return [name for name in self.keys if not name.endswith("URL")]

    def zone(self):
        return "GB"

    def times(self):
        start = self.now.replace(minute=0)
        return [(start + timedelta(hours=n), 300 + n) for n in range(8)]


class TestElectricityMaps(Sources):
    registered, keys = "electricity-maps", {"ELECTRICITY_MAPS_TOKEN": "kept-to-itself"}

    def answer(self, url):
        values = [{"datetime": time.isoformat(), "carbonIntensity": value} for time, value in self.times()]
        return {"forecast": values, "history": values}


class TestWattTime(Sources):
    registered, keys = "watttime", {"WATTTIME_USER": "whoever-it-is", "WATTTIME_PASSWORD": "kept-to-itself"}

    def answer(self, url):
        values = [{"point_time": time.isoformat(), "value": value} for time, value in self.times()]
        meta = {"units": "lbs_co2_per_mwh", "data_point_period_seconds": 3600}
        return {"token": "abc"} if url.endswith("/login") else {"data": values, "meta": meta}


class TestUnitedKingdom(Sources):
    registered = "uk"

    def answer(self, url):
        start = self.now.replace(minute=0)
        times = [start + timedelta(minutes=30 * n) for n in range(16)]
        return {"data": [{"from": time.isoformat(), "intensity": {"forecast": 200}} for time in times]}


class TestCarbonAwareSdk(Sources):
    registered, keys = "carbon-aware-sdk", {"CARBON_AWARE_SDK_URL": "https://sdk.example"}

    def answer(self, url):
        values = [{"timestamp": time.isoformat(), "duration": 60, "value": value} for time, value in self.times()]
        return [{"forecastData": values}]


class TestToyGrid(Sources):
    registered, keys = "toy-grid", {"TOY_TOKEN": "kept-to-itself"}

    def answer(self, url):
        return {"values": [{"time": time.isoformat(), "gCO2": value} for time, value in self.times()]}


def command(*arguments):
    """The exit status of a command in this process; a study's jobs are processes of their own, as ever."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return ended.value.code


def test_a_study_runs_with_what_the_plug_in_adds(tmp_path, capsys, monkeypatch):
    """Its task, strategy, executor, meter and embodied model by the study file; its format by an option."""
    monkeypatch.delitem(sys.modules, "catransformers.cli.export", raising=False)  # it listed the formats when imported
    (tmp_path / "toy.toml").write_text(STUDY)
    out = tmp_path / "out"
    assert command("search", tmp_path / "toy.toml", "--out", out) == 0, capsys.readouterr()
    assert {path.parent.name for path in out.rglob("toy")} >= {"base", "0000"}
    capsys.readouterr()
    assert command("export", out, "--trial", 0, "--format", "toy-shapes", "--json") == 0, capsys.readouterr()
    (written,) = json.loads(capsys.readouterr().out)["files"]
    assert "(" in Path(written).read_text()


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("toy-executor", "toy-executer", "allowed: local, toy-executor (did you mean 'toy-executor'?)"),
        ("toy-fab", "toy-fap", "unknown embodied model 'toy-fap'; allowed: act, toy-fab (did you mean 'toy-fab'?)"),
    ],
)
def test_unknown_names_list_the_plug_ins(tmp_path, capsys, right, wrong, told):
    (tmp_path / "toy.toml").write_text(STUDY.replace(f'"{right}"', f'"{wrong}"'))
    assert command("search", tmp_path / "toy.toml", "--out", tmp_path / "out") == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_the_embodied_model_is_the_plug_ins():
    scenario = read_scenario({"embodied_model": "toy-fab", "node_nm": 40, "fab_intensity_g_per_kwh": 500})
    split = die_split(1e-4, scenario)
    made = [float(kg) for kg in (split.energy_kg, split.gases_kg, split.materials_kg)]
    assert made == pytest.approx([0.5, 1e-4, 5e-4])


def test_what_is_declared_is_what_is_installed():
    """The package's `pyproject.toml` and the metadata that the tests put on the path say the same."""
    declared = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]
    installed = ConfigParser()
    installed.read(PLUGIN / "toys-1.0.dist-info" / "entry_points.txt")
    assert declared == {group: dict(installed[group]) for group in installed.sections()}


def test_strategies_are_listed():
    assert "toy-ladder" in STRATEGIES
