"""Made-up machines: counters of processors and GPUs, CodeCarbon, a clock."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from catransformers.energy.rapl import RaplMeter
from catransformers.registry import METERS

OLD = Path(__file__).parents[1] / "study" / "data" / "schema-1"
DRIVE = Path(__file__).with_name("drive.py")
INSTALL = 'pip install "catransformers[measure]"'


@pytest.fixture
def clock(monkeypatch):
    """Time that goes on only when it is told to: `wall` and `own` processor time, s."""
    now = SimpleNamespace(wall=1000.0, own=50.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.wall)
    monkeypatch.setattr(time, "process_time", lambda: now.own)
    return now


class Machine:
    """A folder like /sys/class/powercap and a file like /proc/stat."""

    def __init__(self, root):
        self.root, self.stat = root / "powercap", root / "stat"
        self.root.mkdir()
        self.busy(0)

    def zone(self, folder, name, counter, wraps=262_143_328_850):
        path = self.root / folder
        path.mkdir()
        (path / "name").write_text(name + "\n")
        (path / "energy_uj").write_text(f"{counter}\n")
        if wraps is not None:
            (path / "max_energy_range_uj").write_text(f"{wraps}\n")
        return path / "energy_uj"

    def busy(self, seconds):
        ticks = os.sysconf("SC_CLK_TCK")
        # user nice system idle iowait irq softirq: waiting is no work
        self.stat.write_text(f"cpu  {round(seconds * ticks)} 0 0 {9_999 * ticks} {77 * ticks} 0 0 0 0 0\n")

    def meter(self):
        return RaplMeter(self.root, self.stat)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


class FakeNvml:
    """The part of pynvml that is used, for boards that behave as told."""

    class NVMLError(Exception):
        """As the library's own."""

    def __init__(self, names=("NVIDIA A100",), *, counter=True, watts=200.0, sharers=1, mig=False, driver=True):
        self.names, self.counter, self.sharers, self.mig, self.driver = names, counter, sharers, mig, driver
        self.watts, self.millijoules, self.open = watts, 5_000_000, 0

    def nvmlInit(self):  # noqa: N802 - the library's name, as below
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return self.names[handle].encode()

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return f"GPU-{handle}{handle}{handle}"

    def nvmlDeviceGetMigMode(self, _):  # noqa: N802
        if not self.mig:
            raise self.NVMLError("Not Supported")
        return 1, 1

    def nvmlDeviceGetTotalEnergyConsumption(self, _):  # noqa: N802
        if not self.counter:
            raise self.NVMLError("Not Supported")
        return self.millijoules

    def nvmlDeviceGetPowerUsage(self, _):  # noqa: N802
        return round(self.watts * 1000)

    def nvmlDeviceGetComputeRunningProcesses(self, _):  # noqa: N802
        return [object()] * self.sharers


@pytest.fixture
def gpu(monkeypatch):
    """Puts a fake library in the place of pynvml."""

    def made(*args, **kwargs):
        nvml = FakeNvml(*args, **kwargs)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        return nvml

    return made


class FakeTracker:
    """A tracker that adds up what it is told, on hardware that it is told."""

    hardware = "CPU: Intel(R) Xeon(R) TDP 205 W"
    kwh = 0.002
    made = None
    stopped = 0

    def __init__(self, **settings):
        type(self).made = settings
        self._hardware = [
            SimpleNamespace(description=lambda: self.hardware),
            SimpleNamespace(description=lambda: "RAM: 3 W"),
        ]
        self._total_cpu_energy = SimpleNamespace(kWh=0.0)

    def start(self):
        self._total_cpu_energy = SimpleNamespace(kWh=self.kwh / 2)

    def stop(self):
        type(self).stopped += 1
        self.final_emissions_data = SimpleNamespace(cpu_energy=self.kwh)


@pytest.fixture
def tracker(monkeypatch):
    """Puts a fake CodeCarbon in place and returns its tracker's class."""

    class Tracker(FakeTracker):
        stopped = 0

    monkeypatch.setitem(sys.modules, "codecarbon", SimpleNamespace(OfflineEmissionsTracker=Tracker))
    return Tracker


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without any meter."""
    (tmp_path / "none").mkdir()
    monkeypatch.setitem(METERS.rows, "rapl", lambda: RaplMeter(tmp_path / "none", tmp_path / "stat"))
    for name in ("pynvml", "codecarbon"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def sensing(bare, machine, monkeypatch):
    """A machine whose processor can be measured."""
    machine.zone("intel-rapl:0", "package-0", 0)
    monkeypatch.setitem(METERS.rows, "rapl", machine.meter)
    monkeypatch.setattr(sys, "platform", "linux")
