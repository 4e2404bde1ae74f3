"""Image classification: cross-entropy and accuracy on the user's images, as they are (nothing is augmented)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from catransformers.accuracy.data import DataSource, Sample, open_data
from catransformers.accuracy.tasks.classes import ClassesTask
from catransformers.accuracy.tasks.on_data import ReadImage, for_classifier, image_of, image_reader

if TYPE_CHECKING:
    from catransformers.config.sections import AccuracySection
    from catransformers.models.loading.base import Base


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """A sample's image and class."""

    preprocess: ReadImage

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        """`images` and `labels`."""
        return {"images": image_of(sample, self.preprocess), "labels": torch.tensor(sample.label)}


class ImageClassesTask(ClassesTask):
    """Image classification; see the module.

    Args:
        source: with an image and a class a sample.
        section: gives `workers` and `pool_samples`.
        preprocess: an opened image → (3, h, w); the base model's.
    """

    name = "image-classification"
    metrics = ("top_5", "mean_per_class_recall")

    def __init__(self, source: DataSource, section: AccuracySection, preprocess: ReadImage) -> None:
        super().__init__(source, section)
        self.preprocess = preprocess

    def make(self, *, training: bool) -> LabelledImage:
        """Image and class."""
        return LabelledImage(self.preprocess)


def open_task(section: AccuracySection, base: Base) -> ImageClassesTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    source = for_classifier(open_data(section.data or "", "classes"), base)
    return ImageClassesTask(source, section, image_reader(base))
