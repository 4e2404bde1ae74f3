"""The hardware cost model in one table: speed, memory, and how it compares with closed forms, other tools and chips.

    .venv/bin/python benchmarks/hardware.py            # about five minutes on two cores
    .venv/bin/python benchmarks/hardware.py --full     # the space `edge-full` too, some twenty minutes

Compared with: the stall-free closed forms; SCALE-Sim 3.0.0 and ZigZag 3.9.1 as recorded in `tests/data` (`make
crosscheck` asks them anew); published chips of 12 to 28 nm. Each space is costed in a process of its own, cold and then
from its cache on disk. Seconds depend on the machine and on what else it does; its load is printed beside them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
RESULTS = Path(__file__).parent / "results" / "hardware.json"
MACHINE = "cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2"
Row = dict[str, object]


def row(what: str, seen: str, target: str = "", holds: bool | None = None, **values: object) -> Row:
    return {"what": what, "seen": seen, "target": target, "holds": holds, **values}


def table(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def closed_forms() -> list[Row]:
    from catransformers.hardware.dataflow import systolic_cycles

    right = total = 0
    for line in table("systolic_closed_form.csv"):
        m, k, n, r, c = (int(line[key]) for key in ("M", "K", "N", "R", "C"))
        for flow in ("os", "ws", "is"):
            total += 1
            right += systolic_cycles(m, k, n, r, c, flow) == int(float(line[flow]))
    return [row("closed forms of systolic cycles", f"{right} of {total} equal", "all", right == total)]


def other_tools() -> list[Row]:
    from catransformers.hardware.dataflow import systolic_cycles

    runs = table("scalesim_reference.csv")
    equal = sum(
        systolic_cycles(*(int(r[key]) for key in ("m", "k", "n", "rows", "columns")), r["dataflow"]) - 1
        == int(float(r["cycles"]))
        for r in runs
    )
    return [row("SCALE-Sim 3.0.0, cycles minus 1", f"{equal} of {len(runs)} equal", "all", equal == len(runs))]


def costing(space_name: str, cache: str) -> None:
    """In a process of its own: cost the default model space of ViT-B-16 (or the embedded model on `micro`)."""
    from catransformers.carbon.scenario import named_scenario
    from catransformers.hardware.spaces import space
    from catransformers.hardware.technology import technology
    from catransformers.search.costs.enumerated import space_cost
    from catransformers.search.space import model_space
    from catransformers.workloads.zoo import named_spec

    models = model_space(named_spec("embedded" if space_name == "micro" else "ViT-B-16"))
    tech = technology("default-22nm")
    accelerators = space(space_name, max_tops=None, frequency_hz=tech.frequency_at)
    began = time.monotonic()
    costs = space_cost(models, accelerators, tech, named_scenario("default"), cache_dir=cache)
    tabled = time.monotonic()
    feasible = int(np.isfinite(costs.cost).sum())
    done = time.monotonic()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({
        "models": models.size, "accelerators": len(accelerators), "feasible": feasible,
        "table_s": tabled - began, "minimum_s": done - tabled, "memory_bytes": memory,
    }))  # fmt: skip


def spaces(names: list[str]) -> list[Row]:
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                command = [sys.executable, __file__, "--costing", name, cache]
                found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                limit = {("edge", "cold"): 120, ("edge", "warm"): 2}.get((name, state))
                seconds, memory = found["table_s"], found["memory_bytes"] / 2**30
                rows.append(
                    row(
                        f"{found['models']:,} models × {found['accelerators']:,} accelerators of {name}, {state}",
                        f"{seconds:.1f} s, {memory:.2f} GiB",
                        f"≤ {limit} s, ≤ 2 GiB" if limit else "",
                        seconds <= limit and memory <= 2 if limit else None,
                        load=os.getloadavg()[0],
                        **found,
                    )
                )
            rows.append(row(f"  the least of all of {name} for every model", f"{found['minimum_s']:.2f} s"))
    return rows


def single() -> list[Row]:
    import catransformers

    seconds = []
    for width in range(3072, 3072 - 16 * 12, -16):  # a new design each time
        began = time.perf_counter()
        catransformers.estimate("ViT-B-16", MACHINE, dimensions={"vision.ffn_dim": width})
        seconds.append(time.perf_counter() - began)
    median = float(np.median(seconds[1:]))
    command = [str(Path(sys.executable).with_name("catransformers")), "estimate", "--model", "ViT-B-16"]
    whole = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([*command, "--hardware", MACHINE, "--json"], capture_output=True, check=True)
        whole.append(time.perf_counter() - began)
    return [
        row("one estimate of a new design (median of 11)", f"{median * 1e3:.0f} ms", "≤ 50 ms", median <= 0.05),
        row("`catransformers estimate`, the whole command", f"{min(whole):.2f} s", "≤ 1 s", min(whole) <= 1),
    ]


def silicon() -> list[Row]:
    from catransformers.facts import rows as fact_rows
    from catransformers.hardware.accelerator import Accelerator, AcceleratorTable
    from catransformers.hardware.area import die_area
    from catransformers.hardware.cost import map_gemm
    from catransformers.hardware.technology import technology

    tech = technology("default-22nm")
    chips = fact_rows("published_chips")
    ranges = {
        key: [float(c[key]) for c in chips if c[key] and 12 <= float(c["node_nm"]) <= 28]
        for key in ("tops_per_w", "tops_per_mm2")
    }
    rows = []
    for text in (MACHINE, "cores=4,pe_x=64,pe_y=64,local_kib=128,local_bandwidth=256,global_mib=4"):
        machine = Accelerator.parse(text)
        found = map_gemm(1024, 1024, 1024, machine, tech)
        per_w = 2 * 1024**3 / found.energy_j / 1e12
        area_mm2 = float(die_area(AcceleratorTable.of([machine]), tech).total[0]) * 1e6
        per_mm2 = machine.peak_tops(tech.frequency_hz) / area_mm2
        seen = (("tops_per_w", per_w), ("tops_per_mm2", per_mm2))
        holds = all(min(ranges[key]) <= value <= max(ranges[key]) for key, value in seen)
        spans = [f"{min(values):.3g} to {max(values):.3g}" for values in ranges.values()]
        rows.append(
            row(
                f"1024³ product on {machine.cores} × {machine.pe_x} × {machine.pe_y}, 22 nm",
                f"{per_w:.2f} TOPS/W, {per_mm2:.3f} TOPS/mm²",
                f"{spans[0]} and {spans[1]}",
                holds,
            )
        )
    for chip in chips:
        density = f", {float(chip['tops_per_mm2']):.3g} TOPS/mm²" if chip["tops_per_mm2"] else ""
        rows.append(row(f"  {chip['name']}, {chip['node_nm']} nm", f"{float(chip['tops_per_w']):.3g} TOPS/W{density}"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the space edge-full too")
    parser.add_argument("--json", type=Path, default=None, help="keep the rows as data")
    parser.add_argument("--costing", nargs=2, metavar=("SPACE", "CACHE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.costing:
        costing(*args.costing)
        return
    rows: list[Row] = []
    for part in (
        closed_forms,
        other_tools,
        silicon,
        single,
        lambda: spaces(["micro", "edge", *(["edge-full"] if args.full else [])]),
    ):
        rows += part()
        print(f"{len(rows)} rows …", file=sys.stderr)
    print("| what | seen | target | holds |\n|---|---|---|---|")
    for r in rows:
        holds = {True: "yes", False: "NO", None: ""}[r["holds"]]  # type: ignore[index]
        print(f"| {r['what']} | {r['seen']} | {r['target']} | {holds} |")
    if args.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__}
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
