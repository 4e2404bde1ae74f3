"""Our hardware model under the conditions of a cross-check: given energies, one choice of what stays in the array.

A case is a row of a reference file, so that both tools read the same numbers. What the other tool does not have is
switched off: skew, vector unit, leakage, clock. The search is ours, but keeps every mapping, and not only those that no
mapping of another flow beats, so that each flow is compared for itself.
"""

import dataclasses
from typing import Any
from unittest import mock

import numpy as np

from catransformers.hardware import Accelerator, AcceleratorTable, flows, technology
from catransformers.hardware.dataflow import DATAFLOWS, DIMENSIONS, Dataflow
from catransformers.hardware.machine import Machines
from catransformers.hardware.mapping import CHOICES, COSTS, Mappings
from catransformers.hardware.operator_cost import ENERGY_PARTS, GroupCost, gemm_cost, mappings_of
from catransformers.hardware.power import PowerTable
from catransformers.workloads.operators import Gemm

PICO = 1e-12

#: By what stays in the array, the dimensions on its rows, on its columns, and streaming.
AXES = {
    flow.name.split("-")[0]: "".join(DIMENSIONS[d].upper() for d in (flow.rows, flow.columns, flow.stream))
    for flow in DATAFLOWS
}


def gemm_of(case: dict[str, str]) -> Gemm:
    """The product of a case, 8-bit operands and results."""
    m, k, n = (int(case[name]) for name in "mkn")
    return Gemm("gemm", "", m, k, n, 1, True, False, 8, 8, 1)


def machines_of(case: dict[str, str], array: str = "broadcast") -> Machines:
    """The accelerator of a case, with exactly its buffers and energies."""
    base = technology("default-22nm")
    number = {name: float(value) for name, value in case.items() if name.endswith(("_bytes", "_bandwidth", "_pj"))}
    dram = dataclasses.replace(
        base.dram,
        bandwidth=number["dram_bandwidth"] * base.frequency_hz,
        energy_j_per_byte=number["dram_pj"] * PICO,
        background_w=0.0,
    )
    tech = dataclasses.replace(
        base,
        array=array,
        accumulators=int(case["accumulators"]),
        global_bandwidth=number["global_bandwidth"],
        dram=dram,
    )
    rows, columns = int(case["rows"]), int(case["columns"])
    built = Machines.of(AcceleratorTable.of([Accelerator(1, rows, columns, 64, 64, 1)]), tech)
    one = np.ones(1)
    return dataclasses.replace(
        built,
        arrays=dataclasses.replace(built.arrays, local_bytes=one * number["local_bytes"]),
        lanes=one * 1e12,
        local_bandwidth=one * number["local_bandwidth"],
        global_bytes=one * number["global_bytes"],
        local_read_j=one * number["local_read_pj"] * PICO,
        local_write_j=one * number["local_write_pj"] * PICO,
        global_read_j=one * number["global_read_pj"] * PICO,
        global_write_j=one * number["global_write_pj"] * PICO,
        power=PowerTable(one * 0, one * 0, one * 0, one * 0),
        dram_bandwidth=one * number["dram_bandwidth"],
    )


class _Everything:
    """In the place of `Leaders`: nothing is beaten."""

    def __init__(self, *_: Any) -> None:
        pass

    def screen(self, costs: Any, *_: Any) -> Any:
        return np.flatnonzero(np.isfinite(costs[0]))  # cycles are infinite where there is no candidate

    def unbeaten(self, group: Any, *_: Any) -> Any:
        return np.arange(len(group))


def every_mapping(case: dict[str, str], machines: Machines) -> Mappings:
    """All mappings of a case with its flow, the flow's first dimension on the rows.

    Outputs that stay are held along one axis of the array: what folds along both share would have to be read again, or
    held beside the two operands that a processing element has registers for.
    """
    rows_of = flows._rows

    def rows(flow: Dataflow, *rest: Any) -> Any:
        found = rows_of(flow, *rest)
        return found if flow.name.startswith(case["flow"]) else []

    with mock.patch.object(flows, "_rows", rows), mock.patch.object(flows, "Leaders", _Everything):
        found = mappings_of(gemm_of(case), machines)
    chosen = dict(zip(CHOICES, found.choices, strict=True))
    one_axis = np.minimum(chosen["held_1"], chosen["held_2"]) == 1
    kept = np.flatnonzero((chosen["swapped"] == 0) & (one_axis | (case["flow"] != "output")))
    return Mappings(np.array([0, len(kept)]), found.costs[:, kept], found.choices[:, kept])


def only(mappings: Mappings, at: int) -> Mappings:
    """One of some mappings."""
    return Mappings(np.array([0, 1]), mappings.costs[:, [at]], mappings.choices[:, [at]])


def cost_of(case: dict[str, str], machines: Machines, mappings: Mappings) -> GroupCost:
    """The cost of a case by the best of some mappings for energy."""
    return gemm_cost(gemm_of(case), mappings, machines, case["dram"] == "none", "energy")


def energies_pj(cost: GroupCost) -> dict[str, float]:
    """Energy at each level of the memory, pJ."""
    parts = dict(zip(ENERGY_PARTS, cost.energies[:, 0] / PICO, strict=True))
    return {level: float(parts[level]) for level in ("local", "global", "dram")}


def choice(mappings: Mappings, at: int) -> dict[str, int]:
    """A mapping's choices by name."""
    return {name: int(value) for name, value in zip(CHOICES, mappings.choices[:, at], strict=True)}


def costs(mappings: Mappings, at: int) -> dict[str, float]:
    """A mapping's costs by name."""
    return {name: float(value) for name, value in zip(COSTS, mappings.costs[:, at], strict=True)}


def same_mapping(mappings: Mappings, chosen: dict[str, int]) -> int | None:
    """Index of the mapping with some choices; None if the search does not look at it."""
    same = np.ones(mappings.costs.shape[1], dtype=np.bool_)
    for name, value in chosen.items():
        same &= mappings.choices[CHOICES.index(name)] == value
    found = np.flatnonzero(same)
    return int(found[0]) if len(found) else None


def moved_by_zigzag(case: dict[str, str], mapping: dict[str, float]) -> dict[str, float]:
    """What ZigZag counts where our mapping has some costs, bytes by level:operand:direction.

    All is the same but for results that are cut into partial sums. Ours are 4 bytes wide but for the finished one, and
    are fetched for each but the first. ZigZag's are all as wide as the widest in a buffer, and fetched each time.

    Args:
        case: its sizes.
        mapping: our costs by `COSTS`.
    """
    values = int(case["m"]) * int(case["n"])
    partial, spill = mapping["partial_bytes"], mapping["spill_bytes"]
    operands = mapping["refill_bytes"] - spill
    cut, spilled = (4 * values if partial else 0), (4 * values if spill else 0)
    return {
        "local:IW:tl": mapping["operand_bytes"],
        "local:IW:fh": operands,
        "global:IW:tl": operands,
        "local:O:fl": partial + (cut or values),
        "local:O:tl": partial + cut,
        "local:O:th": spill + (spilled or values),
        "local:O:fh": spill + spilled,
        "global:O:fl": spill + (spilled or values),
        "global:O:tl": spill + spilled,
    }


def wide_sums_pj(case: dict[str, str], mapping: dict[str, float]) -> dict[str, float]:
    """Energy at each level that ZigZag counts beyond ours for the partial sums of a mapping, see `moved_by_zigzag`."""
    values = int(case["m"]) * int(case["n"])
    pj = {name: float(case[name]) for name in case if name.endswith("_pj") and name.startswith(("local", "global"))}
    cut, spilled = (values if mapping[name] else 0 for name in ("partial_bytes", "spill_bytes"))
    local = cut * (3 * pj["local_write_pj"] + 4 * pj["local_read_pj"])
    local += spilled * (3 * pj["local_read_pj"] + 4 * pj["local_write_pj"])
    return {"local": local, "global": spilled * (3 * pj["global_write_pj"] + 4 * pj["global_read_pj"]), "dram": 0.0}


def _level(operand: str, stays: str, held: bool, innermost: str) -> tuple[int, ...]:
    """Memory levels of an operand: for what registers hold, the stream, a tile's folds, innermost and outer loops."""
    if operand == stays == "O":
        return 0, 0, 1, 2 if innermost != "K" else 0 if held else 1, 2
    if operand == "O":
        return 0, 1, 1, 1 if innermost == "K" else 2, 2
    if operand == stays:
        return 0, 0, 1, 0 if held else 2, 2
    return 0, 0, 0, 1, 1


def loop_nest(case: dict[str, str], chosen: dict[str, int]) -> str | None:
    """A mapping as the loops of each operand; None where such loops cannot say it.

    They cannot where a tile does not divide its dimension, or its folds those of the dimension. Nor may registers hold
    folds along both axes: the other tool has no registers for what such folds share.

    Args:
        case: its product and array; no DRAM.
        chosen: the mapping by `CHOICES`.

    Returns:
        Loops from the innermost outwards, levels divided by bars: `I:N4 M197 K3|K16 N3;W:…;O:…`.
    """
    x, y, z = AXES[case["flow"]]
    flow, innermost = DATAFLOWS[chosen["flow"]], "MKN"[chosen["innermost"]]
    size = {d: int(case[d.lower()]) for d in "MKN"}
    tile = {d: chosen[f"tile_{d.lower()}"] for d in "MKN"}
    extent = {x: int(case["rows"]), y: int(case["columns"]), z: 1}
    held = {x: chosen["held_1"], y: chosen["held_2"], z: 1}
    folds = {d: -(-tile[d] // extent[d]) for d in "MKN"}
    tiles = {d: size[d] // tile[d] for d in "MKN"}
    divides = all(
        tiles[d] * tile[d] == size[d] and tiles[d] * folds[d] == -(-size[d] // extent[d]) and folds[d] % held[d] == 0
        for d in "MKN"
    )
    stays = {"output": "O", "weight": "W", "input": "I"}[case["flow"]]
    keeps = flow.held and innermost == z
    one_fold = folds[x] == held[x] and folds[y] == held[y]
    if not divides or min(held[x], held[y]) > 1 or tile[z] == 1 or (one_fold and innermost == z and not keeps):
        return None
    parts = [
        [(y, held[y]), (x, held[x])],
        [(z, tile[z])],
        [(y, folds[y] // held[y]), (x, folds[x] // held[x])],
        [(innermost, tiles[innermost])],
        [(d, tiles[d]) for d in "MNK" if d != innermost],
    ]
    texts = []
    for operand in "IWO":
        nest: list[list[str]] = [[] for _ in range(3 if operand in (stays, "O") else 2)]
        for part, level in zip(parts, _level(operand, stays, keeps, innermost), strict=True):
            nest[level] += [f"{d}{steps}" for d, steps in part if steps > 1]
        texts.append(f"{operand}:" + "|".join(" ".join(loops) for loops in nest))
    return ";".join(texts)
