"""Seconds and memory of proposals, early and late in a study, on the largest spaces.

`exact-hardware` searches the landscape `smooth` until trial 100, as a study does: late in a search its front has many
levels and little is left to gain, which is harder than any trials made up. Of the last ten proposals the median and the
slowest are printed, by the clock (all cores) and in processor time, beside trial 25; the first proposal in a process
also loads libraries and makes what all later ones share. Each case runs in a process of its own; memory is the greatest
resident size, costs and libraries included. All seconds are kept in the results.

    .venv/bin/python benchmarks/search_speed.py                 # minutes at first, while the costs are not cached
    .venv/bin/python benchmarks/search_speed.py --only all      # one case; the others' results are kept
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from landscapes import NOISE, luck, smooth_logit
from scipy.special import expit

from catransformers.carbon.scenario import named_scenario
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import Objectives
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.costs.large_space import enumerable, large_space_cost
from catransformers.search.problem import Observation
from catransformers.search.space import ModelSpace, model_space
from catransformers.search.strategies import strategy
from catransformers.workloads.zoo import named_spec

OUT = Path(__file__).parent / "results" / "search_speed.json"
CACHE = Path(__file__).parents[1] / "runs" / "benchmark-cache"
TRIALS = 100


@dataclass(frozen=True)
class Case:
    """A study: costs that are minimised, a limit on latency in s, accelerators, how finely models are cut."""

    minimise: tuple[str, ...]
    latency: float | None = None
    hardware: str = "edge"
    fine: bool = False

    def space(self) -> ModelSpace:
        """The models: the 1,071,875 of ViT-B-16, or widths in steps of 4, heads and layers of 1, from half size up."""
        base = named_spec("ViT-B-16")
        if not self.fine:
            return model_space(base)
        step = {name: 4 if name.endswith("dim") else 1 for name in base.dimensions()}
        cut = {
            name: {"min": (full + 1) // 2, "max": full, "step": step[name]} for name, full in base.dimensions().items()
        }
        return model_space(base, cut)


CASES = {
    "carbon": Case(("carbon",), 0.050),
    "all": Case(("carbon", "latency")),
    "three costs": Case(("carbon", "latency", "energy")),
    "fine, carbon": Case(("carbon",), 0.050, fine=True),
    "fine, all": Case(("carbon", "latency"), fine=True),
    "edge-full, carbon": Case(("carbon",), 0.050, hardware="edge-full"),
}


def measure(name: str) -> dict[str, Any]:
    """Seconds of the stages, GiB."""
    case, made_of = CASES[name], technology("default-22nm")
    space = case.space()
    table = accelerators(case.hardware, frequency_hz=made_of.frequency_at)
    begin = time.perf_counter()
    cost = space_cost if enumerable(space, len(table)) else large_space_cost
    costs = cost(
        space,
        table,
        made_of,
        named_scenario("default"),
        Objectives(case.minimise),
        Limits(latency=case.latency),
        cache_dir=str(CACHE),
    )
    problem = costs.problem()
    costed = time.perf_counter() - begin
    chooser = strategy("exact-hardware", problem, 0, costs)
    observed: list[Observation] = []
    clock, processor = [], []
    while len(observed) < TRIALS:
        begin, before = time.perf_counter(), time.process_time()
        proposal = chooser.ask(observed, [], len(observed))
        clock.append(round(time.perf_counter() - begin, 2))
        processor.append(round(time.process_time() - before, 2))
        assert proposal is not None
        true = expit(smooth_logit(space, np.array([proposal.index]))[0])
        observed.append(Observation(proposal.index, float(np.clip(true + NOISE * luck(proposal.index, 0), 0, 1))))
    return {
        "case": name,
        "models": f"{space.size:.2e}",
        "accelerators": len(table),
        "costs, s": round(costed, 1),
        "clock, s": clock,
        "processor, s": processor,
        "peak, GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def line(row: dict[str, Any]) -> dict[str, Any]:
    """What is printed of a case."""
    shown = {name: row[name] for name in ("case", "models", "accelerators", "costs, s")}
    for name in ("clock, s", "processor, s"):
        what = name.removesuffix(", s")
        shown[f"trial 25, {what}, s"] = row[name][24]
        shown[f"last ten, {what}, s"] = f"{median(row[name][-10:]):.2f} (≤ {max(row[name][-10:]):.2f})"
    return shown | {"peak, GiB": row["peak, GiB"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(CASES), help="a case (repeatable; default all)")
    args = parser.parse_args()
    rows = {row["case"]: row for row in json.loads(OUT.read_text())["rows"]} if OUT.exists() else {}
    for name in args.only or CASES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows[name] = pool.submit(measure, name).result()
        print(line(rows[name]), file=sys.stderr, flush=True)
        rows = {name: rows[name] for name in CASES if name in rows}
        OUT.write_text(json.dumps({"trials": TRIALS, "cores": cpu_count(), "rows": list(rows.values())}) + "\n")
    shown = [line(row) for row in rows.values()]
    lines = [list(shown[0]), ["---"] * len(shown[0]), *(list(row.values()) for row in shown)]
    print("\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines))


if __name__ == "__main__":
    main()
