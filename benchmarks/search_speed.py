"""Seconds and memory of a proposal late in a study: the full ViT-B-16 space (1,071,875 models) × all of `edge`.

After 100 trials (Sobol models, accuracies of the landscape `smooth` with its luck) `exact-hardware` is asked for the
101st, twice: the first call in a process also loads libraries and makes what all later ones share. Each mode runs in a
process of its own, on all cores; memory is the greatest resident size, costs and libraries included.

    .venv/bin/python benchmarks/search_speed.py        # minutes at first, while the costs are not cached; writes a file
"""

from __future__ import annotations

import json
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path

from landscapes import smooth

from catransformers.carbon.scenario import named_scenario
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.search.problem import Limits, Objective, Objectives, Observation
from catransformers.search.space_cost import space_cost
from catransformers.search.strategies import strategy

OUT = Path(__file__).parent / "results" / "search_speed.json"
CACHE = Path(__file__).parents[1] / "runs" / "benchmark-cache"
TRIALS = 100
MODES: dict[str, tuple[tuple[Objective, ...], float | None]] = {
    "carbon": (("carbon",), 0.050),
    "all": (("carbon", "latency"), None),
    "three costs": (("carbon", "latency", "energy"), None),
}


def measure(mode: str) -> dict[str, float | str]:
    """Seconds of the stages, GiB."""
    landscape, made_of = smooth(), technology("default-22nm")
    minimise, limit = MODES[mode]
    begin = time.perf_counter()
    costs = space_cost(
        landscape.space,
        accelerators("edge", frequency_hz=made_of.frequency_at),
        made_of,
        named_scenario("default"),
        Objectives(minimise),
        Limits(latency=limit),
        cache_dir=str(CACHE),
    )
    problem = costs.problem()
    costed = time.perf_counter() - begin
    even, chooser = strategy("sobol", problem, 0, costs), strategy("exact-hardware", problem, 0, costs)
    observed: list[Observation] = []
    while len(observed) < TRIALS:
        proposal = even.ask(observed, [], len(observed))
        assert proposal is not None
        observed.append(Observation(proposal.index, landscape.observe(proposal.index, 0)))
    seconds = []
    while len(seconds) < 2:
        begin = time.perf_counter()
        proposal = chooser.ask(observed, [], len(observed))
        assert proposal is not None
        if proposal.origin == "expected improvement":
            seconds.append(time.perf_counter() - begin)
        else:  # one of the models that it begins with
            observed.append(Observation(proposal.index, landscape.observe(proposal.index, 0)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "mode": mode,
        "accelerators": len(costs.table),
        "costs, s": round(costed, 1),
        "first proposal, s": round(seconds[0], 2),
        "next proposal, s": round(seconds[1], 2),
        "peak, GiB": round(peak, 2),
    }


def main() -> None:
    rows = []
    for mode in MODES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(measure, mode).result())
        print(rows[-1], file=sys.stderr, flush=True)
    found = {"models": smooth().space.size, "trials": TRIALS, "cores": cpu_count(), "rows": rows}
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    print("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))


if __name__ == "__main__":
    main()
