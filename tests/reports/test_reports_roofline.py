"""The roofline: every operator is under its roofs, where it binds it touches them, and the pictures hold all of it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest

from catransformers.designs.estimate import Estimate, estimate
from catransformers.reports.estimate.roofline import MEMORIES, caption, grouped, roof_lines, roofline
from catransformers.reports.estimate.roofline_page import components, roofline_figure, roofline_page, roofline_picture
from catransformers.reports.figures.canvas import log_ticks

STREAMED = "cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2"
RESIDENT = "cores=2,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1,voltage_v=0.7"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def streamed() -> Estimate:
    return estimate("ViT-B-16", STREAMED)


@pytest.fixture(scope="module")
def resident() -> Estimate:
    return estimate("embedded", RESIDENT, scenario="always-on")


@pytest.fixture(params=["streamed", "resident"])
def either(request: pytest.FixtureRequest) -> Estimate:
    found: Estimate = request.getfixturevalue(request.param)
    return found


def test_no_operator_is_above_a_roof(either: Estimate) -> None:
    found = roofline(either)
    for point in found.points:
        roof = found.peak_gops if point.kind == "gemm" else found.vector_gops
        assert point.gops <= roof * (1 + 1e-9), point.label
        for memory, intensity in point.intensity.items():
            assert point.gops <= intensity * found.bandwidth[memory] * (1 + 1e-9), (point.label, memory)


def test_what_a_memory_binds_is_near_its_roof(streamed: Estimate) -> None:
    found = roofline(streamed)
    bound = [p for p in found.points if p.bound in MEMORIES and p.share > 0.01]
    assert bound
    for point in bound:
        assert point.gops >= 0.97 * point.intensity[point.bound] * found.bandwidth[point.bound]  # less fill and drain


def test_the_roofs_are_those_of_the_accelerator(resident: Estimate) -> None:
    found = roofline(resident)
    clock = resident.technology.frequency_at(0.7).item()
    assert clock < resident.technology.frequency_hz
    assert found.peak_gops == pytest.approx(2 * 2 * 16 * 8 * clock / 1e9)
    assert found.vector_gops == pytest.approx(2 * 16 * clock / 1e9)
    assert found.bandwidth == {
        "local": pytest.approx(2 * 32 * clock / 1e9),
        "global": pytest.approx(256 * clock / 1e9),
    }


def test_dram_has_a_roof_only_where_weights_are_streamed(streamed: Estimate, resident: Estimate) -> None:
    assert roofline(streamed).bandwidth["dram"] == pytest.approx(12.8)
    assert any("dram" in point.intensity for point in roofline(streamed).points)
    assert not any("dram" in point.intensity for point in roofline(resident).points)
    assert "DRAM" in caption(roofline(streamed))
    assert "DRAM" not in caption(roofline(resident))


def test_the_operations_are_those_of_the_model(either: Estimate) -> None:
    found = roofline(either)
    products = [point for point in found.points if point.kind == "gemm"]
    assert sum(point.operations for point in products) == pytest.approx(2 * either.macs)
    assert len(found.points) + found.riding == len(either.cost.rows)
    times = sum(point.operations / point.gops / 1e9 for point in found.points)
    assert times <= either.latency_s * (1 + 1e-9)
    assert times > 0.95 * either.latency_s  # what rides on a product may outlast it
    for point in found.points:
        row = either.cost.rows[point.row]
        assert (row.name, row.component, row.kind) == (point.name, point.component, point.kind)


def test_labels_name_every_operator_once_a_group(streamed: Estimate) -> None:
    found = roofline(streamed)
    groups = grouped(found)
    assert sum(len(group) for group in groups) == len(found.points)
    assert max(len(group) for group in groups) > 1
    assert groups[0][0] is found.points[0]


def test_roofs_meet_at_the_ridge(streamed: Estimate) -> None:
    found = roofline(streamed)
    lines = roof_lines(found)
    assert len(lines) == 5
    for name, (x, y) in lines.items():
        if name.startswith(("global", "local", "DRAM")):
            assert y[1] == found.peak_gops
            assert y[0] / x[0] == pytest.approx(y[1] / x[1])


def test_the_svg_is_well_formed_and_the_same_each_time(streamed: Estimate) -> None:
    picture = roofline_picture(streamed, EVIL, "svg")
    assert ET.fromstring(picture).tag.endswith("svg")
    assert picture == roofline_picture(streamed, EVIL, "svg")
    assert b"<script" not in picture


def test_the_png_is_one(resident: Estimate) -> None:
    assert roofline_picture(resident, "embedded", "png").startswith(b"\x89PNG\r\n")


def test_the_interactive_figure_holds_every_operator(streamed: Estimate) -> None:
    found, figure = roofline(streamed), roofline_figure(streamed)
    hovers = [text for trace in figure["data"] for text in trace.get("hovertext") or []]
    for point in found.points:
        assert sum(f"<b>{point.label}</b>" in text for text in hovers) >= len(point.intensity)
    assert {trace["meta"]["role"] for trace in figure["data"]} == {"own", "ink", "muted"}
    assert "template" not in figure["layout"]
    assert set(components(found)) == {"vision", "text"}
    json.dumps(figure, allow_nan=False)


def test_the_page_escapes_its_title_and_reaches_for_nothing(resident: Estimate) -> None:
    page = roofline_page(resident, EVIL)
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert all(value.startswith("data:") for value in re.findall(r'(?:src|href)="([^"]*)', page.split("<script")[0]))
    assert page == roofline_page(resident, EVIL)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (8, 900, [10, 20, 50, 100, 200, 500]),
        (0.9, 2e5, [1, 10, 100, 1000, 10000, 100000]),
        (1.2, 1.9, [1.2, 1.9]),
        (3.0, 3.0, [3.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(expected)
