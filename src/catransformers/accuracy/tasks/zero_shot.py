"""Zero-shot classification: a CLIP tells the user's classes apart by their names.

It is judged as in Radford et al. (ICML 2021, section 3.1.4), see `zero_shot_classifier`. It trains like any CLIP, on
images with their class's name in a template at random; images of one class are not negatives of one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from catransformers.accuracy.data import DataSource, Sample, open_data
from catransformers.accuracy.metrics.score import Score
from catransformers.accuracy.metrics.zero_shot_classifier import (
    DEFAULT_TEMPLATES,
    PLACES,
    Tokenize,
    class_vectors,
    classify,
    fill,
)
from catransformers.accuracy.tasks import PoolName
from catransformers.accuracy.tasks.image_classes import LabelledImage
from catransformers.accuracy.tasks.on_data import PairsTask, ReadImage, image_of, image_reader
from catransformers.accuracy.training.losses import contrastive_loss
from catransformers.errors import InputError, Problem, Problems
from catransformers.models.families.net import Batch, Net, Outputs

if TYPE_CHECKING:
    from catransformers.config.sections import AccuracySection
    from catransformers.models.loading.base import Base


@dataclass(frozen=True, slots=True)
class _Named:
    """A sample's image, its class, and the class's name in a template: any in training, else the first."""

    preprocess: ReadImage
    tokenize: Tokenize
    names: tuple[str, ...]
    templates: tuple[str, ...]
    training: bool

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        name = self.names[sample.label]
        template = self.templates[int(rng.integers(len(self.templates))) if self.training else 0]
        return {
            "images": image_of(sample, self.preprocess),
            "tokens": self.tokenize([fill(template, name)])[0],
            "labels": torch.tensor(self.names.index(name)),  # of two classes with one name, the first
        }


class ZeroShotTask(PairsTask):
    """Zero-shot classification of images; see the module.

    Args:
        source: with an image and a class a sample.
        section, preprocess, tokenize: see `PairsTask`.
        names: of the classes; None: the source's.
        templates: with a place for the name.

    Raises:
        InputError: if there is not a name for each class, or no name at all.
    """

    name = "zero-shot-classification"

    def __init__(
        self,
        source: DataSource,
        section: AccuracySection,
        preprocess: ReadImage,
        tokenize: Tokenize,
        names: Sequence[str] | None = None,
        templates: Sequence[str] = DEFAULT_TEMPLATES,
    ) -> None:
        super().__init__(source, section, preprocess, tokenize)
        if names is not None and len(names) != len(source.class_names):
            what = f"{len(names)} names, and the data have {len(source.class_names)} classes"
            shown = ", ".join(source.class_names[:5]) + (", …" if len(source.class_names) > 5 else "")
            raise InputError(Problem("accuracy.class_names", what, f"a name a line, in the order of {shown}"))
        self.names = tuple(source.class_names if names is None else names)
        self.templates = tuple(templates)

    def make(self, *, training: bool) -> _Named:
        """Image, class, and a text that names it."""
        return _Named(self.preprocess, self.tokenize, self.names, self.templates, training)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """CLIP's symmetric cross-entropy; other images of an image's class are left out of its negatives."""
        logits = outputs["logit_scale"].exp() * outputs["image"] @ outputs["text"].T
        return contrastive_loss(logits, batch["labels"][:, None])

    def judged(self, net: Net, pool: PoolName) -> Score:
        """Accuracy, with top-5 accuracy and mean recall over classes."""
        vectors = class_vectors(net, self.tokenize, self.names, self.templates)
        return classify(net, vectors, self.pool(pool, LabelledImage(self.preprocess)))


def read_names(path: Path, where: str) -> tuple[str, ...]:
    """The lines of a text file that are not empty.

    Raises:
        InputError: if it cannot be read, or has none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(Problem(where, f"{path} cannot be read: {error.strerror}", "a text file")) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem(where, f"{path} is not text in UTF-8", "a text file")) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise InputError(Problem(where, f"{path} is empty", "one a line"))
    return names


def read_templates(path: Path, where: str) -> tuple[str, ...]:
    """The templates of a text file, one a line.

    Raises:
        InputError: if it cannot be read, or a line has no place for the class's name; all at once.
    """
    templates = read_names(path, where)
    problems = Problems(
        Problem(where, f"{template!r} has no place for the name", " or ".join(PLACES))
        for template in templates
        if not any(place in template for place in PLACES)
    )
    problems.finish()
    return templates


def open_task(section: AccuracySection, base: Base) -> ZeroShotTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    problems = Problems()
    names: tuple[str, ...] | None = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    with problems.collect():
        if section.class_names is not None:
            names = read_names(Path(section.class_names), "accuracy.class_names")
    with problems.collect():
        if section.templates is not None:
            templates = read_templates(Path(section.templates), "accuracy.templates")
    problems.finish()
    source = open_data(section.data or "", "classes")
    return ZeroShotTask(source, section, image_reader(base), base.tokenizer(), names, templates)
