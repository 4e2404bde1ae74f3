"""A traced module in the place of a model: `estimate`, `sweep` and `explain` take it."""

import json

import pytest
import torch
from torch import nn

import catransformers as ct
from catransformers.models.families.nets import make_net
from catransformers.workloads.zoo import embedded_spec

HARDWARE = "cores=1,pe_x=32,pe_y=8,local_kib=64,local_bandwidth=32,global_mib=2"


@pytest.fixture(scope="module")
def work():
    layers = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10))
    return ct.trace(layers, torch.zeros(16, 64), name="mlp")


def test_an_estimate_of_a_trace(work):
    found = ct.estimate(work, HARDWARE)
    assert found.parameters == 64 * 128 + 128 + 128 * 10 + 10
    assert found.macs == 16 * (64 * 128 + 128 * 10)
    assert found.latency_s > 0 and found.total_kg > 0
    told = json.loads(json.dumps(found.to_dict()))
    assert told["model"] == {"family": "traced", "name": "mlp", "operators": len(work.operators)}
    assert ct.explain(found).changes
    assert "kg" in found._repr_html_() or "g" in found._repr_html_()


def test_bits_of_a_trace(work):
    half = ct.estimate(work, HARDWARE, weight_bits=4, activation_bits=4)
    assert half.parameters == ct.estimate(work, HARDWARE).parameters
    assert half.energy_j < ct.estimate(work, HARDWARE).energy_j


def test_a_sweep_of_a_trace(work):
    found = ct.sweep(work, "micro", values={"pe_x": [16, 32], "global_mib": [1]})
    assert found.front.size and found.to_dict()["params"] == found.parameters
    assert "mlp" in json.dumps(found.to_dict()["model"])
    assert "<table" in found._repr_html_()


def test_a_trace_costs_what_its_closed_form_costs():
    spec = embedded_spec()
    net = make_net(spec, empty=True)
    image = torch.zeros(1, 3, spec.vision.image_size, spec.vision.image_size, device="meta")
    traced = ct.trace(net.visual, image)
    closed = ct.estimate(spec, HARDWARE)
    assert sum(op.macs for op in traced if hasattr(op, "macs")) == sum(
        row.m * row.k * row.n * row.count
        for row in closed.cost.rows
        if row.component == "vision" and row.kind == "gemm"
    )


def test_a_trace_has_no_dimensions(work):
    with pytest.raises(ct.InputError, match="layers"):
        ct.estimate(work, HARDWARE, dimensions={"layers": 2})
