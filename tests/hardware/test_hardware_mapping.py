"""The mapping search against references that share no code with it: walks of the loops and dense enumerations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.hardware import Accelerator, AcceleratorTable, map_gemm, systolic_cycles, technology
from catransformers.hardware.area import leakage_w, local_bytes, memories
from catransformers.hardware.front import undominated
from catransformers.hardware.tiling import best_tiles, folds, longest_third, tile_sizes

DEFAULT, PAPER = technology("default-22nm"), technology("paper")
AXES = {"output": "mnk", "output-spilled": "mnk", "weight": "knm", "input": "kmn"}

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


# --- A dense enumeration, written for this test alone ---------------------------------------------------------------


def parts(size, tile):
    """Sizes of the tiles of a dimension, the last as small as it is."""
    return [min(tile, size - start) for start in range(0, size, tile)]


def passes(tiles, extent):
    return sum(math.ceil(t / extent) for t in tiles)


class Dense:
    """Every mapping of one product on one accelerator, weights on chip: all tiles, and all else that may be chosen."""

    def __init__(self, m, k, n, parallel, accelerator, tech):
        self.shape, self.parallel, self.machine, self.tech = {"m": m, "k": k, "n": n}, parallel, accelerator, tech
        table = AcceleratorTable.of([accelerator])
        memory = memories(table, tech)
        self.local_read, self.local_write = float(memory.local_read_j[0]), float(memory.local_write_j[0])
        self.global_read, self.global_write = float(memory.global_read_j[0]), float(memory.global_write_j[0])
        self.leakage = float(leakage_w(table, tech)[0])
        self.capacity = float(local_bytes(table, tech)[0])

    def splits(self):
        m, n, p, cores = self.shape["m"], self.shape["n"], self.parallel, self.machine.cores
        yield m, n, math.ceil(p / cores), p
        if cores > 1 and m > 1:
            piece = math.ceil(m / cores)
            yield piece, n, p, p * math.ceil(m / piece)
        if cores > 1 and n > 1:
            piece = math.ceil(n / cores)
            yield m, piece, p, p * math.ceil(n / piece)

    def fits(self, flow, size, tile):
        psum = self.tech.partial_sum_bytes
        cut_k = tile["k"] < size["k"]
        result = {"output": 1, "output-spilled": psum if cut_k else 1, "weight": psum, "input": psum}[flow]
        need = 0.0
        for first, second, width in (("m", "k", 1), ("k", "n", 1), ("m", "n", result)):
            exchanged = tile[first] < size[first] or tile[second] < size[second]
            need += tile[first] * tile[second] * width * (2 if exchanged else 1)
        return need <= self.capacity

    def core(self, flow, size, tile, extents, held):
        """Cycles and bytes of one product on one core, or None."""
        x, y, z = AXES[flow]
        tiles = {d: parts(size[d], tile[d]) for d in "mkn"}
        f1, f2 = passes(tiles[x], extents[0]), passes(tiles[y], extents[1])
        g1, g2 = passes(tiles[x], extents[0] * held[0]), passes(tiles[y], extents[1] * held[1])
        streams = len(tiles[z])
        if flow == "output" and streams > 1:
            if g1 > len(tiles[x]) or g2 > len(tiles[y]):
                return None
            streams = 1
        a, b, c = size["m"] * size["k"], size["k"] * size["n"], size["m"] * size["n"]
        cycles = f1 * f2 * size[z]
        if self.tech.array == "systolic":
            shift = 1 if flow.startswith("output") else 2
            cycles += streams * (g2 * shift * size[x] + g1 * size[y] - 2 * g1 * g2)
        reads = {
            "output": a * g2 + b * g1,
            "output-spilled": a * g2 + b * g1,
            "weight": a * g2 + b * streams,
            "input": a * streams + b * g2,
        }[flow]
        spills = {"output": 0, "output-spilled": streams - 1, "weight": g1 - 1, "input": g1 - 1}[flow]
        nm, nk, nn = (len(tiles[d]) for d in "mkn")
        refill = a * nn + b * nm if nk > 1 else min(a * nn + b, a + b * nm)
        return cycles, reads, spills * c * self.tech.partial_sum_bytes, refill, c

    def all(self):
        """(cycles, energy) of every mapping."""
        tech, machine = self.tech, self.machine
        m, k, n = (self.shape[d] for d in "mkn")
        values = self.parallel * m * n
        macs = values * k
        logic = macs * (tech.mac_j() + tech.register_j()) + values * tech.lane_j()
        most = tech.accumulators.bit_length() - 1
        holds = [(2**e, 2 ** (most - e)) for e in range(most + 1)]
        vector = math.ceil(values / (machine.cores * machine.pe_x))
        for piece_m, piece_n, rounds, pieces in self.splits():
            size = {"m": piece_m, "k": k, "n": piece_n}
            for flow, tm, tk, tn in itertools.product(AXES, *(range(1, size[d] + 1) for d in "mkn")):
                tile = {"m": tm, "k": tk, "n": tn}
                if not self.fits(flow, size, tile):
                    continue
                for extents, held in itertools.product(
                    {(machine.pe_x, machine.pe_y), (machine.pe_y, machine.pe_x)}, holds
                ):
                    found = self.core(flow, size, tile, extents, held)
                    if found is None:
                        continue
                    cycles, reads, psums, refill, c = found
                    local = rounds * (reads + 2 * psums + refill + 2 * c) / machine.local_bandwidth
                    shared = (pieces * refill + values) / tech.global_bandwidth
                    time = max(rounds * cycles, local, shared, vector) + 6
                    energy = logic + values * (self.local_read + self.local_write + self.global_write)
                    energy += pieces * (
                        reads * self.local_read
                        + psums * (self.local_read + self.local_write)
                        + refill * (self.local_write + self.global_read)
                    )
                    yield time, energy + time / tech.frequency_hz * self.leakage


SHAPES = [(7, 13, 5, 1), (12, 12, 12, 2), (17, 5, 9, 3), (3, 23, 11, 1), (16, 16, 8, 4), (11, 7, 19, 2), (1, 24, 16, 1)]
MACHINES = [
    (1, 4, 2, 0.25, 4, 1 / 16),
    (2, 4, 4, 0.25, 16, 1 / 16),
    (2, 2, 8, 0.25, 2, 1 / 16),
    (1, 8, 8, 0.5, 64, 1 / 4),
    (4, 4, 2, 0.25, 8, 1 / 16),
    (1, 16, 2, 0.25, 8, 1 / 8),
    (2, 8, 4, 1, 16, 1 / 16),
    (1, 2, 2, 0.25, 1, 1 / 16),
    (1, 8, 4, 0.25, 128, 1 / 16),
    (1, 1, 1, 0.25, 4, 1 / 16),
    (2, 16, 16, 0.25, 32, 1 / 4),
    (1, 4, 8, 0.25, 16, 1 / 16),
    (2, 4, 2, 0.25, 4, 1 / 2),
    (1, 4, 4, 0.25, 4, 1 / 16),
    (4, 2, 2, 0.25, 2, 1 / 16),
    (1, 32, 2, 0.5, 16, 1 / 16),
    (1, 2, 16, 0.25, 32, 1 / 16),
    (1, 4, 4, 0.25, 8, 1),
    (2, 8, 2, 0.25, 16, 1 / 16),
    (4, 8, 8, 0.25, 64, 1 / 16),
    (1, 16, 16, 0.25, 16, 1 / 16),
    (2, 2, 3, 0.25, 16, 1 / 16),
    (1, 3, 4, 0.25, 8, 1 / 16),
    (1, 6, 5, 0.5, 4, 1 / 16),
]
CASES = [(*SHAPES[i % len(SHAPES)], Accelerator(*values)) for i, values in enumerate(MACHINES)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_choice_is_within_a_percent_of_a_dense_enumeration(case):
    m, k, n, parallel, machine = case
    tech = DEFAULT if (m + n) % 2 else PAPER
    every = np.array(list(Dense(m, k, n, parallel, machine, tech).all()))
    merits = {"latency": every[:, 0], "energy": every[:, 1], "edp": every[:, 0] * every[:, 1]}
    for objective, merit in merits.items():
        found = map_gemm(m, k, n, machine, tech, objective, parallel=parallel)
        ours = {
            "latency": found.cycles,
            "energy": found.energy_j,
            "edp": found.cycles * found.energy_j,
        }[objective]
        assert ours >= merit.min() * (1 - 1e-9)  # what is chosen exists
        assert ours <= merit.min() * 1.01, objective


# --- Traffic, by walking the loops ----------------------------------------------------------------------------------


@given(sizes, sizes, sizes, machines.filter(lambda a: a.cores == 1))
@settings(max_examples=200, deadline=None)
def test_a_walk_of_the_loops_moves_what_the_mapping_says(m, k, n, accelerator):
    found = map_gemm(m, k, n, accelerator, DEFAULT, "energy")
    size, tile = {"m": m, "k": k, "n": n}, dict(zip("mkn", found.tile, strict=True))
    counts = {d: len(parts(size[d], tile[d])) for d in "mkn"}
    if math.prod(counts.values()) > 3_000:
        return  # too long a walk
    best = math.inf
    for order in itertools.permutations("mkn"):
        if counts["k"] > 1 and order[-1] != "k":
            continue  # partial sums would leave the buffer
        moved, held = 0, {"A": None, "B": None}
        for index in itertools.product(*(range(counts[d]) for d in order)):
            at = dict(zip(order, index, strict=True))
            for tensor, (i, j) in {"A": ("m", "k"), "B": ("k", "n")}.items():
                if held[tensor] != (at[i], at[j]):
                    held[tensor] = at[i], at[j]
                    moved += min(tile[i], size[i] - at[i] * tile[i]) * min(tile[j], size[j] - at[j] * tile[j])
        best = min(best, moved)
    assert found.accesses["refill_bytes"] == best


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
    floor += found.latency_s * leakage_w(AcceleratorTable.of([accelerator]), DEFAULT)[0]
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
    assert folds(size, np.array([tile]), np.array([extent]))[0, 0] == passes(parts(size, tile), extent)


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
    found = best_tiles((64, 32, 48), (1, 1, 1), (4, 1, 1), np.array([512.0, 4096.0]), np.array([4, 8]), whole=False)
    rows = set(
        zip(found.buffer.tolist(), *found.counts.tolist(), found.first.tolist(), found.second.tolist(), strict=True)
    )
    assert len(rows) == len(found.buffer)
    assert set(found.buffer.tolist()) == {0, 1}


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
