"""Supply voltage, clock power, leakage, and what a chip takes while it waits."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.designs.estimate import estimate
from catransformers.designs.table import evaluate
from catransformers.errors import InputError
from catransformers.facts import facts
from catransformers.hardware.accelerator import Accelerator, AcceleratorTable
from catransformers.hardware.cost import estimate_workload
from catransformers.hardware.power import energy_with_idle_j, power_table
from catransformers.hardware.spaces import space
from catransformers.hardware.technology import technology
from catransformers.hardware.voltage import relative_clock
from catransformers.workloads import families
from catransformers.workloads.zoo import named_spec

TECH = technology("default-22nm")
MACHINE = Accelerator(1, 16, 8, 4, 32, 1)
WORK = families.workload(named_spec("embedded"))
supplies = st.floats(TECH.voltage_low_v, TECH.voltage_high_v)


def at(voltage):
    return replace(MACHINE, voltage_v=voltage)


def test_the_nominal_supply_gives_the_nominal_clock():
    assert float(TECH.frequency_at(math.nan)) == TECH.frequency_hz
    assert float(TECH.frequency_at(TECH.voltage_v)) == pytest.approx(TECH.frequency_hz, rel=1e-12)
    nominal, stated = (estimate_workload(WORK, at(v), TECH) for v in (None, TECH.voltage_v))
    assert nominal.energy_j == pytest.approx(stated.energy_j, rel=1e-12)


def test_the_alpha_power_law():
    """By hand: (0.6 − 0.4)^1.3/0.6 against (0.8 − 0.4)^1.3/0.8."""
    expected = (0.2**1.3 / 0.6) / (0.4**1.3 / 0.8)
    assert float(relative_clock(0.6, 0.8, 0.4, 1.3)) == pytest.approx(expected, rel=1e-12)


@given(supplies, supplies)
def test_a_higher_supply_is_faster(a, b):
    low, high = sorted((a, b))
    assert float(TECH.frequency_at(low)) <= float(TECH.frequency_at(high))


@given(supplies)
@settings(max_examples=50, deadline=None)
def test_dynamic_energy_follows_the_square_of_the_supply(voltage):
    nominal, scaled = (estimate_workload(WORK, at(v), TECH, "latency") for v in (None, voltage))
    ratio = (voltage / TECH.voltage_v) ** 2
    for old, new in zip(nominal.rows, scaled.rows, strict=True):
        assert new.cycles == pytest.approx(old.cycles, rel=1e-9)  # no DRAM here: cycles do not know the clock
        for part in ("mac", "register", "vector", "clock"):
            assert new.energy_split_j[part] == pytest.approx(old.energy_split_j[part] * ratio, rel=1e-9)
        assert new.latency_s * float(TECH.frequency_at(voltage)) == pytest.approx(new.cycles, rel=1e-9)


def test_a_dram_keeps_its_bandwidth_at_any_supply():
    work = families.workload(named_spec("ViT-B-16"))
    slow, fast = (estimate_workload(work, at(v), TECH) for v in (0.6, 0.9))
    assert not slow.resident
    seconds = [
        sum(r.busy_cycles["dram"] for r in cost.rows) / cost.frequency_hz for cost in (slow, fast)
    ]  # fmt: skip
    assert seconds[0] == pytest.approx(seconds[1], rel=1e-9)


def test_supplies_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"0\.3.*0\.6 to 0\.95 V"):
        estimate_workload(WORK, at(0.3), TECH)
    with pytest.raises(InputError, match="does not work at it"):
        space("micro", frequency_hz=TECH.frequency_at, overrides={"voltage_v": [0.7, 1.2]})
    with pytest.raises(InputError, match="voltage_v"):
        Accelerator.parse("cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1,voltage_v=nan")


def test_operating_points_are_members_of_a_space():
    table = space(
        "micro", frequency_hz=TECH.frequency_at, overrides={"voltage_v": [0.6, 0.8], "cores": [1]}, max_tops=0.2
    )
    assert set(table.voltage_v) == {0.6, 0.8}
    tops = table.peak_tops(TECH.frequency_at(table.voltage_v))
    assert tops.max() <= 0.2
    slow = table.select(table.voltage_v == 0.6).pes.max()
    assert slow > table.select(table.voltage_v == 0.8).pes.max()  # a slower clock lets a larger array in


def test_idle_elements_are_clocked():
    """Twice the array does the same work with the same products, but clocks more elements in each cycle."""
    small, large = (
        estimate_workload(WORK, replace(MACHINE, pe_x=x), TECH) for x in (16, 64)
    )  # fmt: skip
    clock = [sum(r.energy_split_j["clock"] for r in cost.rows) for cost in (small, large)]
    macs = [sum(r.energy_split_j["mac"] for r in cost.rows) for cost in (small, large)]
    assert macs[0] == pytest.approx(macs[1], rel=1e-12)
    assert clock[1] > clock[0]


def test_what_is_drawn_while_waiting():
    power = power_table(AcceleratorTable.of([MACHINE]), TECH)
    assert 0 < power.idle_resident_w[0] < 0.1 * power.leakage_w[0]
    assert power.idle_streamed_w[0] > TECH.dram.self_refresh_w
    assert power.idle_w([True])[0] == power.idle_resident_w[0]
    bigger = power_table(AcceleratorTable.of([replace(MACHINE, global_mib=2)]), TECH)
    assert bigger.idle_resident_w[0] > 1.5 * power.idle_resident_w[0]  # it is the buffer that is kept alive


def test_idle_shares_follow_from_their_bases():
    f = {name: fact.value for name, fact in facts("components").items()}

    def warm(kind):
        cold, hot = f[f"{kind}_leakage_27c_22nm"], f[f"{kind}_leakage_80c_22nm"]
        return cold / (cold * (hot / cold) ** ((77 - 27) / (80 - 27)))

    assert f["idle_retained_leakage_22nm"] == pytest.approx(warm("lstp"), rel=1e-4)
    assert f["idle_gated_leakage_22nm"] == pytest.approx(0.1 * warm("lop"), rel=1e-4)
    cell = f["tpu_v1_mac_cell_area_28nm"] * f["area_scale_28nm_to_22nm"]
    assert f["logic_density_22nm"] == pytest.approx(
        (f["mac_area_22nm"] + 152 * f["register_area_22nm"]) / cell, rel=1e-4
    )


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(1e-3, 2))
def test_the_wait_is_never_negative(energy, latency, idle, period):
    found = float(energy_with_idle_j(energy, latency, idle, period))
    assert found >= energy
    assert found == pytest.approx(max(energy, energy - idle * latency + idle * period), rel=1e-12, abs=1e-12)


def test_a_footprint_counts_the_wait():
    often = estimate("embedded", MACHINE, scenario={"base": "always-on", "inferences_per_second": 30})
    rarely = estimate("embedded", MACHINE, scenario={"base": "always-on", "inferences_per_second": 0.3})
    assert often.energy_j == rarely.energy_j
    wait = 1 / 0.3 - rarely.latency_s
    assert rarely.life_energy_j == pytest.approx(rarely.energy_j + wait * rarely.cost.idle_w, rel=1e-12)
    assert rarely.life_energy_j > 10 * rarely.energy_j  # one that mostly waits mostly pays for waiting
    busy = estimate("ViT-B-16", MACHINE, scenario={"base": "default", "inferences_per_second": 1e6})
    assert busy.life_energy_j == busy.energy_j
    assert np.isfinite(busy.total_kg)


def test_a_large_model_gets_a_dram_that_holds_it():
    small, large = (estimate(name, MACHINE) for name in ("ViT-B-16", "Llama-3.1-8B"))
    assert small.scenario.dram_gb == 1
    assert large.scenario.dram_gb == 16
    assert float(large.footprint.dram_kg) == pytest.approx(16 * float(small.footprint.dram_kg), rel=1e-9)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(4, 8), (8, 4), (2, 2)])
def test_narrower_values_cost_less(weight_bits, activation_bits):
    whole = estimate("ViT-B-16", MACHINE)
    narrow = estimate("ViT-B-16", MACHINE, weight_bits=weight_bits, activation_bits=activation_bits)
    assert narrow.energy_j < whole.energy_j
    assert narrow.energy_j * narrow.latency_s < whole.energy_j * whole.latency_s
    assert narrow.to_dict()["weight_bits"] == weight_bits
    with pytest.raises(InputError, match="weight_bits"):
        estimate("ViT-B-16", MACHINE, weight_bits=1)


@pytest.mark.parametrize(("name", "bits"), [("bert-base", 8), ("bert-base", 4), ("vit-base-patch16-224", 16)])
def test_one_design_and_a_table_of_designs_agree(name, bits, tmp_path):
    """Norms and tables of one shape may store different numbers of values, and each counts its own."""
    machine = Accelerator(1, 32, 32, 64, 64, 2)
    one = estimate(name, machine, weight_bits=bits)
    for work in (one.workload.with_bits(8, 8), one.workload):  # another precision in the same cache first
        table = evaluate(work, AcceleratorTable.of([machine]), TECH, one.scenario, cache_dir=str(tmp_path))
    assert table.latency_s[0] == pytest.approx(one.latency_s, rel=1e-12)
    assert table.energy_j[0] == pytest.approx(one.energy_j, rel=1e-12)


def test_a_decode_reads_its_cache_from_dram():
    """Llama-2-7B: keys and values of 4,000 tokens in each of 32 layers, 4,096 bytes each, read again for each token."""
    steps, prompt = 4, 4000
    short, long = (
        estimate("Llama-2-7B", Accelerator(4, 32, 32, 64, 256, 8), dimensions={"prompt_tokens": p, "new_tokens": steps})
        for p in (4, prompt)
    )

    def attention(found):
        rows = [r for r in found.cost.rows if r.component == "decode" and r.name in ("scores", "context")]
        return sum(r.bytes_moved["dram"] for r in rows)

    cache = 2 * 32 * 4096
    assert attention(long) - attention(short) == pytest.approx(steps * (prompt - 4) * cache, rel=1e-6)
