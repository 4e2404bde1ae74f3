"""The exact front of a fixed model: against brute force, with limits, and with everything that can be wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.designs import estimate as design
from catransformers.designs import sweep as module
from catransformers.designs.limits import Limits, infeasible
from catransformers.designs.sweep import OBJECTIVES, USUAL, Sweep, SweepInputs, sweep
from catransformers.errors import InfeasibleError, InputError
from catransformers.hardware.accelerator import AcceleratorTable

#: 96 accelerators, some of which hold the embedded model.
VALUES = {"cores": [1, 2], "pe_x": [8, 32], "pe_y": [4, 16], "local_kib": [4], "local_bandwidth": [16, 64]}


def swept(**changes: object) -> Sweep:
    given = {"values": VALUES, "scenario": "always-on", **changes}
    return sweep("embedded", "micro", **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole() -> Sweep:
    return swept()


def brute_force(columns: np.ndarray) -> set[tuple[float, ...]]:
    """The values (objectives, designs) of all designs that no other one dominates, by comparing every pair."""
    points = [tuple(column) for column in columns.T]
    return {p for p in points if not any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in points)}


@pytest.mark.parametrize(
    "objectives", [OBJECTIVES, ("carbon", "latency"), ("energy",), ("latency", "area"), ("carbon", "energy", "area")]
)
def test_the_front_is_that_of_brute_force(whole: Sweep, objectives: tuple[str, ...]) -> None:
    columns = np.stack([whole.quantity(name) for name in objectives])
    members = whole.front_in(objectives)
    found = [tuple(columns[:, row]) for row in members]
    assert len(found) == len(set(found))
    assert set(found) == brute_force(columns)
    carbon = whole.quantity("carbon")[members]
    assert (np.diff(carbon) >= 0).all()


def test_every_design_is_the_estimate_of_its_accelerator(whole: Sweep) -> None:
    chosen = [*whole.best.values(), whole.knee, 0, len(whole.table) - 1]
    assert {bool(whole.designs.resident[row]) for row in chosen} == {True, False}
    for row, data in zip(chosen, whole.rows(chosen), strict=True):
        alone = design.estimate("embedded", whole.table[row], scenario="always-on").to_dict()
        for key in ("accelerator", "weights_on_chip", "tops"):
            assert data[key] == alone[key]
        for key in ("latency_s", "energy_j", "idle_w", "life_energy_j", "power_w", "area_mm2"):
            assert data[key] == pytest.approx(alone[key], rel=1e-12), key
        footprint = alone["footprint"]
        assert data["embodied_kg"] == pytest.approx(footprint["embodied_kg"]["total"], rel=1e-12)
        for key in ("operational_kg", "total_kg", "total_kg_p5", "total_kg_p50", "total_kg_p95"):
            assert data[key] == pytest.approx(footprint[key], rel=1e-12), key


def test_the_best_are_on_the_front_and_the_knee_is_between(whole: Sweep) -> None:
    assert set(whole.best) == set(USUAL)
    for name, row in whole.best.items():
        assert row in whole.front
        assert whole.quantity(name)[row] == whole.quantity(name).min()
    assert whole.knee in whole.front


def test_the_knee_is_nearest_to_the_ideal_in_logarithms(whole: Sweep) -> None:
    two = replace(whole, objectives=("carbon", "latency"), front=whole.front_in(("carbon", "latency")))
    scaled = []
    for name in two.objectives:
        logs = np.log(two.quantity(name)[two.front])
        scaled.append((logs - logs.min()) / (logs.max() - logs.min()))
    assert len(two.front) > 2
    assert two.knee == two.front[np.argmin(np.hypot(*scaled))]
    assert two.knee not in two.best.values()


def test_equal_designs_are_kept_once(whole: Sweep) -> None:
    twice = AcceleratorTable.of([*whole.table, *whole.table])
    again = sweep("embedded", twice, scenario="always-on")
    assert len(again.table) == 2 * len(whole.table)
    assert again.front.tolist() == whole.front.tolist()


def test_the_order_of_the_accelerators_does_not_matter(whole: Sweep) -> None:
    backwards = AcceleratorTable.of(reversed(list(whole.table)))
    again = sweep("embedded", backwards, scenario="always-on")
    for name in USUAL:
        assert again.quantity(name)[again.front].tolist() == whole.quantity(name)[whole.front].tolist()


def test_the_same_sweep_gives_the_same_object(whole: Sweep, tmp_path: object) -> None:
    text = json.dumps(whole.to_dict(), allow_nan=False)
    assert text == json.dumps(swept().to_dict())
    for _ in ("cold", "warm"):
        assert text == json.dumps(swept(cache_dir=str(tmp_path)).to_dict())


def test_limits_cut_the_space_before_the_front(whole: Sweep) -> None:
    middle = {name: float(np.quantile(whole.quantity(name), 0.7)) for name in ("latency", "area", "power", "tops")}
    limited = swept(limits=Limits(**middle))
    inside = np.all([whole.quantity(name) <= bound for name, bound in middle.items()], axis=0)
    assert 0 < inside.sum() < len(whole.table)
    assert limited.within.tolist() == inside.tolist()
    columns = np.stack([limited.quantity(name)[inside] for name in USUAL])
    assert {tuple(limited.quantity(n)[row] for n in USUAL) for row in limited.front} == brute_force(columns)


def test_a_limit_at_a_designs_own_value_keeps_it(whole: Sweep) -> None:
    for name in ("latency", "energy", "area", "power", "carbon"):
        least = float(whole.quantity(name).min())
        assert swept(limits=Limits(**{name: least})).within.sum() >= 1


def test_what_would_relax_a_limit_does(whole: Sweep) -> None:
    with pytest.raises(InfeasibleError) as raised:
        swept(limits={"max_latency_ms": 0.001})
    error = raised.value
    assert error.unit == "ms"
    assert error.bound == 0.001
    assert error.demand == pytest.approx(whole.quantity("latency").min() * 1e3)
    lever = next(text for text in error.levers if text.startswith("raise max_latency_ms to "))
    assert swept(limits={"max_latency_ms": float(lever.split()[3])}).within.any()


def test_of_two_limits_either_can_be_raised(whole: Sweep) -> None:
    fast, small = whole.best["latency"], whole.best["area"]
    latency, area = whole.quantity("latency"), whole.quantity("area")
    limits = {"max_latency_ms": latency[fast] * 1e3 * 1.001, "max_area_mm2": area[small] * 1e6 * 1.001}
    with pytest.raises(InfeasibleError) as raised:
        swept(limits=limits)
    raises = [text.split() for text in raised.value.levers if text.startswith("raise ")]
    assert {words[1] for words in raises} == {"max_latency_ms", "max_area_mm2"}
    for words in raises:
        assert swept(limits={**limits, words[1]: float(words[3])}).within.any()


def test_limits_that_must_be_raised_together() -> None:
    latency, area, power = np.array([1.0, 8.0, 9.0]), np.array([9.0, 1.0, 8.0]), np.array([8.0, 9.0, 1.0])
    error = infeasible(
        {"latency": latency, "area": area, "power": power},
        dict.fromkeys(("latency", "area", "power"), 2.0),
        "three designs",
    )
    assert "raise together" in error.levers[0]
    assert error.demand / error.bound == pytest.approx(4.5)
    assert "nor with any one of them raised" in str(error)


@given(
    values=st.lists(st.tuples(*[st.floats(1, 9) for _ in range(3)]), min_size=1, max_size=6),
    bounds=st.tuples(*[st.floats(1, 9) for _ in range(3)]),
)
@settings(max_examples=80, deadline=None)
def test_the_levers_of_an_infeasible_set_always_suffice(
    values: list[tuple[float, ...]], bounds: tuple[float, ...]
) -> None:
    table = np.array(values)
    names = ("power", "tops", "carbon")  # these are shown in SI
    if (table <= np.array(bounds)).all(axis=1).any():
        return
    columns = {name: table[:, i] for i, name in enumerate(names)}
    keys = {"max_power_w": 0, "max_tops": 1, "max_carbon_kg": 2}
    levers = [
        text
        for text in infeasible(columns, dict(zip(names, bounds, strict=True)), "some designs").levers
        if text.startswith("raise ")
    ]
    assert levers
    for lever in levers:
        raised = list(bounds)
        for part in lever.removeprefix("raise ").removeprefix("together ").split(" and "):
            key, _, value, *_ = part.split()
            raised[keys[key]] = float(value)
        assert (table <= np.array(raised) * (1 + 1e-9)).all(axis=1).any(), lever


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        sweep(
            "ViTB16",
            "egde",
            values={"pex": [1], "pe_y": [0]},
            technology="default-22",
            scenario="alwayson",
            objectives=["carbn", "latency", "latency"],
            limits={"max_latency_ms": -1, "max_area": 3, "max_tops": float("nan")},
        )
    text = str(raised.value)
    for expected in (
        "'ViT-B-16'", "'edge'", "'pe_x'", "pe_y", "'default-22nm'", "'always-on'", "'carbon'", "given twice: latency",
        "max_latency_ms: -1", "max_area_mm2", "max_tops",
    ):  # fmt: skip
        assert expected in text, expected


def test_other_mistakes() -> None:
    for arguments, expected in (
        ({"objectives": []}, "objectives: none given"),
        ({"values": {"voltage_v": [0.3]}}, "voltage_v"),
        ({"scenario": {"node_nm": 7}}, "node_nm"),
    ):
        with pytest.raises(InputError, match=expected):
            SweepInputs.read("embedded", "micro", **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not given accelerators"):
        sweep("embedded", AcceleratorTable.of([]), values={"pe_x": [8]})
    with pytest.raises(InputError, match="no accelerator"):
        sweep("embedded", AcceleratorTable.of([]))


def test_voltages_are_designs_of_their_own() -> None:
    result = swept(values={**VALUES, "pe_x": [8], "voltage_v": [0.6, 0.8]}, objectives=["latency", "energy"])
    rows = result.rows(result.front)
    assert {row["accelerator"]["voltage_v"] for row in rows} == {0.6, 0.8}
    assert result.to_dict()["space"]["values"]["voltage_v"] == [0.6, 0.8]
    fast, frugal = (result.rows([result.best[name]])[0] for name in ("latency", "energy"))
    assert fast["accelerator"]["voltage_v"] == 0.8
    assert frugal["accelerator"]["voltage_v"] == 0.6


def test_carbon_water_and_their_product_are_those_of_the_footprints(whole: Sweep) -> None:
    high = swept(carbon_quantile="p95", objectives=["carbon", "latency"], limits={"max_latency_ms": 20})
    rows = np.arange(len(whole.table))
    assert np.array_equal(high.quantity("carbon"), whole.ranges_kg(rows)[2])
    assert (high.quantity("carbon") > whole.quantity("carbon")).all()
    assert np.array_equal(high.quantity("tcdp"), high.quantity("carbon") * whole.quantity("latency"))
    columns = np.stack([high.quantity(name)[high.within] for name in ("carbon", "latency")])
    assert {tuple(high.quantity(n)[row] for n in ("carbon", "latency")) for row in high.front} == brute_force(columns)
    wet = swept(scenario={"base": "always-on", "use_region": "FR", "fab_region": "TW"}, objectives=["water", "tcdp"])
    most = float(np.median(wet.quantity("water")))
    dry = swept(
        scenario={"base": "always-on", "use_region": "FR", "fab_region": "TW"}, objectives=["latency"],
        limits={"max_water_l": most},
    )  # fmt: skip
    assert (dry.within == (wet.quantity("water") <= most * (1 + 1e-9))).all()
    assert all(row["water_l"] <= most * (1 + 1e-9) for row in dry.to_dict()["front"])
    assert "water_l" not in whole.to_dict()["front"][0]


def test_water_where_no_factor_is_known_is_told_before_anything_is_costed() -> None:
    with pytest.raises(InputError, match="no sourced water factor is known"):
        SweepInputs.read("embedded", "micro", scenario={"base": "always-on", "use_region": 100}, objectives=["water"])


def test_ranks_lose_no_difference_to_rounding(whole: Sweep) -> None:
    """Areas of 1e-7 m² and carbon of 1e6 kg: a sum of logarithms would call them equal."""
    found = replace(
        whole.designs,
        area_m2=np.array([1e-7, np.nextafter(1e-7, 1), 1e-7]),
        embodied_kg=np.array([1e6, 1e6, np.nextafter(1e6, 2e6)]),
        operational_kg=np.zeros(3),
        latency_s=np.ones(3),
        energy_j=np.ones(3),
    )
    front = module._front(found, np.ones(3, dtype=np.bool_), ("carbon", "area"))
    assert front.tolist() == [0]
