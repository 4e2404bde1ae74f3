"""A package that adds one of each kind from outside: it passes the kits, and a study runs with it."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest

from catransformers.carbon.scenario import named_scenario
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.registry import EXECUTORS, INTENSITY_SOURCES, STRATEGIES, entries_of
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.space import model_space
from catransformers.testing import ExecutorConformance, IntensitySourceConformance, StrategyConformance
from catransformers.workloads.spec import VisionSpec, VitSpec

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
[accuracy]
task = "toy-scenes"
steps = 1
[search]
strategy = "toy-ladder"
trials = 2
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
    line = [sys.executable, "-m", "catransformers", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=280)


def test_a_study_runs_with_what_the_plug_in_adds(tmp_path):
    """Its task, strategy, executor and meter by the study file; its format by an option."""
    (tmp_path / "toy.toml").write_text(STUDY)
    out = tmp_path / "out"
    done = command("search", tmp_path / "toy.toml", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.parent.name for path in out.rglob("toy")} >= {"0000", "0001"}
    done = command("export", out, "--trial", 0, "--format", "toy-shapes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = json.loads(done.stdout)["files"]
    assert "(" in Path(written).read_text()


def test_unknown_names_list_the_plug_ins(tmp_path):
    (tmp_path / "toy.toml").write_text(STUDY.replace('"toy-executor"', '"toy-executer"'))
    done = command("search", tmp_path / "toy.toml", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "allowed: local, toy-executor (did you mean 'toy-executor'?)" in " ".join(done.stderr.split())


def test_strategies_are_listed():
    assert "toy-ladder" in STRATEGIES
