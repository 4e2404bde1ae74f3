"""Zero-shot classification or retrieval of one net on one data set, with the standard error of the accuracy.

Images that cannot be decoded are left out and told: a value without them is not quite the benchmark's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catransformers.accuracy.benchmark.finding import Dataset
from catransformers.accuracy.benchmark.ranking import recalls
from catransformers.accuracy.benchmark.reading import read_samples
from catransformers.accuracy.data import Faults, Sample, Samples, in_order
from catransformers.accuracy.metrics.evaluation import BATCH, judge
from catransformers.accuracy.metrics.score import Score
from catransformers.accuracy.metrics.zero_shot_classifier import Tokenize, class_vectors, classify
from catransformers.accuracy.tasks.image_classes import LabelledImage
from catransformers.accuracy.tasks.on_data import ReadImage
from catransformers.errors import InputError, Problem
from catransformers.models.families.net import Batch, Net

#: Told how many of how many images and texts are done.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DatasetScore:
    """How good a net is on a data set.

    Args:
        name: of the data set.
        group: of the averages.
        metric: which of `metrics` is `value`; for retrieval `recall@1` is the mean of both directions.
        value: 0 … 1.
        standard_error: of `value`; infinite where nothing can be said of it.
        n: images that it was measured on.
        skipped: images left out because they cannot be decoded.
        metrics: all that was measured: `acc1`, `acc5`, `mean_per_class_recall`, or `image_recall@k`, `text_recall@k`.
        notes: what the reader has to know.
    """

    name: str
    group: str
    metric: str
    value: float
    standard_error: float
    n: int
    skipped: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _Run:
    """A pass over a data set's images and texts that counts what it hands out and remembers what it left out."""

    def __init__(
        self,
        source: Samples,
        texts: int,
        preprocess: ReadImage,
        tokenize: Tokenize,
        batch_size: int,
        workers: int,
        progress: Progress | None,
    ) -> None:
        self.source, self.make, self.tokenizer = source, LabelledImage(preprocess), tokenize
        self.batch_size, self.workers, self.progress = batch_size, workers, progress
        self.faults, self.broken = Faults(), set[str]()
        self._done, self._of = 0, texts + len(source)

    def images(self) -> Iterator[Batch]:
        """The images in order, with their classes."""
        for batch in in_order(
            self.source,
            range(len(self.source)),
            self.make,
            self.batch_size,
            workers=self.workers,
            on_fault=self._note,
        ):
            yield batch
            self._advance(len(batch["images"]))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """The texts' tokens."""
        tokens = self.tokenizer(texts)
        self._advance(len(texts))
        return tokens

    def kept(self) -> list[Sample]:
        """The samples that were handed out, once all of them were."""
        return [sample for i, sample in enumerate(self.source.samples) if self.source.name(i) not in self.broken]

    def finish(self) -> None:
        """Nothing is left to do: what was left out counts as done."""
        self._advance(self._of - self._done)

    def _note(self, name: str, reason: str) -> None:
        self.broken.add(name)
        self.faults.add("an image that cannot be read is left out", f"{name}: {reason}")

    def _advance(self, by: int) -> None:
        self._done += by
        if self.progress and by:
            self.progress(self._done, self._of)


def evaluate_dataset(
    net: Net,
    dataset: Dataset,
    preprocess: ReadImage,
    tokenize: Tokenize,
    *,
    batch_size: int = BATCH,
    device: str | torch.device | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> DatasetScore:
    """How good a CLIP is on a data set that it was not trained for.

    Args:
        net: a CLIP; left in its mode, and on `device` where that is given.
        dataset: of `find_datasets`.
        preprocess: an opened image → (3, h, w).
        tokenize: texts (n) → ids (n, context).
        batch_size: images at a time; the value does not depend on it.
        device: where the net computes; None: where it is.
        workers: processes that decode images; 0: this one.
        progress: told how many of how many images and texts are done.

    Raises:
        InputError: with everything that is wrong with the data set, counted.
    """
    source = read_samples(dataset)
    if device is not None:
        net.to(device)
    retrieval = dataset.kind == "retrieval"
    texts = (
        sum(len(sample.captions) for sample in source.samples)
        if retrieval
        else len(dataset.class_names) * len(dataset.templates)
    )
    run = _Run(source, texts, preprocess, tokenize, batch_size, workers, progress)
    metrics, errors = _retrieval(net, run) if retrieval else _classification(net, run, dataset)
    run.finish()
    metric = dataset.known.metric
    if metric not in metrics:  # top-5 accuracy of five classes or fewer
        raise InputError(Problem(str(dataset.folder), f"its metric {metric} cannot be measured", ", ".join(metrics)))
    return DatasetScore(
        name=dataset.name,
        group=dataset.known.group,
        metric=metric,
        value=metrics[metric],
        standard_error=errors[metric],
        n=len(source) - len(run.broken),
        skipped=len(run.broken),
        metrics=metrics,
        notes=_notes(dataset, len(source), run.faults),
    )


def _classification(net: Net, run: _Run, dataset: Dataset) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics, and standard errors of those that can be a data set's main metric."""
    vectors = class_vectors(net, run.tokenize, dataset.class_names, dataset.templates)
    score = classify(net, vectors, run.images())
    labels = np.array([sample.label for sample in run.kept()])
    metrics = {"acc1": score.accuracy, "mean_per_class_recall": score.metrics["mean_per_class_recall"]}
    errors = {
        "acc1": score.standard_error,
        "mean_per_class_recall": standard_error_of_mean_recall(score.values, labels),
    }
    if "top_5" in score.metrics:
        metrics["acc5"] = score.metrics["top_5"]
        errors["acc5"] = _of_share(metrics["acc5"], len(labels))
    return metrics, errors


def _of_share(share: float, n: int) -> float:
    """Standard error of a share of n independent things, as `score_of` would tell."""
    return float(np.sqrt(share * (1 - share) / (n - 1))) if n > 1 else inf


def standard_error_of_mean_recall(hits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Standard error of the mean over classes of the share of hits (n,) in each.

    √(Σ_c p_c (1 − p_c) / (n_c − 1)) / C for C classes with n_c samples, of independent strata (Cochran, Sampling
    Techniques, 1977, theorem 5.3); infinite if a class has one sample, whose spread is unknown.
    """
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        return inf
    recall = np.bincount(index, weights=hits) / counts
    return float(np.sqrt(np.sum(recall * (1 - recall) / (counts - 1))) / len(counts))


def _retrieval(net: Net, run: _Run) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics, and the standard error of the main one."""
    images = judge(net, run.images(), lambda outputs, _: {"image": outputs["image"].float()})["image"]
    samples = run.kept()
    captions = [caption for sample in samples for caption in sample.captions]
    owners = torch.repeat_interleave(torch.tensor([len(sample.captions) for sample in samples]))
    batches = (
        {"tokens": run.tokenize(captions[start : start + run.batch_size])}
        for start in range(0, len(captions), run.batch_size)
    )
    texts = judge(net, batches, lambda outputs, _: {"text": outputs["text"].float()})["text"]
    score: Score = recalls(images, texts, owners)
    return {"recall@1": score.accuracy, **score.metrics}, {"recall@1": score.standard_error}


def _notes(dataset: Dataset, size: int, faults: Faults) -> tuple[str, ...]:
    """What differs from the published data set, and what was left out."""
    row = dataset.known
    notes = [row.note] if row.note else []
    if row.size is not None and size != row.size:
        notes.append(f"{size:,} images; the published data set has {row.size:,}")
    if row.classes is not None and len(dataset.class_names) != row.classes:
        notes.append(f"{len(dataset.class_names):,} classes; the published data set has {row.classes:,}")
    notes += [problem.what for problem in faults.problems(dataset.name)]
    return tuple(notes)
