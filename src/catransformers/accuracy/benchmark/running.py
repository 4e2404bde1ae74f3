"""Benchmark run over all data sets of a folder: what is there is evaluated, what is broken is told, nothing stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import ClassVar, Literal

import torch

from catransformers.accuracy.benchmark.averages import Average, averages
from catransformers.accuracy.benchmark.evaluating import DatasetScore, evaluate_dataset
from catransformers.accuracy.benchmark.finding import Dataset, Failure, Found, find_datasets
from catransformers.accuracy.benchmark.known import find, known
from catransformers.accuracy.benchmark.results import Results, net_key, plain
from catransformers.accuracy.metrics.evaluation import BATCH
from catransformers.accuracy.metrics.zero_shot_classifier import Tokenize
from catransformers.errors import InputError, Problem, unknown_name
from catransformers.models.families.net import Net
from catransformers.models.loading.preprocess import Preprocess
from catransformers.workloads.families import family_of

#: Heads of the columns of `BenchmarkResult.rows`.


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a data set.

    Args:
        kind: `begins`, `advances`, `done`; `kept` if its value was measured before, `failed` if it cannot be.
        name: of the data set.
        number: of the data set, from 1.
        count: data sets there are.
        done: images and texts that are done, of one that advances.
        of: images and texts it has.
    """

    kind: Literal["begins", "advances", "done", "kept", "failed"]
    name: str
    number: int
    count: int
    done: int = 0
    of: int = 0


Listen = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """How good a net is on all data sets that were found.

    Args:
        scores: one a data set, in the table's order.
        failures: data sets that cannot be evaluated, and why.
        missing: names of the table that were wanted and are not there.
    """

    #: Headings of `rows`.
    columns: ClassVar[tuple[str, ...]] = ("data set", "group", "metric", "value", "± standard error", "images")

    scores: tuple[DatasetScore, ...]
    failures: tuple[Failure, ...]
    missing: tuple[str, ...]

    @property
    def averages(self) -> Mapping[str, Average]:
        """By group; see `averages`."""
        return averages(self.scores, len(self.scores) + len(self.failures))

    def rows(self) -> list[tuple[str, ...]]:
        """A table to print: a row a data set, then a row an average; values in per cent. See `columns`."""
        return [
            *(
                (
                    score.name,
                    score.group,
                    score.metric,
                    *_percent(score.value, score.standard_error),
                    f"{score.n:,}",
                )
                for score in self.scores
            ),
            *(
                (
                    f"{name}, {average.n} of {average.of}",
                    "",
                    "mean",
                    *_percent(average.value, average.standard_error),
                    "",
                )
                for name, average in self.averages.items()
            ),
        ]

    def to_dict(self) -> dict[str, object]:
        """Data for JSON with stable keys; a standard error that is infinite is null."""
        return {
            "datasets": [plain(score) for score in self.scores],
            "averages": {
                name: {
                    "value": average.value,
                    "standard_error": average.standard_error if isfinite(average.standard_error) else None,
                    "n": average.n,
                    "of": average.of,
                }
                for name, average in self.averages.items()
            },
            "failed": [
                {
                    "name": failure.name,
                    "folder": str(failure.folder),
                    "problems": [str(problem) for problem in failure.problems],
                }
                for failure in self.failures
            ],
            "missing": list(self.missing),
        }


def _percent(value: float, error: float) -> tuple[str, str]:
    return f"{100 * value:.2f} %", f"{100 * error:.2f}" if isfinite(error) else "–"


def evaluate_benchmark(
    net: Net,
    root: Path,
    out: Path,
    *,
    preprocess: Preprocess,
    tokenize: Tokenize,
    device: str | torch.device | None = None,
    batch_size: int = BATCH,
    workers: int = 0,
    names: Sequence[str] | None = None,
    listen: Listen | None = None,
) -> BenchmarkResult:
    """Zero-shot evaluation of a CLIP on the data sets of a folder.

    Every value is kept in `out/results.json` as soon as it is there; the next call measures only what is missing there.

    Args:
        net: a CLIP; left in its mode, and on `device` where that is given.
        root: the folder that holds the data sets' folders; see `finding`.
        out: the folder for the results; made if need be.
        preprocess: from image files to the net's images.
        tokenize: texts (n) → ids (n, context).
        device: where the net computes; None: where it is.
        batch_size: images at a time; no value depends on it.
        workers: processes that decode images; 0: this one.
        names: of the data sets to take, in any of their spellings; None: all that are there.
        listen: told what happens.

    Raises:
        InputError: if the net is no CLIP, images and net are of different sizes, no data set is there, or one that was
            asked for is unknown or not there; all at once.
        IntegrityError: if `out/results.json` is damaged.
        OSError: if `out` cannot be written.
    """
    _check_net(net, preprocess)
    found, missing = _chosen(find_datasets(root), root, names)
    results = Results(out, net_key(net, preprocess, tokenize))
    count, told = len(found.datasets) + len(found.failures), listen or (lambda _: None)
    scores: list[DatasetScore] = []
    failures = list(found.failures)
    for number, failure in enumerate(found.failures, start=1):
        told(Event("failed", failure.name, number, count))
    for number, dataset in enumerate(found.datasets, start=1 + len(found.failures)):
        kept = results.get(dataset)
        if kept is not None:
            scores.append(kept)
            told(Event("kept", dataset.name, number, count))
            continue
        told(Event("begins", dataset.name, number, count))
        try:
            score = evaluate_dataset(
                net,
                dataset,
                preprocess,
                tokenize,
                batch_size=batch_size,
                device=device,
                workers=workers,
                progress=_progress(dataset, number, count, told),
            )
        except InputError as error:
            failures.append(Failure(dataset.name, dataset.folder, error.problems))
            told(Event("failed", dataset.name, number, count))
            continue
        results.put(dataset, score)
        scores.append(score)
        told(Event("done", dataset.name, number, count))
    return BenchmarkResult(tuple(scores), tuple(failures), missing)


def _progress(dataset: Dataset, number: int, count: int, told: Listen) -> Callable[[int, int], None]:
    return lambda done, of: told(Event("advances", dataset.name, number, count, done, of))


def _check_net(net: Net, preprocess: Preprocess) -> None:
    """That the net can be judged so.

    Raises:
        InputError: if not.
    """
    if not family_of(net.spec).pairs:
        raise InputError(Problem("model", f"of family {net.spec.family!r}, which has no zero-shot evaluation", "clip"))
    size = net.spec.vision.image_size
    if preprocess.image_size != size:
        what = f"images of {preprocess.image_size} pixels for a net that takes {size}"
        raise InputError(Problem("preprocess", what))


def _chosen(found: Found, root: Path, names: Sequence[str] | None) -> tuple[Found, tuple[str, ...]]:
    """Of what was found, what was asked for, and the names of the table that are missing of it.

    Raises:
        InputError: if nothing is there, or not everything that was asked for.
    """
    parts: list[Dataset | Failure] = [*found.datasets, *found.failures]
    here = {part.name for part in parts}
    if not here:
        what = "none of clip-benchmark's data sets is there"
        hint = "one folder each, as published at huggingface.co/clip-benchmark, not the folder of a single one"
        raise InputError(Problem(str(root), what, "folders such as wds_imagenet1k, wds_vtab-cifar10", hint))
    if names is None:
        return found, found.missing
    by_spelling = {part.folder.name: part.name for part in parts}
    wanted: set[str] = set()
    problems: list[Problem] = []
    for name in names:
        row = find(name)
        meant = row.name if row else by_spelling.get(name, name)
        if meant in here:
            wanted.add(meant)
        elif row:
            problems.append(Problem(str(root), f"the data set {row.name!r} is not there", ", ".join(sorted(here))))
        else:
            problems.append(unknown_name("names", "data set", name, {*known(), *here}))
    if problems or not wanted:
        raise InputError(problems or Problem("names", "no data set is asked for"))
    return Found(
        tuple(dataset for dataset in found.datasets if dataset.name in wanted),
        tuple(failure for failure in found.failures if failure.name in wanted),
        (),
    ), ()
