"""A CLIP as a classifier of images without training: each class is a vector made of texts that name it.

The class's name is put into every template ("a photo of a {}."), the texts' unit vectors are averaged, and the mean is
normalised again: an ensemble over templates in the space of embeddings, which costs one vector a class. An image is of
the class whose vector is nearest by cosine.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, section 3.1.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from catransformers.accuracy.metrics.classification import Metric, class_score
from catransformers.accuracy.metrics.evaluation import BATCH, judge
from catransformers.accuracy.metrics.score import Score
from catransformers.models.families.net import Batch, Net

#: Where the class's name goes in a template: either of these.
PLACES: Final = ("{}", "{c}")
DEFAULT_TEMPLATES: Final = ("a photo of a {}.",)
METRICS: Final[tuple[Metric, ...]] = ("top_5", "mean_per_class_recall")

Tokenize = Callable[[Sequence[str]], Tensor]


def fill(template: str, name: str) -> str:
    """A template with a class's name in its places."""
    return re.sub("|".join(map(re.escape, PLACES)), lambda _: name, template)


def class_vectors(net: Net, tokenize: Tokenize, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """One unit vector a class: the normalised mean of the unit vectors of its name in all templates.

    Args:
        net: a CLIP, on the device to use; left in its mode.
        tokenize: texts (n) → ids (n, context).
        names: of the classes, in the order of their labels.
        templates: at least one, with a place for the name.

    Returns:
        (classes, p) float32, on the CPU.

    Reference: Radford et al. 2021, section 3.1.4.
    """
    texts = [fill(template, name) for name in names for template in templates]
    batches = ({"tokens": tokenize(texts[i : i + BATCH])} for i in range(0, len(texts), BATCH))
    text = judge(net, batches, lambda outputs, _: {"text": outputs["text"].float()})["text"]
    return F.normalize(text.view(len(names), len(templates), -1).mean(dim=1), dim=-1)


def classify(net: Net, vectors: Tensor, batches: Iterable[Batch]) -> Score:
    """How often the nearest class is the right one; beside it top-5 accuracy and the mean over classes of the recall.

    Args:
        net: a CLIP; left in its mode.
        vectors: (classes, p), of `class_vectors` with the same net.
        batches: with `images` and `labels`.

    Raises:
        InputError: if there are no images.
    """
    there = vectors.to(next(net.parameters()).device)
    found = judge(
        net,
        batches,
        lambda outputs, batch: {"scores": outputs["image"].float() @ there.T, "labels": batch["labels"]},
    )
    empty = {"scores": torch.zeros(0, len(vectors)), "labels": torch.zeros(0, dtype=torch.int64)}
    found = found or empty
    return class_score(found["scores"], found["labels"], METRICS)
