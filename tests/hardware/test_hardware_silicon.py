"""The default technology beside published chips of 12 to 28 nm: it must not be better than all, nor worse than all."""

import pytest

from catransformers.facts import rows
from catransformers.hardware.accelerator import Accelerator, AcceleratorTable
from catransformers.hardware.area import die_area
from catransformers.hardware.cost import map_gemm
from catransformers.hardware.technology import technology

TECH = technology("default-22nm")
CHIPS = [row for row in rows("published_chips") if 12 <= float(row["node_nm"]) <= 28]
MACHINES = [
    Accelerator(1, 256, 8, 64, 128, 2),
    Accelerator(1, 128, 32, 128, 128, 2),
    Accelerator(4, 64, 64, 128, 256, 4),
    Accelerator(4, 32, 32, 64, 128, 1),
    Accelerator(2, 64, 16, 256, 128, 8),
]


def bounds(column):
    values = [float(chip[column]) for chip in CHIPS if chip[column]]
    return min(values), max(values)


def test_every_chip_has_a_source_and_says_how_it_was_verified():
    assert len(CHIPS) >= 5
    for chip in CHIPS:
        assert len(chip["source"]) > 8
        assert chip["conditions"]
        assert chip["verification"]


@pytest.mark.parametrize("machine", MACHINES, ids=str)
@pytest.mark.parametrize(("m", "k", "n"), [(1024, 1024, 1024), (197, 768, 3072)])
def test_dense_products_are_as_efficient_as_chips_are(machine, m, k, n):
    found = map_gemm(m, k, n, machine, TECH)
    operations = 2 * m * k * n
    low, high = bounds("tops_per_w")
    assert low <= operations / found.energy_j / 1e12 <= high


@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_silicon_is_as_dense_as_chips_are(machine):
    """Peak throughput by area never beats the densest chip; an array that dominates its die beats the least dense."""
    area = die_area(AcceleratorTable.of([machine]), TECH)
    density = machine.peak_tops(TECH.frequency_hz) / float(area.total[0] * 1e6)
    low, high = bounds("tops_per_mm2")
    assert density <= high
    if area.mac[0] > area.total[0] / 3:
        assert density >= low
