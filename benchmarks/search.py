"""How many trainings a search needs: our strategies and the paper's own way, judged on landscapes with a known optimum.

Landscapes (`landscapes.py`): `smooth` and `rugged`, over the 1,071,875 models of the ViT-B-16 CLIP space × the `edge`
accelerators of at most 20 TOPS; `embedded`, the really measured accuracies of the embedded study × the `micro`
accelerators. Modes: `carbon` and `energy` (latency within a limit), `latency`, and `all` (carbon and latency).
Strategies: `exact-hardware` (ours), `sobol`, `nsga2`, `qnehvi` (the paper's: Ax itself, all dimensions of model and
accelerator, every metric learnt), and `qnehvi-fair`, the same with what ours is given too: our six first models, each
on its best accelerator, and accuracy learnt as its logit.

Every strategy gets one noisy accuracy a trial and is judged by true accuracies, against one fixed reference point of a
mode (accuracy 0 and the reference cost that the study itself would use). The share is the hypervolume found over the
hypervolume of *all* models × *all* accelerators, computed exactly by brute force. It is judged twice: of designs **as
run** (the accelerator that the strategy chose with the model; strategies that choose models alone stand with the
model's exact hardware front), and **trained**: every trained model × all accelerators, what one has who computes the
hardware side afterwards.

    .venv/bin/python benchmarks/search.py --jobs 2                   # all runs (many hours), then the table
    .venv/bin/python benchmarks/search.py --only 'smooth/carbon/*'   # some: landscape/mode/strategy/seed, wildcards
    .venv/bin/python benchmarks/search.py --table                    # the table from the kept results, without any run
    .venv/bin/python benchmarks/search.py --figure docs/images/search.svg     # the curves of mode carbon, or of --only
    .venv/bin/python benchmarks/search.py --attainment 'smooth/carbon/exact-hardware'    # needs moocore

One file a run in `benchmarks/results/search/`, written after each trial: stop it whenever you like, the same command
goes on where it was (a run's shares are worked out at its end). A strategy is a pure function of what it was told, so
that a run that was cut off comes out the same on the same machine with the same code. Seconds a proposal are CPU
seconds of one thread. How the kept runs of Ax were made stands in `results/search/README.md`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import search_report as report
from landscapes import LANDSCAPES, Landscape, TooFewMeasuredError
from search_judge import Tried, best_possible, curve, curve_as_run

from catransformers.carbon.scenario import named_scenario
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import Objectives
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.search.costs.enumerated import SpaceCost, space_cost
from catransformers.search.problem import Observation, SearchProblem
from catransformers.search.strategies import DesignStrategy, Strategy, strategy

RESULTS = Path(__file__).parent / "results" / "search"
CACHE = Path(__file__).parents[1] / "runs" / "benchmark-cache"
VERSION = 1  # raise it when runs made before are no longer comparable
MODES: dict[str, tuple[str, ...]] = {
    "carbon": ("carbon",),
    "latency": ("latency",),
    "energy": ("energy",),
    "all": ("carbon", "latency"),
}
OURS = ("exact-hardware", "sobol", "nsga2")
MAX_TOPS = 20.0
#: Latency limit of the modes carbon and energy, s, and scenario: the paper's; those of the embedded study's demo.
LATENCY_LIMIT = {"edge": 0.050, "micro": 0.033}
SCENARIO = {"edge": "default", "micro": "always-on"}


@dataclass(frozen=True, order=True)
class Job:
    """One run: a strategy with a seed on a landscape in a mode."""

    landscape: str
    mode: str
    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """What `--only` looks at."""
        return f"{self.landscape}/{self.mode}/{self.strategy}/{self.seed}"

    @property
    def path(self) -> Path:
        """Where its results are kept."""
        return RESULTS / (self.name.replace("/", "-") + ".json")


def jobs() -> list[Job]:
    """All runs of the benchmark, the quick ones first."""
    found = [Job(a, m, s, seed) for s in OURS for a in LANDSCAPES for m in MODES for seed in range(5)]
    for name in ("qnehvi", "qnehvi-fair"):
        for landscape in LANDSCAPES if name == "qnehvi" else ("smooth",):
            for mode in MODES:
                seeds = 5 if landscape == "smooth" and mode in ("carbon", "all") else 3
                found += [Job(landscape, mode, name, seed) for seed in range(seeds)]
    return found


@dataclass(frozen=True)
class Setting:
    """What the runs of one landscape and mode share."""

    landscape: Landscape
    costs: SpaceCost
    problem: SearchProblem
    optimum: float


@lru_cache(maxsize=2)
def costs_of(name: str) -> tuple[Landscape, SpaceCost]:
    """A landscape and its costs without limits; minutes at first, seconds from the cache."""
    landscape = LANDSCAPES[name]()
    made_of = technology("default-22nm")
    table = accelerators(landscape.hardware, max_tops=MAX_TOPS, frequency_hz=made_of.frequency_at)
    scenario = named_scenario(SCENARIO[landscape.hardware])
    return landscape, space_cost(landscape.space, table, made_of, scenario, cache_dir=str(CACHE))


@lru_cache(maxsize=1)
def setting(name: str, mode: str) -> Setting:
    """The problem and its exact optimum, which is kept beside the results."""
    landscape, costs = costs_of(name)
    limit = LATENCY_LIMIT[landscape.hardware] if mode in ("carbon", "energy") else None
    costs = replace(costs, objectives=Objectives(MODES[mode]), limits=Limits(latency=limit))
    problem = costs.problem()
    problem = replace(problem, fronts=problem.fronts.where(landscape.known))
    path = RESULTS / f"optimum-{name}-{mode}.json"
    fixed = {"version": VERSION, "reference": list(problem.reference), "models": int(landscape.known.sum())}
    kept = json.loads(path.read_text()) if path.exists() else {}
    if any(kept.get(key) != value for key, value in fixed.items()):
        kept = fixed | {"optimum": best_possible(problem, np.nan_to_num(landscape.accuracy))}
        write(path, kept)
    return Setting(landscape, costs, problem, kept["optimum"])


def chooser_of(job: Job, found: Setting) -> Strategy:
    """The strategy of a run."""
    if job.strategy == "qnehvi-fair":
        from catransformers.search.strategies.qnehvi import QNehvi

        return QNehvi(found.problem, job.seed, found.costs, same_start=True, learn_logit=True)
    return strategy(job.strategy, found.problem, job.seed, found.costs)


def run(job: Job, trials: int) -> str:
    """Do what is missing of one run; returns a line that says how it stands."""
    import torch

    torch.set_num_threads(1)
    found = setting(job.landscape, job.mode)
    kept = json.loads(job.path.read_text()) if job.path.exists() else {}
    if kept.get("version") != VERSION or not math.isclose(kept["optimum"], found.optimum, rel_tol=1e-9):
        kept = {"version": VERSION, **asdict(job), "optimum": found.optimum, "trials": []}
    chooser, done = chooser_of(job, found), kept["trials"]
    while len(done) < trials:
        before = time.process_time()
        observed = [Observation(trial["model"], trial["observed"]) for trial in done]
        if isinstance(chooser, DesignStrategy):
            proposal = chooser.ask(observed, [], len(done), ran_on=[trial["accelerator"] for trial in done])
        else:
            proposal = chooser.ask(observed, [], len(done))
        seconds = time.process_time() - before
        if proposal is None:
            break
        done.append(
            {
                "model": proposal.index,
                "accelerator": proposal.accelerator,
                "origin": proposal.origin,
                "observed": found.landscape.observe(proposal.index, job.seed),
                "accuracy": float(found.landscape.accuracy[proposal.index]),
                "seconds": round(seconds, 3),
            }
        )
        write(job.path, kept)
    add_shares(found, done)
    write(job.path, kept)
    last = done[-1]
    spent = sum(trial["seconds"] for trial in done)
    return f"{job.name}: {len(done)} trials, as run {last['as_run']:.4f}, trained {last['trained']:.4f}, {spent:.0f} s"


def add_shares(found: Setting, done: list[dict[str, Any]]) -> None:
    """Add to each trial the share of the optimum's hypervolume that was reached with it, judged both ways."""
    trials = [Tried(trial["model"], trial["accuracy"], trial["accelerator"]) for trial in done]
    trained = curve(found.problem, trials)
    chose = any(trial.accelerator is not None for trial in trials)
    as_run = curve_as_run(found.costs, trials) if chose else trained
    for trial, one, other in zip(done, as_run, trained, strict=True):
        trial["as_run"], trial["trained"] = round(one / found.optimum, 6), round(other / found.optimum, 6)
        row = trial["accelerator"]
        if row is not None or len(found.problem.reference) == 1:  # a whole front a trial would be too long to keep
            designs = found.costs.designs(trial["model"])
            rows = [found.costs.accelerator[trial["model"]] if row is None else row]
            trial["costs"] = designs.points(np.array(rows), found.problem.objectives.minimise).tolist()
            if not designs.within[rows].all():
                trial["costs"] = []


def designs_of(kept: dict[str, Any], trial: dict[str, Any]) -> list[list[float]]:
    """The costs of what a trial brought: the design that was run, or the model's whole hardware front."""
    if "costs" in trial:
        return list(trial["costs"])
    return setting(kept["landscape"], kept["mode"]).problem.fronts.points_of(trial["model"]).tolist()


def write(path: Path, data: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(data, indent=1) + "\n")
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="PATTERN", help="landscape/mode/strategy/seed, wildcards *")
    parser.add_argument("--trials", type=int, default=100, help="trials a run (default 100)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--table", action="store_true", help="print the table of the results that are there")
    parser.add_argument("--attainment", metavar="LANDSCAPE/MODE/STRATEGY", help="print attainment surfaces (moocore)")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw the kept results as .svg or .png, nothing else"
    )
    args = parser.parse_args()
    if args.figure:
        kind = args.figure.suffix.removeprefix(".")
        if kind not in ("svg", "png"):
            parser.error(f"--figure {args.figure}: the file's name ends in .svg or .png")
        runs = kept_runs(args.only or ["*/carbon/*"])
        if not runs:
            parser.error("--only: no results of that name are kept")
        args.figure.write_bytes(report.figure(runs, kind))
        return
    if args.attainment:
        print(report.attainment(kept_runs([f"{args.attainment}/*"]), designs_of))
        return
    if not args.table:
        run_all(
            [job for job in jobs() if any(fnmatch(job.name, p) for p in args.only or ["*"])], args.trials, args.jobs
        )
    print(report.table(kept_runs(args.only or ["*"])))


def named(patterns: list[str]) -> list[Job]:
    """The runs whose names are like one of the patterns."""
    return [job for job in jobs() if any(fnmatch(job.name, pattern) for pattern in patterns)]


def kept_runs(patterns: list[str]) -> list[dict[str, Any]]:
    """The results that are there, of runs with such names."""
    chosen = named(patterns)
    found = [json.loads(job.path.read_text()) for job in chosen if job.path.exists()]
    judged = [kept | {"trials": [trial for trial in kept["trials"] if "trained" in trial]} for kept in found]
    return [kept for kept in judged if kept["version"] == VERSION and kept["trials"]]


def run_all(chosen: list[Job], trials: int, workers: int) -> None:
    """Do the runs, those of landscapes that are not there with a word of why left out."""
    if not chosen:
        sys.exit("no run has such a name; they are landscape/mode/strategy/seed, like smooth/carbon/sobol/0")
    for name in {job.landscape for job in chosen}:
        try:
            LANDSCAPES[name]()
        except TooFewMeasuredError as error:
            print(f"left out: landscape {name}: {error}", file=sys.stderr)
            chosen = [job for job in chosen if job.landscape != name]
    for name, mode in sorted({(job.landscape, job.mode) for job in chosen}):
        setting(name, mode)  # fills the caches before workers share them
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run, job, trials): job for job in chosen}
        for number, future in enumerate(as_completed(futures), start=1):
            print(f"{number}/{len(futures)} {future.result()}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
