"""What binds a design and what would help: against fresh estimates of the neighbours."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from catransformers.designs.estimate import Estimate, estimate
from catransformers.designs.explain import QUANTITIES, WORTH_IT, Change, Explanation, explain
from catransformers.reports.estimate.explanation import conclusions, effect, findings, what
from catransformers.reports.wording import breakable

STREAMED = "cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2"
RESIDENT = "cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1"


@pytest.fixture(scope="module")
def streamed() -> Explanation:
    return explain(estimate("ViT-B-16", STREAMED))


@pytest.fixture(scope="module")
def resident() -> Explanation:
    return explain(estimate("embedded", RESIDENT, scenario="always-on"))


def figures(result: Estimate) -> dict[str, float]:
    return {
        "latency": result.latency_s,
        "energy": result.energy_j,
        "area": result.cost.area_m2,
        "carbon": result.total_kg,
    }


def changed(explanation: Explanation, **after: float | str) -> Change:
    return next(change for change in explanation.changes if change.after == after)


@pytest.mark.parametrize("which", ["streamed", "resident"])
def test_a_change_is_the_estimate_of_the_neighbour(which: str, request: pytest.FixtureRequest) -> None:
    explanation = request.getfixturevalue(which)
    design = explanation.estimate
    hardware = [c for c in explanation.changes if not c.outlook and "dram" not in c.after]
    assert len(hardware) > 12
    for change in hardware[::4]:
        other = replace(design.accelerator, **change.after)
        own = estimate(design.model, other, scenario=design.scenario)
        assert change.weights_on_chip == own.cost.resident
        for name, value in figures(own).items():
            assert change.values[name] == pytest.approx(value, rel=1e-12)
            before = figures(design)[name]
            assert change.relative[name] == pytest.approx(value / before - 1, abs=1e-12)


def test_another_dram_is_another_technology(streamed: Explanation) -> None:
    design = streamed.estimate
    change = changed(streamed, dram="hbm2")
    own = estimate(design.model, design.accelerator, technology=design.technology.with_dram("hbm2"))
    assert change.values["energy"] == pytest.approx(own.energy_j)
    assert change.before == {"dram": "lpddr4"}


def test_a_resident_model_has_no_dram_to_change(resident: Explanation) -> None:
    assert not any("dram" in change.after for change in resident.changes)
    assert resident.missing_bytes == 0


def test_what_is_tried(streamed: Explanation) -> None:
    tried = {what(change) for change in streamed.changes}
    assert {
        "cores 1 → 2",
        "pe_x 256 → 512",
        "pe_x 256 → 128",
        "pe_y 8 → 16",
        "local_kib 64 → 32",
        "local_bandwidth 128 → 256",
        "global_mib 2 → 4",
        "pe_x 256 → 128, pe_y 8 → 16",
        "voltage_v 0.8 → 0.75",
        "voltage_v 0.8 → 0.6",
        "dram lpddr4 → lpddr5",
        "weight_bits 8 → 4",
        "weight_bits 8 → 4, activation_bits 8 → 4",
    } <= tried
    assert len(tried) == len(streamed.changes)
    assert not any(change.after.get("cores") == 0 for change in streamed.changes)
    carbon = [change.relative["carbon"] for change in streamed.changes]
    assert carbon == sorted(carbon)


def test_at_the_edge_of_what_can_be_built() -> None:
    explanation = explain(
        estimate("embedded", "cores=1,pe_x=1,pe_y=1024,local_kib=0.25,local_bandwidth=1,global_mib=0.25,voltage_v=0.95")
    )
    after = [change.after for change in explanation.changes]
    assert {"pe_y": 2048} not in after
    assert {"pe_x": 0.5} not in after
    assert {"local_kib": 0.125} not in after
    assert {"pe_x": 2, "pe_y": 512} in after
    assert max(v for change in after for key, v in change.items() if key == "voltage_v") < 0.95


def test_narrow_weights_are_the_workload_at_that_width(streamed: Explanation) -> None:
    change = changed(streamed, weight_bits=4)
    assert change.outlook
    assert change.relative["energy"] < 0
    assert change.relative["area"] == 0
    before = streamed.estimate.cost.energy_j
    dram = streamed.energy_share["dram"] * before
    assert before - change.values["energy"] > 0.3 * dram  # half the bytes, less the background


def test_shares_are_of_all_cycles_and_all_energy(streamed: Explanation) -> None:
    assert sum(streamed.bound_share.values()) == pytest.approx(1)
    assert sum(streamed.energy_share.values()) == pytest.approx(1)
    assert all(0 <= share <= 1 for share in streamed.busy_share.values())
    assert streamed.utilization <= streamed.busy_share["compute"]
    cost = streamed.estimate.cost
    assert streamed.utilization == pytest.approx(
        2 * streamed.estimate.macs / (streamed.estimate.tops * 1e12 * cost.latency_s), rel=1e-6
    )


def test_waiting(streamed: Explanation) -> None:
    design = streamed.estimate
    wait = 1 - design.latency_s
    assert streamed.waiting_share == pytest.approx(wait)
    assert streamed.idle_energy_share == pytest.approx(
        design.cost.idle_w * wait / (design.energy_j + design.cost.idle_w * wait)
    )


def test_a_device_that_is_too_slow_never_waits() -> None:
    explanation = explain(
        estimate(
            "ViT-B-16", "cores=1,pe_x=32,pe_y=2,local_kib=64,local_bandwidth=64,global_mib=1", scenario="always-on"
        )
    )
    assert explanation.waiting_share == 0
    assert explanation.idle_energy_share == 0
    assert any("one device cannot do it" in text for text in findings(explanation))
    assert not any(change.meets_rate for change in explanation.changes)


def test_a_model_that_nearly_fits_says_how_many_bytes_are_missing() -> None:
    small = estimate("embedded", RESIDENT.replace("global_mib=1", "global_mib=0.5"), scenario="always-on")
    assert not small.cost.resident
    explanation = explain(small)
    assert explanation.missing_bytes == small.cost.needed_bytes - 0.5 * 2**20
    memory = next(text for text in findings(explanation) if text.startswith("Memory"))
    assert f"{explanation.missing_bytes:,} bytes" in memory
    for mebibytes in (0.625, 1.0):  # made to measure, and doubled
        assert changed(explanation, global_mib=mebibytes).weights_on_chip
    assert small.cost.needed_bytes <= 0.625 * 2**20 < small.cost.needed_bytes + 65536
    far = findings(explain(estimate("ViT-B-16", STREAMED)))
    assert not any("nearly fits" in text for text in far)


def test_best_is_the_greatest_saving(streamed: Explanation) -> None:
    for name in QUANTITIES:
        best = streamed.best(name)
        hardware = [change.relative[name] for change in streamed.changes if not change.outlook]
        assert best is not None
        assert best.relative[name] == min(hardware) <= -WORTH_IT


def test_nothing_helps_is_said(streamed: Explanation) -> None:
    worse = tuple(
        replace(change, relative={name: abs(value) for name, value in change.relative.items()})
        for change in streamed.changes
    )
    hopeless = replace(streamed, changes=worse)
    assert hopeless.best("latency") is None
    texts = conclusions(hopeless)
    for name in ("latency", "energy", "carbon"):
        assert texts[name].startswith(f"What helps {name} most: nothing tried helps")


def test_conclusions_name_the_best_and_its_price(streamed: Explanation) -> None:
    for name, text in conclusions(streamed).items():
        best = streamed.best(name)
        assert best is not None
        plain = breakable(text)
        assert f"What helps {name} most: {best.name} ({what(best)}): {name} " in plain
        for other in QUANTITIES:
            assert breakable(f"{other} {effect(best.relative[other])}") in plain


def test_findings_are_the_numbers(streamed: Explanation) -> None:
    texts = [breakable(text) for text in findings(streamed)]
    starts = ("Time:", "Array:", "Memory:", "Energy of an inference", "Waiting:", "Carbon over its life")
    assert all(text.startswith(start) for text, start in zip(texts, starts, strict=True))
    first = max(streamed.bound_share, key=lambda name: streamed.bound_share[name])
    assert first == "local"
    assert f"the local buffers set the pace for {100 * streamed.bound_share[first]:.0f} %" in texts[0]


def test_effects_read_well() -> None:
    assert breakable(effect(-0.314)) == "\N{MINUS SIGN}31 %"
    assert breakable(effect(0.0)) == "0 %"
    assert breakable(effect(0.042)) == "+4.2 %"
    assert effect(11.0) == "× 12.0"


def test_plain_data(resident: Explanation) -> None:
    data = json.loads(json.dumps(resident.to_dict(), allow_nan=False))
    assert set(data["helps_most"]) == set(QUANTITIES)
    assert len(data["changes"]) == len(resident.changes)


def test_peak_power_is_that_of_the_hungriest_operator(streamed: Explanation) -> None:
    cost = streamed.estimate.cost
    peak = cost.peak_power_w
    assert peak > cost.energy_j / cost.latency_s
    alone = [row.energy_j / row.latency_s for row in cost.rows if row.kind == "gemm"]
    assert peak >= max(alone)
