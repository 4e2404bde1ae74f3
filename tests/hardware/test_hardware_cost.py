"""Costs of workloads: sanity against silicon, laws, residency, fusion, and tables against single estimates."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.hardware import (
    Accelerator,
    AcceleratorTable,
    cost_table,
    cost_tables,
    die_area,
    estimate_workload,
    fits_on_chip,
    space,
    technology,
)
from catransformers.hardware.operator_cost import items
from catransformers.workloads.clip import layer_workload, stem_workload
from catransformers.workloads.families import workload
from catransformers.workloads.operators import Gemm, VectorOp, Workload, concatenate
from catransformers.workloads.zoo import named_spec

DEFAULT, PAPER = technology("default-22nm"), technology("paper")
REFERENCE = Accelerator(1, 256, 8, 64, 128, 2)
SMALL = layer_workload(dataclasses.replace(named_spec("ViT-B-32").text, embed_dim=64, ffn_dim=96, heads=2), "text")
MICRO = space("micro", frequency_hz=5e8)
SOME = MICRO.select(np.random.default_rng(0).choice(len(MICRO), 40, replace=False))

gemms = st.builds(
    Gemm,
    name=st.just("g"),
    component=st.just("c"),
    m=st.integers(1, 100),
    k=st.integers(1, 100),
    n=st.integers(1, 100),
    count=st.sampled_from([4, 8, 12]),
    weights=st.booleans(),
    bias=st.booleans(),
    weight_bits=st.sampled_from([2, 4, 8]),
    activation_bits=st.sampled_from([4, 8]),
    parallel=st.sampled_from([1, 2, 4]),
)
vectors = st.builds(
    VectorOp,
    name=st.just("v"),
    component=st.just("c"),
    kind=st.sampled_from(["softmax", "norm", "activation", "add", "embedding"]),
    rows=st.integers(1, 200),
    columns=st.integers(1, 200),
    count=st.integers(1, 12),
)
workloads = st.builds(
    lambda ops, w, a: Workload("w", tuple(ops), w, a),
    st.lists(st.one_of(gemms, vectors), min_size=1, max_size=4),
    st.integers(0, 4 * 2**20),
    st.integers(0, 2**18),
)
members = st.integers(0, len(MICRO) - 1).map(lambda i: MICRO[i])


@pytest.fixture(scope="module")
def vit():
    return workload(named_spec("ViT-B-16"))


@pytest.mark.parametrize("tech", [DEFAULT, PAPER], ids=lambda t: t.name)
def test_vit_b16_obeys_its_bounds_and_adds_up(vit, tech):
    cost = estimate_workload(vit, REFERENCE, tech)
    assert not cost.resident
    assert cost.latency_s >= vit.macs / (2048 * tech.frequency_hz)
    assert cost.latency_s >= vit.macs / REFERENCE.pes / tech.frequency_hz
    assert sum(row.latency_s for row in cost.rows) == pytest.approx(cost.latency_s, rel=1e-9)
    assert sum(row.energy_j for row in cost.rows) == pytest.approx(cost.energy_j, rel=1e-9)
    for row in cost.rows:
        assert sum(row.energy_split_j.values()) == pytest.approx(row.energy_j, rel=1e-9)
        assert row.latency_s * tech.frequency_hz == pytest.approx(row.cycles, rel=1e-9)
        assert 0 <= row.utilization <= 1
    assert [row.name for row in cost.rows] == [op.name for op in vit]
    assert cost.area_m2 == die_area(AcceleratorTable.of([REFERENCE]), tech).total[0]


def test_vit_b16_is_in_the_range_of_published_chips(vit):
    cost = estimate_workload(vit, REFERENCE, DEFAULT)
    dram = sum(row.energy_split_j["dram"] for row in cost.rows)
    operations = 2 * vit.macs
    assert 0.1e-12 < (cost.energy_j - dram) / operations < 0.5e-12
    # Published chips of 16 nm: 1.25 (Voltra) and 1.29 TOPS/mm² (Simba); at 22 nm and half the clock, a part of that.
    assert 0.2 < REFERENCE.peak_tops(DEFAULT.frequency_hz) / (cost.area_m2 * 1e6) < 1.3
    assert 0.020 < cost.latency_s < 0.060


def test_the_published_tools_latency_is_met_with_its_constants(vit):
    # 18.5 ms for CLIP ViT-B/16 on this accelerator (arXiv 2505.01386, table 2), by another mapper: within a tenth.
    assert estimate_workload(vit, REFERENCE, PAPER).latency_s == pytest.approx(18.5e-3, rel=0.1)


@given(workloads, members, st.sampled_from(["edp", "latency", "energy"]))
@settings(max_examples=50, deadline=None)
def test_tables_agree_with_single_estimates(w, accelerator, objective):
    table = AcceleratorTable.of([accelerator, MICRO[5000], accelerator])
    one = estimate_workload(w, accelerator, DEFAULT, objective)
    many = cost_table([SMALL, w], table, DEFAULT, resident=one.resident, objective=objective)
    assert many.latency_s[1, 0] == pytest.approx(one.latency_s, rel=1e-12)
    assert many.energy_j[1, 0] == pytest.approx(one.energy_j, rel=1e-12)
    assert many.latency_s[1, 0] == many.latency_s[1, 2]
    assert one.resident == bool(fits_on_chip(w.weight_bytes, w.activation_bytes, table)[0])


@given(workloads, st.integers(2, 24))
@settings(max_examples=50, deadline=None)
def test_costs_are_linear_in_counts(w, times):
    for once, often in zip(cost_tables([w], SOME, DEFAULT), cost_tables([w.scaled(times)], SOME, DEFAULT), strict=True):
        assert np.allclose(often.latency_s, times * once.latency_s, rtol=1e-12)
        assert np.allclose(often.energy_j, times * once.energy_j, rtol=1e-12)


def test_a_model_is_its_layers_and_stem():
    spec = named_spec("TinyCLIP-8M-16")
    parts = [
        (layer_workload(e, c), stem_workload(e, c, spec.projection_dim), e.layers)
        for c, e in (("vision", spec.vision), ("text", spec.text))
    ]
    for resident in (True, False):
        whole = cost_table([workload(spec)], SOME, DEFAULT, resident=resident)
        split = cost_table([p for layer, stem, _ in parts for p in (layer, stem)], SOME, DEFAULT, resident=resident)
        for name in ("latency_s", "energy_j"):
            layer_v, stem_v, layer_t, stem_t = getattr(split, name)
            total = parts[0][2] * layer_v + stem_v + parts[1][2] * layer_t + stem_t
            assert np.allclose(getattr(whole, name)[0], total, rtol=1e-12)


@given(workloads, workloads)
@settings(max_examples=200, deadline=None)
def test_splitting_a_workload_conserves_its_totals(first, second):
    both = cost_table([concatenate("both", [first, second])], SOME, DEFAULT, resident=False)
    apart = cost_table([first, second], SOME, DEFAULT, resident=False)
    last, next_ = first.operators[-1], second.operators[0]
    if len(list(items(Workload("", (last, next_), 0, 0)))) == 2:  # nothing fuses across the cut
        assert np.allclose(both.latency_s[0], apart.latency_s.sum(axis=0), rtol=1e-12)
        assert np.allclose(both.energy_j[0], apart.energy_j.sum(axis=0), rtol=1e-12)


@given(workloads)
@settings(max_examples=50, deadline=None)
def test_resident_weights_are_never_slower_and_need_no_dram(w):
    resident, streamed = cost_tables([w], SOME, DEFAULT, objective="latency")
    assert (resident.latency_s <= streamed.latency_s * (1 + 1e-12)).all()
    resident, streamed = cost_tables([w], SOME, DEFAULT, objective="energy")
    assert (resident.energy_j <= streamed.energy_j * (1 + 1e-12)).all()


def test_residency_decides_dram_in_the_breakdown():
    ample, tight = Accelerator(1, 16, 8, 4, 32, 2), Accelerator(1, 16, 8, 4, 32, 1 / 64)
    stays, streams = estimate_workload(SMALL, ample, DEFAULT), estimate_workload(SMALL, tight, DEFAULT)
    assert stays.resident
    assert not streams.resident
    assert all(row.energy_split_j["dram"] == 0 for row in stays.rows)
    weights = [row for row in streams.rows if row.kind == "gemm" and row.name in ("qkv", "ffn_up", "ffn_down")]
    for row in weights:
        floor = row.k * row.n * row.count * DEFAULT.dram.energy_j_per_byte
        assert row.energy_split_j["dram"] >= floor


def test_activations_that_do_not_fit_go_through_dram():
    gemm = Gemm("g", "c", 512, 256, 512)
    w = Workload("w", (gemm,), 256 * 512, 512 * 768)
    held = estimate_workload(w, Accelerator(1, 16, 16, 8, 32, 0.75), DEFAULT)
    spilled = estimate_workload(w, Accelerator(1, 16, 16, 8, 32, 0.25), DEFAULT)
    held_big = cost_table([w], AcceleratorTable.of([Accelerator(1, 16, 16, 8, 32, 0.75)]), DEFAULT, resident=False)
    assert held.resident
    assert held_big.energy_j[0, 0] > held.energy_j
    floor = (256 * 512 + 512 * 256 + 512 * 512) * DEFAULT.dram.energy_j_per_byte
    assert spilled.rows[0].energy_split_j["dram"] >= floor


def test_a_slower_dram_binds():
    w = Workload("w", (Gemm("g", "c", 1, 1024, 1024),), 1024 * 1024, 2048)
    accelerator = Accelerator(1, 64, 32, 64, 256, 0.5)
    slow, fast = DEFAULT.with_dram("lpddr2"), DEFAULT.with_dram("hbm2")
    row = estimate_workload(w, accelerator, slow).rows[0]
    assert row.bound == "dram"
    assert row.latency_s >= 1024 * 1024 / slow.dram.bandwidth
    assert estimate_workload(w, accelerator, fast).latency_s < row.latency_s / 5


def test_leakage_grows_with_idle_silicon():
    lean, idle = (estimate_workload(SMALL, Accelerator(1, 16, 8, 4, 32, mib), DEFAULT) for mib in (0.5, 2))
    assert lean.resident and idle.resident
    assert lean.latency_s == idle.latency_s
    leak = [sum(row.energy_split_j["leakage"] for row in cost.rows) for cost in (lean, idle)]
    assert leak[1] > leak[0] > 0


# --- Fusion ---------------------------------------------------------------------------------------------------------


def test_only_what_the_rule_names_is_fused():
    pairs = [(item.operator.name, item.rider.name if item.rider else None) for item in items(SMALL)]
    assert pairs == [
        ("ln_1", None),
        ("qkv", None),
        ("scores", "softmax"),
        ("context", None),
        ("out_proj", "residual_1"),
        ("ln_2", None),
        ("ffn_up", "activation"),
        ("ffn_down", "residual_2"),
    ]


def test_a_fractional_number_of_texts_fuses_the_same():
    spec = named_spec("ViT-B-16").with_dimensions({"text.layers": 3, "text.heads": 3})
    for texts in (0.1, 0.7, 1.1, 2.5):  # 3 layers × 0.1 × 3 heads is not 9 × 0.1 in floating point
        pairs = [[(i.operator.name, i.rider is None) for i in items(workload(spec, n))] for n in (1, texts)]
        assert pairs[0] == pairs[1]


@given(
    gemms.filter(lambda g: g.count % g.parallel == 0),
    st.sampled_from(["activation", "add", "softmax"]),
    st.sampled_from(["edp", "latency"]),
)
@settings(max_examples=50, deadline=None)
def test_riding_is_never_dearer_than_running_alone(gemm, kind, objective):
    op = VectorOp("v", "c", kind, gemm.parallel * gemm.m, gemm.n, gemm.count // gemm.parallel)
    apart = VectorOp("v", "other", kind, op.rows, op.columns, op.count)
    fused = cost_tables([Workload("", (gemm, op), 0, 0)], SOME, DEFAULT, objective=objective)
    alone = cost_tables([Workload("", (gemm, apart), 0, 0)], SOME, DEFAULT, objective=objective)
    product = cost_tables([Workload("", (gemm,), 0, 0)], SOME, DEFAULT, objective=objective)
    for f, a, p in zip(fused, alone, product, strict=True):
        assert (f.latency_s <= a.latency_s * (1 + 1e-12)).all()
        assert (f.energy_j <= a.energy_j * (1 + 1e-12)).all()
        assert (f.energy_j > p.energy_j).all()
        lanes = SOME.cores * SOME.pe_x
        floor = op.count * np.ceil(op.rows * op.columns / lanes) * DEFAULT.vector_operations[kind]
        assert (f.latency_s[0] * DEFAULT.frequency_hz >= floor * (1 - 1e-12)).all()


# --- Bad input ------------------------------------------------------------------------------------------------------


def test_an_unknown_objective_is_refused():
    with pytest.raises(InputError, match="did you mean 'energy'"):
        cost_table([SMALL], SOME, DEFAULT, resident=True, objective="enegry")
    with pytest.raises(InputError, match="latency"):
        estimate_workload(SMALL, REFERENCE, DEFAULT, "fast")


def test_nothing_to_do_costs_nothing():
    resident, streamed = cost_tables([], SOME, DEFAULT)
    assert resident.latency_s.shape == streamed.energy_j.shape == (0, len(SOME))
    assert not cost_table([Workload("", (), 0, 0)], SOME, DEFAULT, resident=True).latency_s.any()


def test_residency_broadcasts():
    weights = np.array([[1e5], [1e9]])
    fits = fits_on_chip(weights, 1e4, SOME)
    assert fits.shape == (2, len(SOME))
    assert not fits[1].any()
    assert np.array_equal(fits[0], SOME.global_bytes >= 1.1e5)
