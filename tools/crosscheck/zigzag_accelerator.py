"""The accelerator of a ZigZag case, in the words of ZigZag's accelerator files. Needs nothing but Python.

Registers hold what stays in the array, a local and a global SRAM hold all operands, and DRAM what comes from there.
"""

from typing import Any

#: Numbers of a case: whole ones, and energies in pJ of one multiply-accumulate and of one byte at each level.
WHOLE = ("m", "k", "n", "rows", "columns", "accumulators", "local_bytes", "local_bandwidth")
WHOLE += ("global_bytes", "global_bandwidth", "dram_bandwidth")
ENERGIES = ("mac_pj", "local_read_pj", "local_write_pj", "global_read_pj", "global_write_pj", "dram_pj")

#: What stays in the array, and which dimensions lie on its rows and columns.
AXES = {"output": ("M", "N"), "weight": ("K", "N"), "input": ("K", "M")}

#: Operands as ZigZag's layers and as its memories call them.
OPERANDS = {"I": "I1", "W": "I2", "O": "O"}

#: What comes through DRAM: nothing, weights alone, or every operand.
DRAM = {"none": (), "weights": ("W",), "all": ("I", "W", "O")}


def _port(number: int, kind: str, bits: int, moves: list[str], least: int) -> dict[str, Any]:
    letters = {"read": "r", "write": "w", "read_write": "rw"}[kind]
    return {
        "name": f"{letters}_port_{number}",
        "type": kind,
        "bandwidth_min": least,
        "bandwidth_max": bits,
        "allocation": moves,
    }


def _register(operand: str, bits: int, values: int, served: list[str]) -> dict[str, Any]:
    """A register file without energy: that of the registers is part of the multiply-accumulate's."""
    moves = [("read", "tl"), ("write", "fh")] + ([("read", "th"), ("write", "fl")] if operand == "O" else [])
    return {
        "size": bits * values,
        "r_cost": 0.0,
        "w_cost": 0.0,
        "area": 0.0,
        "latency": 1,
        "operands": [operand],
        "served_dimensions": served,
        "ports": [_port(i, kind, bits, [f"{operand}, {move}"], bits) for i, (kind, move) in enumerate(moves, start=1)],
    }


def _memory(
    operands: tuple[str, ...], size: int, bandwidth: int, read_pj: float, write_pj: float, one_port: bool
) -> dict[str, Any]:
    """A memory that counts every byte: `read_pj` and `write_pj` a byte, `bandwidth` bytes a cycle for each port.

    With `one_port` all that moves shares one port; else every stream to or from the array has its own, and what is
    exchanged with the level above has another.
    """
    names = [OPERANDS[operand] for operand in operands]
    if one_port:
        groups = [[f"{name}, {move}" for name in names for move in ("fh", "tl")]]
        groups[0] += [f"O, {move}" for move in ("fl", "th") if "O" in operands]
    else:
        groups = [[f"{name}, tl"] for name in names]
        groups += [["O, fl"]] if "O" in operands else []
        groups += [[f"{name}, fh" for name in names] + (["O, th"] if "O" in operands else [])]
    return {
        "size": 8 * size,
        "r_cost": read_pj * bandwidth,
        "w_cost": write_pj * bandwidth,
        "area": 0.0,
        "latency": 1,
        "operands": names,
        "served_dimensions": ["D1", "D2"],
        "force_double_buffering": True,
        "ports": [_port(i, "read_write", 8 * bandwidth, moves, 8) for i, moves in enumerate(groups, start=1)],
    }


def accelerator(case: dict[str, str], one_port: bool) -> dict[str, Any]:
    """The accelerator of a case, as ZigZag's files describe one; memories from the array outwards."""
    number = {name: int(case[name]) for name in WHOLE}
    energy = {name: float(case[name]) for name in ENERGIES}
    held = number["accumulators"]
    memories: dict[str, Any] = {}
    if case["flow"] == "output":
        memories["sums"] = _register("O", 32, held, [])
    else:
        memories["stationary"] = _register({"weight": "I2", "input": "I1"}[case["flow"]], 8, held, [])
        memories["sums"] = _register("O", 32, held, ["D1"])  # at the foot of each column, where its sum arrives
    every = ("I", "W", "O")
    for level in ("local", "global"):
        memories[level] = _memory(
            every,
            number[f"{level}_bytes"],
            number[f"{level}_bandwidth"],
            energy[f"{level}_read_pj"],
            energy[f"{level}_write_pj"],
            one_port,
        )
    if DRAM[case["dram"]]:
        pj = energy["dram_pj"]
        memories["dram"] = _memory(DRAM[case["dram"]], 2**30, number["dram_bandwidth"], pj, pj, one_port)
    return {
        "name": "crosscheck",
        "memories": memories,
        "operational_array": {
            "input_precision": [8, 8],
            "unit_energy": energy["mac_pj"],
            "unit_area": 0.0,
            "dimensions": ["D1", "D2"],
            "sizes": [number["rows"], number["columns"]],
        },
    }
