"""RAPL counters of processor packages on a made-up machine."""

from pathlib import Path

import pytest

from catransformers.energy import processor_time
from catransformers.energy.rapl import find_zones
from catransformers.energy.reading import MeterUnavailableError
from catransformers.facts import facts

OLD = Path(__file__).parents[1] / "study" / "data" / "schema-1"
DRIVE = Path(__file__).with_name("drive.py")
INSTALL = 'pip install "catransformers[measure]"'


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
