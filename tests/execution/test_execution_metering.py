"""Energy meters on made-up machines, and their records through failures, kills and old studies."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from catransformers.cli import main
from catransformers.config.study import read
from catransformers.energy import estimate, processor_time
from catransformers.energy.choose import problems_of, start_meter, survey
from catransformers.energy.codecarbon_meter import CodecarbonMeter
from catransformers.energy.estimate import GpuEstimate, ProcessorEstimate, processor_energy
from catransformers.energy.nvml import NvmlMeter
from catransformers.energy.rapl import RaplMeter, find_zones
from catransformers.energy.reading import MeterUnavailableError, Reading, total
from catransformers.errors import InputError
from catransformers.execution import events, metering
from catransformers.execution.energy_ledger import EnergyLedger, uncommitted
from catransformers.execution.loop import run_study
from catransformers.execution.messages import request_of
from catransformers.execution.metering import Recorder, attempts, energy_file, metered
from catransformers.execution.results import load_study
from catransformers.facts import facts
from catransformers.registry import METERS
from catransformers.reports.study.derive import summarise

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


# --- processor packages: RAPL ---


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


def test_rapl_counts_packages_and_memory_by_the_share_of_processor_time(machine, clock):
    package = machine.zone("intel-rapl:0", "package-0", 1_000_000)
    second = machine.zone("intel-rapl:1", "package-1", 500_000_000)
    memory = machine.zone("intel-rapl:0:0", "dram", 0)
    machine.zone("intel-rapl:0:1", "core", 0)
    psys = machine.zone("intel-rapl:2", "psys", 0)
    machine.busy(100)
    meter = machine.meter()
    meter.start()
    package.write_text("31000000")  # 30 J
    second.write_text("508000000")  # 8 J
    memory.write_text("2000000")  # 2 J
    psys.write_text("900000000")  # contains all of it, and must not be added
    machine.busy(110)
    clock.own, clock.wall = clock.own + 2.5, clock.wall + 4
    reading = meter.stop()
    assert reading.energy_j == reading.measured_j == pytest.approx(40 * 2.5 / 10)
    assert (reading.quality, reading.method, reading.seconds) == ("measured", "rapl", 4.0)
    spread = facts("own_footprint")["rapl_relative"]
    assert (reading.low_j, reading.high_j) == pytest.approx((10 * spread.low, 10 * spread.high))
    assert "2 processor packages (memory included): 25 % of 40 J" in reading.detail


def test_rapl_goes_on_counting_across_wraps(machine, clock):
    counter = machine.zone("intel-rapl:0", "package-0", 90_000_000, wraps=100_000_000)
    meter = machine.meter()
    meter.start()
    counted = 90_000_000
    for _ in range(25):  # 25 times 30 J: seven wraps
        counted += 30_000_000
        counter.write_text(str(counted % 100_000_000))
        meter.sample()
    clock.own += 1  # /proc/stat stands still: nobody says what others do, so all of it is ours
    reading = meter.stop()
    assert reading.energy_j == pytest.approx(25 * 30.0)
    assert "could not be read" not in reading.detail


def test_rapl_leaves_out_what_it_cannot_know_and_says_so(machine, clock):
    counter = machine.zone("intel-rapl:0", "package-0", 90_000_000, wraps=None)
    meter = machine.meter()
    meter.start()
    counter.write_text("10000000")  # wrapped, at a place that is not known
    meter.sample()
    counter.unlink()
    meter.sample()
    meter.sample()
    counter.write_text("20000000")
    meter.sample()
    counter.write_text("25000000")
    reading = meter.stop()
    assert reading.energy_j == pytest.approx(5.0)
    assert "4 intervals could not be read and are not counted" in reading.detail


def test_rapl_takes_dies_that_show_the_same_counter_once(machine):
    machine.zone("intel-rapl:0", "package-0-die-0", 700_000_000)
    machine.zone("intel-rapl:1", "package-0-die-1", 700_000_004)
    machine.zone("intel-rapl:2", "package-1-die-0", 100_000_000)
    assert [zone.name for zone in find_zones(machine.root)] == ["package-0-die-0", "package-1-die-0"]


def test_rapl_without_permission_says_how_to_get_it(machine, monkeypatch):
    counter = machine.zone("intel-rapl:0", "package-0", 1)
    machine.zone("intel-rapl:0:0", "dram", 1)
    whole = Path.read_text

    def refused(path, *args, **kwargs):  # modes do not stop a root user who runs the tests
        if path == counter:
            raise PermissionError(13, "Permission denied")
        return whole(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(MeterUnavailableError, match="energy_uj cannot be read") as caught:
        machine.meter().start()
    assert "chmod a+r" in caught.value.mend
    assert "CVE-2020-8694" in caught.value.mend


def test_rapl_without_counters_says_what_it_needs(machine):
    with pytest.raises(MeterUnavailableError, match="no RAPL counter") as caught:
        machine.meter().start()
    assert "virtual machines" in caught.value.mend


def test_shares_of_processes_side_by_side_add_up_to_the_package(machine, clock):
    machine.busy(0)
    share = processor_time.ProcessorShare(machine.stat)
    machine.busy(8)
    clock.own += 2
    assert share.value() == pytest.approx(0.25)
    clock.own += 100  # more than the machine has done, by rounding or in a container
    assert share.value() == 1.0


# --- GPUs: NVML ---


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


def test_nvml_reads_the_boards_counter_and_shares_it_among_processes(gpu, clock):
    nvml = gpu()
    meter = NvmlMeter({})
    meter.start()
    nvml.millijoules += 30_000
    meter.sample()
    nvml.sharers, nvml.millijoules = 2, nvml.millijoules + 40_000
    clock.wall += 3
    reading = meter.stop()
    assert reading.energy_j == reading.measured_j == pytest.approx(30 + 40 / 2)
    assert (reading.quality, reading.method, reading.seconds) == ("measured", "nvml", 3.0)
    assert reading.low_j < reading.energy_j < reading.high_j
    assert "energy counter of NVIDIA A100: 71 % of 70 J" in reading.detail
    assert nvml.open == 0


def test_nvml_integrates_power_where_there_is_no_counter(gpu, clock):
    nvml = gpu(counter=False, watts=100.0)
    meter = NvmlMeter({})
    meter.start()
    assert meter.interval_s <= 0.25
    for watts in (200.0, 300.0):
        clock.wall, nvml.watts = clock.wall + 1, watts
        meter.sample()
    reading = meter.reading()
    assert reading.energy_j == pytest.approx(150 + 250)
    assert "power sensor" in reading.detail


def test_nvml_does_not_count_the_interval_in_which_its_counter_began_anew(gpu, clock):
    nvml = gpu()
    meter = NvmlMeter({})
    meter.start()
    nvml.millijoules = 10
    meter.sample()
    nvml.millijoules = 2010
    reading = meter.stop()
    assert reading.energy_j == pytest.approx(2.0)
    assert "1 intervals could not be read" in reading.detail


@pytest.mark.parametrize(
    ("library", "environment", "words"),
    [
        ({"driver": False}, {}, "driver does not answer: Driver Not Loaded"),
        ({"mig": True}, {}, "cut into slices"),
        ({}, {"CUDA_VISIBLE_DEVICES": "MIG-1"}, "slice of a GPU"),
        ({}, {"CUDA_VISIBLE_DEVICES": "3"}, "'3' is not among the 1 GPUs"),
        ({}, {"CUDA_VISIBLE_DEVICES": ""}, "'none' is not among"),
        ({}, {"CUDA_VISIBLE_DEVICES": "GPU-9"}, "NVML does not know"),
        ({"names": ("T4", "A100")}, {}, "in an order of its own"),
    ],
)
def test_nvml_does_not_guess(gpu, library, environment, words):
    nvml = gpu(**library)
    with pytest.raises(MeterUnavailableError, match=words):
        NvmlMeter(environment).start()
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"CUDA_VISIBLE_DEVICES": "1,0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "A100"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-00"}, "T4"),
    ],
)
def test_nvml_takes_the_board_that_cuda_calls_number_0(gpu, environment, name):
    gpu(("T4", "A100"))
    meter = NvmlMeter(environment)
    meter.start()
    assert name in meter.stop().detail


# --- CodeCarbon ---


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


def test_codecarbon_without_a_sensor_is_an_estimate(tracker, clock):
    meter = CodecarbonMeter()
    meter.start()
    meter.sample()
    assert meter.reading().energy_j == pytest.approx(0.001 * 3.6e6)
    reading = meter.stop()
    assert reading.energy_j == pytest.approx(0.002 * 3.6e6)
    assert (reading.quality, reading.measured_j, reading.method) == ("estimated", 0.0, "codecarbon")
    assert reading.high_j >= 2 * reading.energy_j
    assert "not a measurement" in reading.detail
    assert "RAM" not in reading.detail


def test_codecarbon_with_rapl_measures_and_is_shared_by_processor_time(tracker, machine, clock):
    tracker.hardware = "Rapl CPU interface"
    meter = CodecarbonMeter(machine.stat)
    meter.start()
    machine.busy(10)
    clock.own += 4
    reading = meter.stop()
    assert reading.energy_j == reading.measured_j == pytest.approx(0.4 * 0.002 * 3.6e6)
    assert reading.quality == "measured"


def test_codecarbon_tells_nobody_and_leaves_nothing_behind(tracker):
    meter = CodecarbonMeter()
    meter.start()
    settings = tracker.made
    folder = Path(settings["output_dir"])
    assert folder.is_dir()
    assert settings["emissions_endpoint"] is False
    assert settings["output_methods"] == settings["output_handlers"] == settings["gpu_ids"] == []
    meter.stop()
    assert not folder.exists()


def test_codecarbon_that_fails_at_its_end_keeps_what_it_had_said(tracker, monkeypatch):
    meter = CodecarbonMeter()
    meter.start()
    monkeypatch.setattr(tracker, "stop", lambda _: 1 / 0)
    assert meter.stop().energy_j == pytest.approx(0.001 * 3.6e6)


# --- no meter: the estimate ---


def test_the_estimate_is_processor_time_and_memory_at_stated_powers(clock, monkeypatch):
    monkeypatch.setattr(estimate, "resident_bytes", lambda: 2e9)
    meter = ProcessorEstimate()
    meter.start()
    clock.wall, clock.own = clock.wall + 10, clock.own + 30
    reading = meter.stop()
    core, memory = facts("own_footprint")["core_power"], facts("own_footprint")["memory_power"]
    assert reading.energy_j == pytest.approx(30 * core.value + 20 * memory.value)
    assert reading.low_j == pytest.approx(30 * core.low + 20 * memory.low)
    assert reading.high_j == pytest.approx(30 * core.high + 20 * memory.high)
    assert (reading.quality, reading.measured_j, reading.method) == ("estimated", 0.0, "estimate")


def test_the_estimate_of_real_work_grows_with_the_work():
    meter = ProcessorEstimate()
    meter.start()
    before = time.process_time()
    while time.process_time() - before < 0.2:
        pass
    reading = meter.stop()
    least = processor_energy(0.2)
    assert least.typical <= reading.energy_j <= 20 * least.typical
    assert reading.low_j < reading.energy_j < reading.high_j


def test_an_unknown_gpu_is_estimated_by_its_time(clock):
    meter = GpuEstimate()
    meter.start()
    clock.wall += 7
    reading, power = meter.stop(), facts("own_footprint")["gpu_power"]
    assert (reading.low_j, reading.energy_j, reading.high_j) == (7 * power.low, 7 * power.value, 7 * power.high)
    assert reading.quality == "estimated"


def test_a_sum_is_measured_only_if_all_of_it_was():
    counted = Reading(6.0, 5.0, 7.0, 6.0, "measured", "rapl", "a", 2.0)
    guessed = Reading(4.0, 1.0, 9.0, 0.0, "estimated", "estimate", "b", 3.0)
    both = total([counted, guessed])
    assert (both.energy_j, both.low_j, both.high_j, both.measured_j, both.seconds) == (10.0, 6.0, 16.0, 6.0, 3.0)
    assert (both.quality, both.method) == ("estimated", "rapl+estimate")
    assert total([counted, counted]).quality == "measured"


# --- which one ---


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


def test_auto_takes_the_best_there_is(sensing, gpu):
    assert start_meter("auto", "cpu").name == "rapl"
    partly = start_meter("auto", "cuda")
    assert partly.name == "rapl+estimate"
    assert partly.stop().quality == "estimated"
    assert partly.missing == ("nvml: pynvml is not installed",)
    gpu()
    whole = start_meter("auto", "cuda")
    assert (whole.name, whole.stop().quality) == ("rapl+nvml", "measured")


def test_auto_without_a_meter_estimates_and_says_why(bare, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    meter = start_meter("auto", "cpu")
    assert meter.name == "estimate"
    assert meter.missing[0].startswith("rapl: no RAPL counter")


@pytest.mark.parametrize(
    ("hardware", "expected"), [("CPU: TDP 30 W", "estimate"), ("AppleSiliconChip M2 CPU", "codecarbon")]
)
def test_auto_elsewhere_takes_codecarbon_only_if_it_measures(bare, tracker, monkeypatch, hardware, expected):
    monkeypatch.setattr(sys, "platform", "darwin")
    tracker.hardware = hardware
    meter = start_meter("auto", "cpu")
    meter.stop()
    assert meter.name == expected
    assert tracker.stopped == 1


def test_estimate_and_off_look_at_no_meter(sensing, gpu):
    gpu()
    assert start_meter("estimate", "cuda").name == "estimate+estimate"
    assert start_meter("off", "cuda") is None


@pytest.mark.parametrize(
    ("measure", "device", "reason", "mend"),
    [
        ("codecarbon", "cpu", "codecarbon is not installed", INSTALL),
        ("nvml", "cuda", "pynvml is not installed", INSTALL),
        ("rapl", "cpu", "no RAPL counter", "intel_rapl_common"),
        ("nvml", "cpu", "this study runs on the CPU", ""),
    ],
)
def test_a_meter_asked_for_by_name_that_is_not_there_is_a_problem(bare, study, measure, device, reason, mend):
    section = replace(study(execution__measure=measure).execution, device=device)
    (problem,) = problems_of(section)
    assert problem.where == "execution.measure"
    assert reason in problem.what
    assert mend in problem.hint
    assert "estimate" in problem.allowed


def test_a_search_with_such_a_meter_writes_nothing_and_says_what_to_install(bare, study, fake, tmp_path):
    with pytest.raises(InputError) as caught:
        run_study(study(execution__measure="codecarbon"), tmp_path / "s", executor=fake)
    assert INSTALL in str(caught.value)
    assert not (tmp_path / "s").exists()
    assert fake.started == []


def test_doctor_surveys_the_meters_and_prints_what_to_install_in_full(bare, capsys):
    found = {finding.name: finding for finding in survey()}
    assert {name for name, finding in found.items() if finding.usable} == {"estimate"}
    assert found["estimate"].detail.startswith("estimated: ")
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert f"meter codecarbon: {INSTALL}" in capsys.readouterr().out


# --- records of attempts ---


class Counted:
    """A meter that counts its samples, 1 J each."""

    interval_s = 0.01
    name, missing = "counted", ()

    def __init__(self):
        self.samples = 0

    def sample(self):
        self.samples += 1

    def reading(self):
        joules = float(self.samples)
        return Reading(joules, joules, joules, joules, "measured", "counted", "samples", joules)

    def stop(self):
        self.sample()
        return self.reading()


def test_a_recorder_samples_by_itself_and_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(metering, "KEEP_S", 0.05)
    said = []
    recorder = Recorder(Counted(), lambda reading, ended: said.append((reading.energy_j, ended)))
    deadline = time.monotonic() + 20
    while len(said) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    last = recorder.stop()
    joules = [energy for energy, _ in said]
    assert joules == sorted(joules)
    assert joules[0] == 0
    assert said[-1] == (last.energy_j, True)
    assert not any(ended for _, ended in said[:-1])


def prepared(study, folder, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    request = request_of(study(**changes), "trial", 3, {"text.layers": 3})
    request.write(folder)
    return request


def test_an_attempt_that_raises_is_recorded_like_any_other(study, tmp_path):
    request = prepared(study, tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError), metered(request, tmp_path):
            raise RuntimeError("burnt")
    found = attempts(tmp_path)
    assert len({record.attempt for record in found}) == 2
    assert all(record.ended and (record.job, record.subject) == ("trial", 3) for record in found)


def test_records_of_other_requests_and_broken_ones_do_not_count(study, tmp_path):
    with metered(prepared(study, tmp_path), tmp_path):
        pass
    (tmp_path / energy_file("broken")).write_text('{"attempt": ')
    (tmp_path / energy_file("list")).write_text("[]")
    assert len(attempts(tmp_path)) == 1
    prepared(study, tmp_path, search__seed=5)
    assert attempts(tmp_path) == ()
    prepared(study, tmp_path, execution__measure="off")  # what was spent is spent, however it goes on
    assert len(attempts(tmp_path)) == 1


def test_off_records_nothing(study, fake, tmp_path):
    heard = []
    config = study(execution__measure="off", search__trials=2)
    results = run_study(config, tmp_path / "s", executor=fake, listen=heard.append)
    assert results.energy == ()
    assert not list((tmp_path / "s").rglob("energy-*"))
    assert [event.method for event in heard if isinstance(event, events.MeterChosen)] == ["off"]


def stored(folder):
    """(job, subject, ended) of what is in the database itself."""
    with sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT job, subject, ended FROM energy").fetchall()
    connection.close()
    return sorted((job, subject, bool(ended)) for job, subject, ended in rows)


def test_every_job_is_recorded_with_its_result(study, fake, tmp_path):
    results = run_study(study(search__trials=3), tmp_path / "s", executor=fake)
    tested = sorted(e.subject for e in results.evaluations if e.pool == "test" and e.subject is not None)
    expected = [("base", -1), ("search", -1), ("test", -1), *(("test", number) for number in tested)]
    expected += [("trial", number) for number in range(3)]
    assert stored(tmp_path / "s") == sorted((job, subject, True) for job, subject in expected)
    assert load_study(tmp_path / "s").energy == results.energy
    assert uncommitted(results.directory, results.energy) == ()


def test_the_ledger_adds_up(study, fake, tmp_path):
    results = run_study(study(search__trials=3), tmp_path / "s", executor=fake)
    own = summarise(results).own
    files = [json.loads(path.read_text()) for path in (tmp_path / "s").rglob("energy-*.json")]
    (loop,) = [record for record in results.energy if record.job == "search"]
    for key in ("energy_j", "low_j", "high_j"):
        whole = sum(record[key] for record in files) + getattr(loop, key)
        assert getattr(own, key) == pytest.approx(whole)
    assert own.energy_j == pytest.approx(sum(own.by_job.values()))
    assert min(own.by_job.values()) > 0
    assert (own.trials, own.cut_off, own.unknown) == (3, 0, 0)


def test_failed_and_killed_attempts_count(study, fake, tmp_path, monkeypatch):
    monkeypatch.setitem(fake.environment, "FAKE_CRASH", "1")
    monkeypatch.setitem(fake.environment, "FAKE_REPORT", "2")
    monkeypatch.setitem(fake.environment, "FAKE_DIE_ONCE", "3")
    results = run_study(study(search__trials=4), tmp_path / "s", executor=fake)
    assert [trial.status for trial in results.trials] == ["complete", "failed", "failed", "complete"]
    ended = {number: [] for number in range(4)}
    for record in results.energy:
        if record.job == "trial":
            ended[record.subject].append(record.ended)
    assert {number: sorted(values) for number, values in ended.items()} == {
        0: [True],
        1: [True],
        2: [True],
        3: [False, True],  # the first attempt was killed, up to its last words
    }
    tested = 3 in {member.trial.number for member in results.front}  # the worker of its final test dies once, too
    assert summarise(results).own.cut_off == 1 + tested


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_records_survive_a_kill_and_the_resumed_study_adds_to_them(study, fake, tmp_path):
    config, folder = study(search__trials=3, execution__workers=1), tmp_path / "s"
    path = tmp_path / "study.toml"
    path.write_text(config.to_toml())
    process = subprocess.Popen(
        [sys.executable, str(DRIVE), str(path), str(folder)],
        env={**os.environ, "FAKE_HANG": "1"},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (folder / "trials" / "0001" / "pid").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    committed = stored(folder)
    assert ("trial", 0, True) in committed
    assert ("search", -1, False) in committed
    assert not [row for row in committed if row[:2] == ("trial", 1)]
    before = load_study(folder)
    (cut,) = [record for record in before.energy if record.subject == 1]
    assert not cut.ended

    after = run_study(config, folder, executor=fake)
    kept = {record.attempt: record for record in after.energy}
    assert all(kept[record.attempt] == record for record in before.energy)
    assert len([record for record in after.energy if record.job == "search"]) == 2
    assert sorted(r.ended for r in after.energy if (r.job, r.subject) == ("trial", 1)) == [False, True]
    assert stored(folder).count(("trial", 1, False)) == 1  # committed with the trial, not only in its file
    assert summarise(after).own.energy_j > summarise(before).own.energy_j
    assert summarise(after).own.cut_off == 2


def test_the_loops_own_record_replaces_itself_and_ends(study):
    with EnergyLedger(study().execution) as ledger:
        (first,) = ledger.records()
        (last,) = ledger.records(ended=True)
    assert first.attempt == last.attempt
    assert (first.job, first.subject, first.ended, last.ended) == ("search", None, False, True)
    assert last.energy_j >= first.energy_j


def test_a_meter_that_is_gone_when_a_worker_starts_becomes_an_estimate_that_says_so(bare, study, tmp_path):
    request = prepared(study, tmp_path, execution__measure="codecarbon")
    with metered(request, tmp_path):
        pass
    (record,) = attempts(tmp_path)
    assert (record.quality, record.method) == ("estimated", "estimate")
    assert record.detail.startswith("codecarbon was asked for but cannot be used here (codecarbon is not installed)")


# --- studies from before there were meters ---


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_an_old_study_is_reported_from_its_processor_time_and_not_changed(old, capsys):
    before = (old / "study.db").read_bytes()
    results = load_study(old)
    own = summarise(results).own
    parts = [*results.trials, *results.evaluations]
    spent = sum(part.metrics["cpu_seconds"] for part in parts)
    assert own.energy_j == pytest.approx(processor_energy(spent).typical)
    assert (own.quality, own.methods, own.unknown) == ("estimated", ("processor time",), 0)
    with pytest.raises(SystemExit) as ended:
        main(["status", str(old), "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["own_footprint"]["energy_j"] == pytest.approx(own.energy_j)
    assert (old / "study.db").read_bytes() == before


def test_a_search_brings_an_old_study_up_unless_it_is_another_study(old, fake):
    config, problems = read(old / "study.toml")
    assert not problems
    before = (old / "study.db").read_bytes()
    other = replace(config, search=replace(config.search, seed=9))
    with pytest.raises(InputError, match=r"search\.seed"):
        run_study(other, old, executor=fake)
    assert (old / "study.db").read_bytes() == before
    known = load_study(old)
    more = replace(config, search=replace(config.search, trials=4))
    results = run_study(more, old, executor=fake)
    assert results.trials[:3] == known.trials
    assert {(record.job, record.subject) for record in results.energy} >= {("trial", 3), ("search", None)}
    assert "processor time" in summarise(results).own.methods
