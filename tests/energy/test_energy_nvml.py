"""NVML counters and power of made-up GPUs."""

from pathlib import Path

import pytest

from catransformers.energy.nvml import NvmlMeter
from catransformers.energy.reading import MeterUnavailableError

OLD = Path(__file__).parents[1] / "study" / "data" / "schema-1"
DRIVE = Path(__file__).with_name("drive.py")
INSTALL = 'pip install "catransformers[measure]"'


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
