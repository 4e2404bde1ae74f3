"""Text classification: single sentences, or pairs of them, as in GLUE.

Metrics beside accuracy are those that GLUE's tasks are quoted by: F1 of class 1 where there are two classes (MRPC,
QQP), and the correlation of Matthews (CoLA).

Source: Wang et al., GLUE, ICLR 2019, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from catransformers.accuracy.data import DataSource, Sample, open_data
from catransformers.accuracy.tasks.classes import ClassesTask
from catransformers.accuracy.tasks.on_data import Collate, for_classifier, text_length, text_of, trimmed
from catransformers.models.loading.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from catransformers.config.sections import AccuracySection
    from catransformers.models.loading.base import Base


@dataclass(frozen=True, slots=True)
class _LabelledText:
    """A sample's text or pair of texts, and its class."""

    tokenizer: TextTokenizer
    length: int

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        return text_of(sample, self.tokenizer, self.length) | {"labels": torch.tensor(sample.label)}


class TextClassesTask(ClassesTask):
    """Classification of sentences and pairs; see the module.

    Args:
        source: with one text or two, and a class, a sample.
        section: gives `workers` and `pool_samples`.
        tokenizer: the base model's.
        length: tokens of a text; longer ones are cut.
    """

    name = "text-classification"
    metrics = ("f1", "matthews")

    def __init__(self, source: DataSource, section: AccuracySection, tokenizer: TextTokenizer, length: int) -> None:
        super().__init__(source, section)
        self.tokenizer, self.length = tokenizer, length

    def make(self, *, training: bool) -> _LabelledText:
        """Tokens and class."""
        return _LabelledText(self.tokenizer, self.length)

    def collate(self) -> Collate:
        """Padding only as far as a text of the batch goes."""
        return trimmed


def open_task(section: AccuracySection, base: Base) -> TextClassesTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    length, tokenizer = text_length(section, base), base.text_tokenizer()
    source = for_classifier(open_data(section.data or "", "texts"), base)
    return TextClassesTask(source, section, tokenizer, length)
