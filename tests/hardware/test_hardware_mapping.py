"""The mapping search: walks of the loops that share no code with it, laws, and its parts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.hardware import Accelerator, AcceleratorTable, map_gemm, systolic_cycles, technology
from catransformers.hardware.area import memories
from catransformers.hardware.front import undominated
from catransformers.hardware.power import power_table
from catransformers.hardware.tiling import axis, best_tiles, folds, longest_third, tile_sizes

DEFAULT, PAPER = technology("default-22nm"), technology("paper")

powers = st.sampled_from([1, 2, 4, 8, 16, 32])
machines = st.builds(
    Accelerator,
    cores=st.sampled_from([1, 2, 4]),
    pe_x=powers,
    pe_y=powers,
    local_kib=st.sampled_from([0.25, 0.5, 1, 2, 8, 64]),
    local_bandwidth=st.sampled_from([1, 4, 16, 64, 256]),
    global_mib=st.sampled_from([1 / 16, 1 / 4, 2]),
)
sizes = st.integers(1, 200)


def parts(size, tile):
    """Sizes of the tiles of a dimension, the last as small as it is."""
    return [min(tile, size - start) for start in range(0, size, tile)]


# --- Traffic, by walking the loops ----------------------------------------------------------------------------------


@given(sizes, sizes, sizes, machines.filter(lambda a: a.cores == 1))
@settings(max_examples=200, deadline=None)
def test_a_walk_of_the_loops_moves_what_the_mapping_says(m, k, n, accelerator):
    found = map_gemm(m, k, n, accelerator, DEFAULT, "energy")
    size, tile = {"m": m, "k": k, "n": n}, dict(zip("mkn", found.tile, strict=True))
    counts = {d: len(parts(size[d], tile[d])) for d in "mkn"}
    if math.prod(counts.values()) > 3_000:
        return  # too long a walk
    cut = counts["k"] > 1
    best = math.inf
    for order in itertools.permutations("mkn"):
        if order[-1] != found.innermost and (cut or found.flow.endswith("held")):
            continue
        moved, held = 0, {"A": None, "B": None}
        for index in itertools.product(*(range(counts[d]) for d in order)):
            at = dict(zip(order, index, strict=True))
            for tensor, (i, j) in {"A": ("m", "k"), "B": ("k", "n")}.items():
                if held[tensor] != (at[i], at[j]):
                    held[tensor] = at[i], at[j]
                    moved += min(tile[i], size[i] - at[i] * tile[i]) * min(tile[j], size[j] - at[j] * tile[j])
        best = min(best, moved)
    # Partial sums that leave the buffer come back each time but the first.
    back = (counts["k"] - 1) * m * n * DEFAULT.partial_sum_bytes if cut and found.innermost != "k" else 0
    assert found.accesses["spill_bytes"] == back
    assert found.accesses["refill_bytes"] == best + back


# --- Laws -----------------------------------------------------------------------------------------------------------


@given(sizes, sizes, sizes, st.integers(1, 8), machines, st.sampled_from(["edp", "latency", "energy"]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_mapping_beats_its_rooflines(m, k, n, parallel, accelerator, objective, resident):
    found = map_gemm(m, k, n, accelerator, DEFAULT, objective, parallel=parallel, resident=resident)
    macs = parallel * m * k * n
    assert found.cycles * accelerator.pes >= macs
    assert 0 < found.utilization <= 1
    compulsory = parallel * (m * k + k * n + m * n)
    if accelerator.cores == 1:
        assert found.cycles >= (compulsory + found.accesses["operand_bytes"]) / accelerator.local_bandwidth
    assert found.cycles >= compulsory / DEFAULT.global_bandwidth
    assert found.accesses["refill_bytes"] >= parallel * (m * k + k * n)
    assert found.accesses["dram_bytes"] >= (0 if resident else parallel * k * n)
    memory = memories(AcceleratorTable.of([accelerator]), DEFAULT)
    floor = macs * (DEFAULT.mac_j() + DEFAULT.register_j())
    floor += parallel * ((m * k + k * n) * memory.global_read_j[0] + m * n * memory.global_write_j[0])
    floor += found.accesses["dram_bytes"] * DEFAULT.dram.energy_j_per_byte
    power = power_table(AcceleratorTable.of([accelerator]), DEFAULT)
    floor += found.latency_s * power.leakage_w[0] + found.cycles * power.clock_j[0]
    assert found.energy_j >= floor * (1 - 1e-12)
    assert sum(found.energy_split_j.values()) == pytest.approx(found.energy_j, rel=1e-9)


@given(
    sizes,
    sizes,
    sizes,
    st.integers(1, 4),
    machines,
    st.sampled_from(["pe_x", "pe_y", "local_kib", "local_bandwidth", "global_mib"]),
    st.sampled_from([DEFAULT, PAPER]),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_more_of_anything_never_makes_the_best_latency_worse(m, k, n, p, accelerator, attribute, tech, resident):
    values = accelerator.to_dict()
    more = Accelerator(**values | {attribute: 2 * values[attribute]})
    before = map_gemm(m, k, n, accelerator, tech, "latency", parallel=p, resident=resident)
    after = map_gemm(m, k, n, more, tech, "latency", parallel=p, resident=resident)
    assert after.cycles <= before.cycles * (1 + 1e-12)


@given(st.integers(1, 6), st.integers(1, 200), st.integers(1, 6), st.sampled_from([4, 8, 16]))
@settings(max_examples=60, deadline=None)
def test_full_folds_cost_the_closed_form(rows, k, columns, side):
    # With one value a register and a divided array, the output-stationary form is what the array's cycles are.
    import dataclasses

    tech = dataclasses.replace(DEFAULT, accumulators=1)
    m, n = rows * side, columns * side
    ample = Accelerator(1, side, side, 4096, 2048, 8)
    found = map_gemm(m, k, n, ample, tech, "latency")
    forms = [systolic_cycles(m, k, n, side, side, flow) for flow in ("os", "ws", "is")]
    padded = k % side != 0
    if not padded:
        assert found.cycles >= min(forms)
    assert found.cycles <= min(forms) + 6 or found.bound != "compute"


def test_narrow_values_cost_less():
    machine = Accelerator(1, 16, 16, 8, 32, 1)
    wide = map_gemm(64, 64, 64, machine, DEFAULT)
    narrow = map_gemm(64, 64, 64, machine, DEFAULT, weight_bits=4)
    assert narrow.energy_j < wide.energy_j
    least = map_gemm(64, 64, 64, machine, DEFAULT, weight_bits=2, activation_bits=2)
    assert least.energy_j < narrow.energy_j
    assert least.accesses["refill_bytes"] < wide.accesses["refill_bytes"]


def test_a_bad_product_tells_all_mistakes_at_once():
    with pytest.raises(InputError) as caught:
        map_gemm(0, 1, -2, Accelerator(1, 4, 4, 1, 4, 1), DEFAULT, "speed")
    assert len(caught.value.problems) == 3


# --- Pieces ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5000))
def test_tile_sizes_rise_to_the_whole(size):
    tiles = tile_sizes(size)
    assert (np.diff(tiles) > 0).all()
    assert tiles[0] == 1
    assert tiles[-1] == size


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 64))
def test_folds_pad_every_tile(size, tile, extent):
    tile = min(tile, size)
    assert folds(size, np.array([tile]), np.array([extent]))[0, 0] == sum(
        math.ceil(t / extent) for t in parts(size, tile)
    )


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 400))
def test_the_third_tile_is_the_longest_that_fits(d1, d2, d3, capacity):
    widths, cut = (1.0, 1.0, 1.0), (4.0, 1.0, 1.0)

    def need(t1, t2, t3):
        result = widths[0] if t3 == d3 else cut[0]
        double = [2 if t1 < d1 or t2 < d2 else 1, 2 if t1 < d1 or t3 < d3 else 1, 2 if t2 < d2 or t3 < d3 else 1]
        return double[0] * t1 * t2 * result + double[1] * t1 * t3 + double[2] * t2 * t3

    for t1, t2 in itertools.product({1, d1 // 2 + 1, d1}, {1, d2 // 2 + 1, d2}):
        fitting = [t3 for t3 in range(1, d3 + 1) if need(t1, t2, t3) <= capacity]
        found = longest_third((d1, d2, d3), np.array(t1), np.array(t2), widths, cut, np.array(float(capacity)))
        assert int(found) == max(fitting, default=0)


def test_tilings_that_are_kept_fit_and_differ():
    axes = axis(64, (4, 8), (1,)), axis(32, (4, 8), (1,))
    found = best_tiles(axes, 48, (1, 1, 1), (4, 1, 1), np.array([512.0, 4096.0]), held=False)
    rows = set(
        zip(*(column.tolist() for column in (found.buffer, found.first, found.second, found.third)), strict=True)
    )
    assert len(rows) == len(found.buffer)
    assert set(found.buffer.tolist()) == {0, 1}
    assert found.count.tolist() == [-(-48 // third) for third in found.third.tolist()]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), max_size=60))
def test_fronts_are_those_of_a_comparison_of_all_pairs(candidates):
    group = np.array([c[0] for c in candidates], dtype=np.int64)
    costs = np.array([c[1:] for c in candidates], dtype=np.float64).reshape(-1, 3).T
    kept = undominated(group, costs)
    best = {
        c
        for c in candidates
        if not any(
            o[0] == c[0] and o != c and all(x <= y for x, y in zip(o[1:], c[1:], strict=True)) for o in candidates
        )
    }
    assert sorted(candidates[i] for i in kept) == sorted(best)
    assert (np.diff(group[kept]) >= 0).all()
