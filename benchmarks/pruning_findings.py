"""Which pruning hurts, and do importance scores help? Prints two tables; keeps every run as data.

The paper (arXiv 2505.01386) found on CLIP ViT-B/16 that vision suffers more than text, and that the front prunes FFN
and heads first, then layers, the embedding last. Here each dimension of each encoder of the embedded CLIP is halved by
itself, fine-tuned with several budgets, and compared with the unpruned base on the validation pool, pair by pair. Then
several dimensions at once are halved by each way to score importance, and by random scores (the control), without and
with a short fine-tune, over several seeds.

    .venv/bin/python benchmarks/pruning_findings.py --jobs 1      # about an hour of one core; resumable
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np

LEARNING_RATE = 3e-3  # of the demo's study
RESULTS = Path(__file__).parent / "results" / "pruning_findings.json"
DIMENSIONS = ("embed_dim", "layers", "ffn_dim", "heads")
BUDGETS = (0, 100, 1000)
METHODS = ("taylor", "leave-one-out", "magnitude", "activation", "random")


def jobs(seeds: int) -> dict[str, tuple[dict[str, float], str, int, int]]:
    """Name → (share that is kept by dimension, method, steps, seed)."""
    found = {}
    for stack in ("vision", "text"):
        for name in DIMENSIONS:
            for steps in BUDGETS:
                for seed in range(1 if steps == 0 else 3 if steps == 100 else 1):
                    key = f"half/{stack}.{name}/{steps}/{seed}"
                    found[key] = ({f"{stack}.{name}": 0.5}, "taylor", steps, seed)
    both = {f"{stack}.{name}": 0.5 for stack in ("vision", "text") for name in ("ffn_dim", "heads")}
    wide = both | {f"{stack}.embed_dim": 0.75 for stack in ("vision", "text")}
    for method in METHODS:
        for seed in range(seeds if method == "random" else 1):
            found[f"methods/{method}/0/{seed}"] = (wide, method, 0, seed)
        for seed in range(seeds):
            found[f"methods/{method}/20/{seed}"] = (wide, method, 20, seed)
    return found


def run(keep: dict[str, float], method: str, steps: int, seed: int) -> dict[str, float]:
    """One model pruned, fine-tuned and evaluated, on one thread."""
    import torch

    torch.set_num_threads(1)
    from catransformers.accuracy.metrics.score import paired_difference
    from catransformers.accuracy.tasks.scenes import ScenesTask
    from catransformers.accuracy.training.distillation import LiveTeacher
    from catransformers.accuracy.training.proxy import ProxySettings, fine_tune
    from catransformers.models.loading.storage import embedded_model
    from catransformers.models.pruning.importance import Methods, importance
    from catransformers.models.pruning.prune import prune

    base, task = embedded_model(), ScenesTask()
    methods = Methods(heads=method, ffn=method, embed=method)
    scores = importance(base, task.calibration_batches(64), task.loss, methods, seed=seed)
    full = base.spec.dimensions()
    spec = base.spec.with_dimensions({name: round(share * full[name]) for name, share in keep.items()})
    net = prune(base, spec, scores)
    settings = ProxySettings(steps=steps, seed=seed, learning_rate=LEARNING_RATE)
    fine_tune(net, task, settings, LiveTeacher(base) if steps else None)
    score = task.evaluate(net, "validation")
    difference, error = paired_difference(score, task.evaluate(base, "validation"))
    return {
        "accuracy": score.accuracy,
        "standard_error": score.standard_error,
        "difference": difference,
        "difference_se": error,
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="of the comparison of methods (default 5)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="run nothing, print what is there")
    args = parser.parse_args()
    from importlib.resources import files

    base = json.loads(files("catransformers.data").joinpath("embedded/model.json").read_text())
    settings = {"learning_rate": LEARNING_RATE, "base_sha256": base["sha256"]}
    data = json.loads(args.out.read_text()) if args.out.exists() else {}
    if data.get("settings") != settings:
        data = {"settings": settings, "runs": {}}
    todo = {} if args.table else {k: job for k, job in jobs(args.seeds).items() if k not in data["runs"]}
    order = sorted(todo, key=lambda key: todo[key][2])  # short ones first
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run, *todo[key]): key for key in order}
        for number, future in enumerate(as_completed(futures), start=1):
            data["runs"][futures[future]] = future.result()
            args.out.write_text(json.dumps(data, indent=1) + "\n")
            print(f"{number}/{len(todo)} {futures[future]}: {future.result()}", file=sys.stderr, flush=True)
    report(data["runs"])


def report(runs: dict[str, dict[str, float]]) -> None:
    """Both tables."""
    print("Recall@1 lost by halving one dimension, in points (mean over seeds, ± standard error of one difference)\n")
    print("| halved | parameters | " + " | ".join(f"{steps} steps" for steps in BUDGETS) + " |")
    print("|---|---:|" + "---:|" * len(BUDGETS))
    for stack in ("vision", "text"):
        for name in DIMENSIONS:
            cells = []
            for steps in BUDGETS:
                found = [run for key, run in runs.items() if key.startswith(f"half/{stack}.{name}/{steps}/")]
                if not found:
                    cells.append("–")
                    continue
                lost, error = (np.mean([run[key] for run in found]) for key in ("difference", "difference_se"))
                cells.append(f"{-100 * lost:.2f} ± {100 * error:.2f}")
                parameters = found[0]["parameters"]
            print(f"| {stack}.{name} | {parameters:,.0f} | " + " | ".join(cells) + " |")
    print("\nRecall@1 in % after halving FFN and heads and keeping 75 % of the width, by how importance is scored\n")
    print("| method | no fine-tune | 20 steps | seeds |\n|---|---:|---:|---:|")
    for method in METHODS:
        cells, number = [], 0
        for steps in (0, 20):
            found = [100 * run["accuracy"] for key, run in runs.items() if key.startswith(f"methods/{method}/{steps}/")]
            number = max(number, len(found))
            spread = f" (sd {np.std(found, ddof=1):.2f})" if len(found) > 1 else ""
            cells.append(f"{np.mean(found):.2f}{spread}" if found else "–")
        print(f"| {method} | {' | '.join(cells)} | {number} |")


if __name__ == "__main__":
    main()
