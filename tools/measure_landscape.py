"""Really fine-tune every model of a small sub-space of the embedded study, and keep the accuracies as data.

A search strategy can be judged against the true optimum only where every answer is known. The sub-space takes the
least, (a middle) and the greatest value of each dimension: 3 × 2 × 3 × 2 for vision and 2 × 2 × 2 × 2 for text, 576
models. Each is pruned, fine-tuned with the demo's proxy (100 steps, the base as teacher) and evaluated on the
validation pool, as a trial would be. Hours on two cores; resumable: what is in the file is not run again.

    .venv/bin/python tools/measure_landscape.py --jobs 2      # goes on where the file in benchmarks/data ends
"""

from __future__ import annotations

import argparse
import csv
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from catransformers.accuracy.tasks.scenes import ScenesTask
from catransformers.accuracy.training.distillation import KeptTeacher, make_targets
from catransformers.accuracy.training.proxy import ProxySettings, fine_tune
from catransformers.models.families.clip import Clip
from catransformers.models.loading.storage import embedded_model
from catransformers.models.pruning.importance import Importance, importance
from catransformers.models.pruning.prune import prune
from catransformers.search.space import model_space
from catransformers.workloads.zoo import embedded_spec

OUT = Path(__file__).parents[1] / "benchmarks" / "data" / "embedded_landscape.csv"
STEPS, SEED = 100, 0  # of the demo's study
SETTINGS = ProxySettings(steps=STEPS, seed=SEED, learning_rate=3e-3)
#: How many values of each dimension: the least and the greatest, and with three the middle one.
LEVELS = {
    "vision.layers": 3,
    "vision.ffn_dim": 2,
    "vision.embed_dim": 3,
    "vision.heads": 2,
    "text.layers": 2,
    "text.ffn_dim": 2,
    "text.embed_dim": 2,
    "text.heads": 2,
}


def models() -> list[dict[str, int]]:
    """The dimensions of every model of the sub-space, in a fixed random order."""
    space = model_space(embedded_spec())
    choices = []
    for name, count in LEVELS.items():
        values = space.values[name]
        picked = np.linspace(0, len(values) - 1, count).round().astype(int)
        choices.append([int(values[i]) for i in picked])
    found = [dict(zip(LEVELS, row, strict=True)) for row in product(*choices)]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


@cache
def prepared() -> tuple[Clip, ScenesTask, Importance, KeptTeacher]:
    """What all trials of a process share: the base, the task, the parts' importance, what the base teaches."""
    model, task = embedded_model(), ScenesTask()
    scores = importance(model, task.calibration_batches(64), task.loss)
    targets = make_targets(model, task, steps=STEPS, batch_size=SETTINGS.batch_size, seed=SEED)
    return model, task, scores, KeptTeacher(targets)


def measure(dimensions: dict[str, int]) -> dict[str, float]:
    """Accuracy of one model after its short fine-tune, on one thread."""
    torch.set_num_threads(1)
    model, task, scores, teacher = prepared()
    pruned = prune(model, model.spec.with_dimensions(dimensions), scores)
    result = fine_tune(pruned, task, SETTINGS, teacher)
    score = task.evaluate(pruned, "validation")
    return {"accuracy": score.accuracy, "standard_error": score.standard_error, "seconds": result.seconds}


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--count", type=int, help="measure at most so many more (default: all that are missing)")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    columns = [*LEVELS, "accuracy", "standard_error", "seconds"]
    done = set()
    if args.out.exists():
        with args.out.open(newline="") as stream:
            done = {tuple(int(row[name]) for name in LEVELS) for row in csv.DictReader(stream)}
    everything = models()
    todo = [m for m in everything if tuple(m.values()) not in done][: args.count]
    print(f"{len(done)} of {len(everything)} models are there, {len(todo)} to do now", file=sys.stderr)
    with (
        args.out.open("a", newline="") as stream,
        ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool,
    ):
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        if stream.tell() == 0:
            writer.writeheader()
        futures = {pool.submit(measure, m): m for m in todo}
        for number, future in enumerate(as_completed(futures), start=1):
            found = {name: round(value, 6) for name, value in future.result().items()}
            writer.writerow({**futures[future], **found})
            stream.flush()
            print(f"{number}/{len(todo)} {found}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
