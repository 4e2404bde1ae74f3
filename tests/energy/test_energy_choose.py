"""Which meter is taken: the best there is, or the one that was asked for."""

import sys
from pathlib import Path

import pytest

from catransformers.cli import main
from catransformers.energy.choose import start_meter, survey

OLD = Path(__file__).parents[1] / "study" / "data" / "schema-1"
DRIVE = Path(__file__).with_name("drive.py")
INSTALL = 'pip install "catransformers[measure]"'


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


def test_doctor_surveys_the_meters_and_prints_what_to_install_in_full(bare, capsys):
    found = {finding.name: finding for finding in survey()}
    assert {name for name, finding in found.items() if finding.usable} == {"estimate"}
    assert found["estimate"].detail.startswith("estimated: ")
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert f"meter codecarbon: {INSTALL}" in capsys.readouterr().out
