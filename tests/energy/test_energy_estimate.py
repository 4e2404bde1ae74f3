"""The estimate where there is no meter: processor time and memory at stated powers."""

import time
from pathlib import Path

import pytest

from catransformers.energy import estimate
from catransformers.energy.estimate import GpuEstimate, ProcessorEstimate, processor_energy
from catransformers.energy.reading import Reading, total
from catransformers.facts import facts

OLD = Path(__file__).parents[1] / "study" / "data" / "schema-1"
DRIVE = Path(__file__).with_name("drive.py")
INSTALL = 'pip install "catransformers[measure]"'


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
