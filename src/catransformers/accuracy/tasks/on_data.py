"""What all tasks on users' data share: splits into batches, pools and calibration data out of a source.

A task says how a sample becomes tensors, and how a net is judged; this does the rest. Pools and calibration data are a
fixed draw from their splits, because data often comes class by class: the first thousand images of such a split would
show a few classes only. A sample that cannot be read is skipped, kept in `faults`, and told on standard error, which is
a trial's log.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from catransformers.accuracy import data
from catransformers.accuracy.data import DataSource, Sample, UnreadableError
from catransformers.accuracy.metrics.evaluation import BATCH
from catransformers.accuracy.metrics.zero_shot_classifier import Tokenize
from catransformers.accuracy.tasks import PoolName, Progress, unknown_pool
from catransformers.errors import InputError, Problem
from catransformers.workloads.families import family_of

if TYPE_CHECKING:
    from catransformers.accuracy.metrics.score import Score
    from catransformers.config.sections import AccuracySection
    from catransformers.models.families.net import Batch, Net, Outputs
    from catransformers.models.loading.base import Base
    from catransformers.models.loading.preprocess import Preprocess
    from catransformers.models.loading.tokenizer import TextTokenizer

#: The most samples that importance is measured on.
CALIBRATION_SAMPLES: Final = 512

#: Tokens of a block of text where the study does not say.
LANGUAGE_TOKENS: Final = 256

#: An opened image → (3, h, w), as a base wants it.
ReadImage = Callable[[Image.Image], Tensor]
#: A sample and its random generator → tensors by name, without the batch's dimension.
Make = Callable[[Sample, np.random.Generator], dict[str, Tensor]]
Collate = Callable[[Sequence[data.loader.Made]], dict[str, Tensor]]


class DataTask(ABC):
    """A task on a source of samples; see the module and `catransformers.accuracy.tasks.Task`.

    Args:
        source: the data.
        section: gives `workers` and `pool_samples`.
    """

    name: ClassVar[str]
    pairwise: ClassVar[bool] = False

    def __init__(self, source: DataSource, section: AccuracySection) -> None:
        self.source = source
        self.workers, self.pool_samples = section.workers, section.pool_samples
        #: Why samples that were skipped could not be read, by their names.
        self.faults: dict[str, str] = {}

    @abstractmethod
    def make(self, *, training: bool) -> Make:
        """How a sample becomes tensors; what is random about it only in training."""

    def collate(self) -> Collate:
        """How samples become a batch."""
        return data.stack

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The scalar mean of the batch's samples' losses, in nats."""

    @abstractmethod
    def judged(self, net: Net, pool: PoolName) -> Score:
        """How good a net is on a pool that there is."""

    def train_batches(
        self, batch_size: int, seed: int, start: int = 0, *, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Endless batches in a new order every epoch; a sample at most once a batch.

        Args:
            batch_size: samples a batch, over all processes; a smaller training set gives batches of its own size.
            seed: of the order and of all that is random.
            start: number of the first batch; nothing before it is read.
            rank: this process's number of `world_size`.
            world_size: processes that share every batch.
        """
        return data.batches(
            self.source,
            self.source.splits["train"],
            self.make(training=True),
            batch_size,
            seed,
            start=start,
            workers=self.workers,
            on_fault=self._note,
            rank=rank,
            world_size=world_size,
            collate=self.collate(),
        )

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        """At most 512 samples of the calibration split; where samples are compared, no batch of one."""
        indices = drawn(self.source.splits["calibration"], CALIBRATION_SAMPLES)
        found = list(self.in_order(indices, self.make(training=False), batch_size))
        return [batch for batch in found if not self.pairwise or len(next(iter(batch.values()))) > 1]

    def evaluate(self, net: Net, pool: PoolName) -> Score:
        """How good a net is on a pool; it is left in its mode.

        Raises:
            InputError: for another name than `validation` and `test`, and if nothing of the pool can be read.
        """
        if pool not in ("validation", "test"):
            raise unknown_pool(pool)
        return self.judged(net, pool)

    def check(self, progress: Progress | None = None) -> None:
        """Read all data once, and decode every image.

        Args:
            progress: called now and then with how many of how many samples were looked at.

        Raises:
            InputError: for everything that cannot be read, counted, with examples.
        """
        data.check(self.source, progress=progress)

    def pool(self, pool: PoolName, make: Make | None = None, batch_size: int = BATCH) -> Iterator[Batch]:
        """The samples of a pool, at most `pool_samples`, drawn from their split; made by `make` if given."""
        indices = drawn(self.source.splits[pool], self.pool_samples)
        return self.in_order(indices, make or self.make(training=False), batch_size)

    def judged_on(self, pool: PoolName, batch_size: int) -> tuple[Iterator[Batch], NDArray[np.int64] | None]:
        """Inputs of a pool, sample by sample, and the group of each sample; None: each is a group of its own."""
        return self.pool(pool, batch_size=batch_size), None

    def in_order(
        self, indices: Sequence[int], make: Make, batch_size: int, *, collate: Collate | None = None
    ) -> Iterator[Batch]:
        """Samples one after the other, without those that cannot be read."""
        return data.in_order(
            self.source,
            indices,
            make,
            batch_size,
            workers=self.workers,
            on_fault=self._note,
            collate=collate or self.collate(),
        )

    def _note(self, name: str, reason: str) -> None:
        if name not in self.faults:
            self.faults[name] = reason
            sys.stderr.write(f"{name} is skipped: {reason}\n")


class PairsTask(DataTask):
    """A task of a CLIP: images beside texts.

    Args:
        source: with an image a sample.
        section: gives `workers` and `pool_samples`.
        preprocess: an opened image → (3, h, w); the base model's.
        tokenize: captions (n) → (n, context); the base model's.
    """

    pairwise = True

    def __init__(self, source: DataSource, section: AccuracySection, preprocess: ReadImage, tokenize: Tokenize) -> None:
        super().__init__(source, section)
        self.preprocess, self.tokenize = preprocess, tokenize


def drawn(indices: Sequence[int], most: int) -> list[int]:
    """All of some indices, or `most` of them: always the same draw, in their order."""
    if len(indices) <= most:
        return list(indices)
    chosen = np.random.default_rng(len(indices)).choice(len(indices), most, replace=False)
    return [indices[i] for i in np.sort(chosen)]


def image_reader(base: Base) -> Preprocess:
    """How a base wants its images.

    Raises:
        InputError: if it does not say.
    """
    if base.preprocess is None:
        what = f"{base.name!r} does not say how it wants its images"
        hint = "put its preprocessor_config.json (Hugging Face) or config.json (timm) beside its weights"
        raise InputError(Problem("model.base", what, hint=hint))
    return base.preprocess


def image_of(sample: Sample, preprocess: ReadImage) -> Tensor:
    """A sample's image as a net wants it, (3, h, w).

    Raises:
        UnreadableError: if it is missing or broken.
    """
    if sample.image is None:
        raise UnreadableError("it has no image")
    image = sample.image.open()
    try:
        return preprocess(image)
    except (OSError, ValueError) as error:
        raise UnreadableError(str(error).splitlines()[0]) from error


def text_length(section: AccuracySection, base: Base) -> int:
    """Tokens of a text: what the study says; else what a BERT is used on, and 256 of a Llama at most.

    Raises:
        InputError: if the model admits fewer.
    """
    spec = base.net.spec
    usual = min(LANGUAGE_TOKENS, spec.max_tokens) if family_of(spec).generates else spec.encoder.tokens
    length: int = usual if section.tokens is None else section.tokens
    if length > spec.max_tokens:
        what = f"{length} are more than {base.name!r} admits"
        raise InputError(Problem("accuracy.tokens", what, f"2 to {spec.max_tokens}"))
    return length


def text_of(sample: Sample, tokenizer: TextTokenizer, length: int) -> dict[str, Tensor]:
    """A sample's text, or pair of texts, as `tokens`, `mask` and `types`, each (length,).

    Raises:
        UnreadableError: if it has none.
    """
    if not sample.texts:
        raise UnreadableError("it has no text")
    text = sample.texts[0] if len(sample.texts) == 1 else (sample.texts[0], sample.texts[1])
    return {name: rows[0] for name, rows in tokenizer.encode([text], length).items()}


def trimmed(made: Sequence[data.loader.Made]) -> dict[str, Tensor]:
    """A batch of texts without the columns that are padding in all of them; a drop-in for `data.stack`."""
    batch = data.stack(made)
    length = max(1, int(batch["mask"].sum(dim=1).max()))
    text = ("tokens", "mask", "types")
    return {name: tensor[:, :length] if name in text else tensor for name, tensor in batch.items()}


def for_classifier(source: DataSource, base: Base) -> DataSource:
    """A source for a base's classifier: with its classes in the order of the base's, where both have the same names.

    Data count their classes by name or by number, and a published classifier may do otherwise (MNLI's): its outputs
    would be taken for other classes than it was trained for.

    Raises:
        InputError: if it tells another number of classes apart.
    """
    number, classes = len(source.class_names), base.net.spec.classes
    if number != classes:
        has = f"tells {classes} apart" if classes else "has no classifier"
        what = f"{number} classes, and {base.name!r} {has}"
        hint = f"with model.classes = {number} it gets a new classifier"
        raise InputError(Problem("accuracy.data", what, hint=hint))
    return data.in_order_of(source, base.class_names)
