"""Technologies: the built-in ones, users' files, and memories and areas that follow from them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.facts import facts
from catransformers.hardware.accelerator import Accelerator, AcceleratorTable
from catransformers.hardware.area import die_area, local_bytes
from catransformers.hardware.power import power_table
from catransformers.hardware.spaces import space
from catransformers.hardware.sram import sram
from catransformers.hardware.technology import DRAM_NAMES, technology

DEFAULT, PAPER = technology("default-22nm"), technology("paper")
KIB, MIB = 1024, 1024 * 1024


def test_the_default_is_sourced_and_in_si():
    assert DEFAULT.frequency_hz == 5e8
    assert DEFAULT.voltage_v == 0.8
    assert DEFAULT.mac_multiply_j + DEFAULT.mac_add_j == pytest.approx(0.072e-12, rel=0.01)
    assert DEFAULT.dram.bandwidth == 12.8e9
    assert DEFAULT.dram.energy_j_per_byte == pytest.approx(64e-12)
    assert DEFAULT.register_bits == 24 + 4 * 32
    assert all(len(source) > 10 for source in DEFAULT.sources.values())


def test_derived_facts_follow_from_their_bases():
    f = {name: fact.value for name, fact in facts("components").items()}
    shrink = f["energy_scale_45nm_to_22nm"]
    assert f["mac_multiply_energy_22nm"] == pytest.approx(f["int8_multiply_energy_45nm"] * shrink, rel=1e-4)
    assert f["mac_add_energy_22nm"] == pytest.approx(f["int32_add_energy_45nm"] * shrink, rel=1e-4)
    assert f["energy_scale_40nm_to_22nm"] == pytest.approx(
        (22 / 40) ** (math.log(shrink) / math.log(22 / 45)), rel=1e-4
    )
    area = f["area_scale_40nm_to_22nm"]
    mac = (f["int32_multiplier_area_40nm"] / 16 + f["int32_adder_area_40nm"]) * area
    assert f["mac_area_22nm"] == pytest.approx(mac, rel=1e-4)
    leak = (f["int32_multiplier_leakage_40nm"] / 16 + f["int32_adder_leakage_40nm"]) * 22 / 40
    assert f["logic_leakage_22nm"] == pytest.approx(leak / mac, rel=1e-4)
    bits = f["register_bit_energy_40nm"] * f["energy_scale_40nm_to_22nm"]
    lane = (f["int32_multiply_energy_45nm"] / 4 + f["int32_add_energy_45nm"]) * shrink + 64 * bits
    assert f["register_energy_22nm"] == pytest.approx(bits, rel=1e-4)
    assert f["vector_operation_energy_22nm"] == pytest.approx(lane, rel=1e-4)
    # Scaling between nodes is monotone: the smaller the step, the less it saves.
    assert shrink < f["energy_scale_40nm_to_22nm"] < 1


def test_energies_follow_the_widths_of_values():
    assert DEFAULT.mac_j(4, 8) < DEFAULT.mac_j(8, 8) < DEFAULT.mac_j(8, 16)
    assert DEFAULT.mac_j(4, 4) > DEFAULT.mac_add_j
    assert DEFAULT.register_j(8, 8) == pytest.approx(48 * DEFAULT.register_j_per_bit)


@pytest.mark.parametrize("name", DRAM_NAMES)
def test_another_dram_is_another_technology(name):
    other = DEFAULT.with_dram(name)
    assert other.dram.name == name
    assert other.dram.bandwidth > 0
    assert other.mac_multiply_j == DEFAULT.mac_multiply_j


def test_a_users_file_may_build_on_a_named_technology(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "default-22nm"\nname = "mine"\nfrequency_mhz = 250\n[energy]\nmac_add_pj = 0.5\n')
    mine = technology(str(path))
    assert (mine.name, mine.frequency_hz, mine.mac_add_j) == ("mine", 2.5e8, 0.5e-12)
    assert mine.mac_multiply_j == DEFAULT.mac_multiply_j
    assert mine.sources["mac_add_pj"] == "given in the technology file"


def test_a_bad_file_tells_all_mistakes_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(
        'base = "default-22nm"\nname = ""\nfrequency_mhz = nan\nvoltage = 1.0\narray = "sistolic"\naccumulators = 3\n'
        '[energy]\nmac_add_pj = -1\nmac_multiply_pj = "mac_energy"\n[area]\nmac_um2 = inf\n[memory]\ndram = "lpddr44"\n'
        "[leakage]\nlogic_uw_per_um2 = true\n"
    )
    with pytest.raises(InputError) as caught:
        technology(str(path))
    text = str(caught.value)
    for part in (
        "name: missing",
        "frequency_mhz: nan",
        "voltage: unknown key (did you mean 'voltage_v'?)",
        "did you mean 'systolic'",
        "accumulators: 3",
        "mac_add_pj: -1",
        "unknown fact 'mac_energy'",
        "mac_um2: inf",
        "did you mean 'lpddr4'",
        "logic_uw_per_um2: True",
    ):
        assert part in text
    assert len(caught.value.problems) == 10


def test_a_file_without_base_must_be_complete(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text('name = "short"\nenergy = 3\n')
    with pytest.raises(InputError) as caught:
        technology(str(path))
    assert "energy: is not a table" in str(caught.value)
    assert "memory.dram: missing" in str(caught.value)


@pytest.mark.parametrize(("name", "hint"), [("default-22", "default-22nm"), ("/no/such.toml", "cannot be read")])
def test_unknown_technologies_are_refused(name, hint):
    with pytest.raises(InputError, match=hint):
        technology(name)


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("name = ")
    with pytest.raises(InputError, match="not TOML"):
        technology(str(path))


def test_paper_areas_are_the_published_tools():
    known = {
        (1, 256, 8, 64, 2): 4.1886,
        (2, 256, 16, 256, 4): 11.308,
        (1, 32, 32, 64, 2): 3.714,
        (1, 64, 64, 256, 4): 8.685,
        (1, 32, 2, 64, 2): 3.34919,
    }
    table = AcceleratorTable.of(Accelerator(c, x, y, kib, 128, mib) for c, x, y, kib, mib in known)
    assert die_area(table, PAPER).total * 1e6 == pytest.approx(list(known.values()), rel=1e-3)


def test_paper_raises_small_local_buffers():
    asked = [(256, 16, 64, 128), (256, 32, 64, 256), (256, 64, 64, 256), (256, 64, 512, 512), (32, 32, 64, 64)]
    table = AcceleratorTable.of(Accelerator(1, x, y, kib, 128, 2) for x, y, kib, _ in asked)
    assert list(local_bytes(table, PAPER) / KIB) == [built for *_, built in asked]
    assert list(local_bytes(table, DEFAULT) / KIB) == [kib for _, _, kib, _ in asked]


def test_default_areas_add_up_and_state_their_overhead():
    table = space("micro", frequency_hz=5e8)
    area = die_area(table, DEFAULT)
    parts = area.mac + area.local + area.vector + area.global_
    assert np.allclose(area.overhead, DEFAULT.area_overhead * parts)
    assert np.allclose(area.total, parts + area.overhead, rtol=1e-12)
    assert (power_table(table, DEFAULT).leakage_w > 0).all()


def test_low_standby_cells_are_used_where_the_clock_allows(tmp_path):
    assert sram(64 * KIB, 128, "local", DEFAULT).device == "itrs-lstp"
    path = tmp_path / "fast.toml"
    path.write_text('base = "default-22nm"\nname = "fast"\nfrequency_mhz = 4000\n')
    fast = sram(64 * KIB, 128, "local", technology(str(path)))
    assert fast.device != "itrs-lstp"
    assert fast.leakage_w > 50 * sram(64 * KIB, 128, "local", DEFAULT).leakage_w
    path.write_text('base = "default-22nm"\nname = "faster"\nfrequency_mhz = 50000\n')
    with pytest.raises(InputError, match="faster than any SRAM"):
        sram(64 * KIB, 128, "local", technology(str(path)))


def test_sram_meets_the_table_at_its_sizes():
    # One slice of 64 bits and 64 KiB, CACTI 7: 5.64288 pJ a read, 0.0318077 + 0.00877424 mW, 0.0585923 mm².
    found = sram(64 * KIB, 8, "local", DEFAULT)
    assert (found.slices, found.depth, found.word_bits) == (1, 1, 64)
    wire = DEFAULT.wire_j_per_bit_m * 8 * math.sqrt(0.058592287402999994e-6) / 2
    assert found.read_j_per_byte == pytest.approx(5.64288e-12 / 8 + wire, rel=1e-6)
    assert found.leakage_w == pytest.approx(4.058194e-5, rel=1e-6)
    assert found.area_m2 == pytest.approx(0.0585922874e-6, rel=1e-6)


@given(st.floats(1, 4096), st.integers(1, 256))
@settings(max_examples=60, deadline=None)
def test_sram_of_any_size_lies_between_its_neighbours(kib, words):
    found = sram(kib * KIB, words, "local", DEFAULT)
    assert found.slices * found.word_bits >= 8 * words
    density = found.area_m2 / (8 * kib * KIB)
    assert density >= 0.07e-12  # not denser than a 22 nm cell
    assert 0 < found.read_j_per_byte < 10e-12
    assert found.leakage_w > 0


@pytest.mark.parametrize("words", [4, 32, 256])
def test_bigger_buffers_cost_more_area_and_leakage(words):
    sizes = [2**e * KIB for e in range(4, 14)]
    built = [sram(s, words, "global", DEFAULT) for s in sizes]
    for small, large in itertools.pairwise(built):
        assert large.area_m2 > small.area_m2
        assert large.leakage_w > small.leakage_w


def test_every_member_of_every_space_can_be_built():
    for name in ("micro", "edge", "edge-full"):
        table = space(name, frequency_hz=5e8)
        assert np.isfinite(die_area(table, DEFAULT).total).all()
        assert (die_area(table, PAPER).total > 0).all()


def test_the_papers_sram_interpolates_and_extends():
    sizes = [64 * KIB, 100 * KIB, 128 * KIB]
    areas = [sram(s, 128, "local", PAPER).area_m2 for s in sizes]
    assert areas[0] < areas[1] < areas[2]
    assert sram(1 * MIB, 512, "global", PAPER).area_m2 == pytest.approx(3100860e-12**2 / 6207510e-12, rel=1e-6)
