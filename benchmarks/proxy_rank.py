"""Does the short fine-tune rank models as a long one would? Prints one table; keeps every run as data.

For random specs of the embedded study: prune, fine-tune with the study's proxy (100 steps) and ten times longer,
compare the ranks (Spearman) over all specs, and within a narrow band of work (MACs), because size alone already ranks
models well. The proxy is repeated with another seed, which bounds what any ranking can reach. Validation pool only.

    .venv/bin/python benchmarks/proxy_rank.py --jobs 2        # about half an hour on two cores; resumable
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

LEARNING_RATE = 3e-3  # of the demo's study
RESULTS = Path(__file__).parent / "results" / "proxy_rank.json"


def sample_specs(overall: int, band: int, seed: int) -> list[dict]:
    """`overall` random specs of the demo's space, then `band` with 60 % ± 2.5 % of the base's MACs."""
    from catransformers.search.space import model_space
    from catransformers.workloads import families
    from catransformers.workloads.zoo import embedded_spec

    base = embedded_spec()
    space = model_space(base)
    full = families.workload(base).macs
    order = np.random.default_rng(seed).permutation(space.size)
    chosen = [{"group": "overall", "index": int(i)} for i in order[:overall]]
    for i in order[overall:]:
        if abs(families.workload(space.spec(int(i))).macs / full - 0.60) <= 0.025:
            chosen.append({"group": "band", "index": int(i)})
            if len(chosen) == overall + band:
                break
    for item in chosen:
        item["macs"] = families.workload(space.spec(item["index"])).macs
        item["dimensions"] = space.spec(item["index"]).dimensions()
    return chosen


def run(index: int, steps: int, seed: int) -> dict:
    """One model pruned, fine-tuned and evaluated, on one thread."""
    import torch

    torch.set_num_threads(1)
    from catransformers.accuracy.tasks.scenes import ScenesTask
    from catransformers.accuracy.training.distillation import KeptTeacher, make_targets
    from catransformers.accuracy.training.proxy import ProxySettings, fine_tune
    from catransformers.models.loading.storage import embedded_model
    from catransformers.models.pruning.importance import importance
    from catransformers.models.pruning.prune import prune
    from catransformers.search.space import model_space

    model, task = embedded_model(), ScenesTask()
    scores = importance(model, task.calibration_batches(64), task.loss)
    pruned = prune(model, model_space(model.spec).spec(index), scores)
    settings = ProxySettings(steps=steps, seed=seed, learning_rate=LEARNING_RATE)
    targets = make_targets(model, task, steps=steps, batch_size=settings.batch_size, seed=seed)
    result = fine_tune(pruned, task, settings, KeptTeacher(targets))
    score = task.evaluate(pruned, "validation")
    return {"accuracy": score.accuracy, "standard_error": score.standard_error, "seconds": result.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overall", type=int, default=24, help="random specs (default 24)")
    parser.add_argument("--band", type=int, default=20, help="specs within the band of MACs (default 20)")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--factor", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    from importlib.resources import files

    from catransformers.workloads.zoo import embedded_spec

    base = json.loads(files("catransformers.data").joinpath("embedded/model.json").read_text())
    settings = {
        "steps": args.steps,
        "learning_rate": LEARNING_RATE,
        "factor": args.factor,
        "base_sha256": base["sha256"],
    }
    data = json.loads(args.out.read_text()) if args.out.exists() else {}
    if data.get("settings") != settings:
        data = {"settings": settings, "runs": {}}
    specs = sample_specs(args.overall, args.band, seed=1)
    data["specs"] = specs
    jobs = [
        (f"{item['index']}/{name}", item["index"], steps, seed)
        for item in specs
        for name, steps, seed in (
            ("proxy", args.steps, 0),
            ("repeat", args.steps, 1),
            ("long", args.steps * args.factor, 2),
        )
    ]
    todo = [job for job in jobs if job[0] not in data["runs"]]
    print(f"{len(jobs) - len(todo)} of {len(jobs)} runs are there, {len(todo)} to do", file=sys.stderr)
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run, *job[1:]): job[0] for job in todo}
        for number, future in enumerate(as_completed(futures), start=1):
            data["runs"][futures[future]] = future.result()
            args.out.write_text(json.dumps(data, indent=1) + "\n")
            print(f"{number}/{len(todo)} {futures[future]}: {future.result()}", file=sys.stderr, flush=True)
    report(data, embedded_spec())


def report(data: dict, base_spec: object) -> None:
    """The table: rank correlations with bootstrap intervals, and the noise of a repeat."""
    runs, specs = data["runs"], data["specs"]
    rng = np.random.default_rng(0)

    def column(name: str, items: list[dict]) -> np.ndarray:
        return np.array([runs[f"{item['index']}/{name}"]["accuracy"] for item in items])

    def line(label: str, a: np.ndarray, b: np.ndarray) -> str:
        rho = spearmanr(a, b).statistic
        draws = [rng.integers(0, len(a), len(a)) for _ in range(2000)]
        low, high = np.nanpercentile([spearmanr(a[d], b[d]).statistic for d in draws], [5, 95])
        return f"| {label} | {len(a)} | {rho:.3f} | {low:.2f} to {high:.2f} |"

    print("| comparison | models | Spearman | 90 % bootstrap |\n|---|---|---|---|")
    for group in ("overall", "band"):
        items = [item for item in specs if item["group"] == group]
        macs = np.array([item["macs"] for item in items])
        spread = "random specs" if group == "overall" else f"{macs.min() / 1e6:.2f} to {macs.max() / 1e6:.2f} MMAC"
        print(line(f"proxy against long, {spread}", column("proxy", items), column("long", items)))
        print(line(f"proxy against its repeat, {spread}", column("proxy", items), column("repeat", items)))
        print(line(f"MACs against long, {spread}", macs, column("long", items)))
    noise = column("proxy", specs) - column("repeat", specs)
    error = np.mean([runs[f"{item['index']}/proxy"]["standard_error"] for item in specs])
    gain = column("long", specs) - column("proxy", specs)
    print(f"\nRepeat with another seed: standard deviation of one run {noise.std(ddof=1) / np.sqrt(2):.4f} (recall@1);")
    print(f"standard error of one evaluation {error:.4f}; the long fine-tune adds {gain.mean():.3f} on average.")


if __name__ == "__main__":
    main()
