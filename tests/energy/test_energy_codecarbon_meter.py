"""CodeCarbon as a meter, with a made-up tracker."""

from pathlib import Path

import pytest

from catransformers.energy.codecarbon_meter import CodecarbonMeter

OLD = Path(__file__).parents[1] / "study" / "data" / "schema-1"
DRIVE = Path(__file__).with_name("drive.py")
INSTALL = 'pip install "catransformers[measure]"'


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
