"""Accuracy landscapes whose true optimum is known, to judge search strategies on.

Of each model three things are told apart: its true accuracy, what one fine-tune observes (the truth plus luck), and its
exact costs. A strategy sees the observation and is judged by the truth, so that luck earns nothing.

**smooth**: a stand-in over the ViT-B-16 CLIP space (1,071,875 models). With x = (full − value) / (full / 2) the share
of a dimension that is pruned, 0 for the base and 1 for half of it,

    logit accuracy = logit 0.55 − Σ_d w_d x_d^1.4 − 0.25 x_layers x_embed (vision) − 0.10 x_layers x_embed (text).

The weights follow what the paper found the front to do (arXiv 2505.01386: it prunes FFN and heads first, then layers,
the embedding last; text more than vision): what is pruned last is what costs most accuracy.

    vision: embed_dim 0.75, layers 0.55, ffn_dim 0.25, heads 0.20;   text: 0.35, 0.25, 0.12, 0.08.

The base has a recall@1 of 0.55 and the smallest model 0.06: the size is made up, of the order of CLIP B/16 on MS COCO.
The exponent says that the first cuts are the cheap ones.

**rugged**: the same, made hard: two cliffs (vision embedding below 70 % and vision depth below 65 % of the base cost
0.5 and 0.4 logits more within a step), encoders of unlike depth do not fit each other (−0.5 |difference of the shares
kept|), heads that do not divide the embedding cost 0.1, and waves along single dimensions and pairs of them with fixed
phases (amplitudes 0.10 and 0.08 logits), which make local optima everywhere; the base is not the most accurate model.

**embedded**: really measured accuracies (tools/measure_landscape.py) of models of the embedded study, 419 of a space
of 576 in random order, each one fine-tuned as a trial would be. No noise is added: the table has its own. Models that
were not measured are left out.

The luck of a fine-tune is normal with standard deviation 0.01 in recall, and depends on the model and the run's seed
alone: all strategies of one seed meet the same luck.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from catransformers.search.space import FloatArray, IntArray, ModelSpace, model_space
from catransformers.workloads.zoo import embedded_spec, named_spec

MEASURED = Path(__file__).parent / "data" / "embedded_landscape.csv"
LEAST_MEASURED = 400  # models; below it the table's front says little about the space's
NOISE = 0.01  # standard deviation of one fine-tune's recall@1; benchmarks/proxy_rank.py measured 0.013
BASE_ACCURACY = 0.55
CURVATURE = 1.4
WEIGHTS = {
    "vision.layers": 0.55,
    "vision.ffn_dim": 0.25,
    "vision.embed_dim": 0.75,
    "vision.heads": 0.20,
    "text.layers": 0.25,
    "text.ffn_dim": 0.12,
    "text.embed_dim": 0.35,
    "text.heads": 0.08,
}
TOGETHER = {"vision": 0.25, "text": 0.10}  # what pruning depth and width together costs more


@dataclass(frozen=True)
class Landscape:
    """A space of models with the accuracy of each.

    Args:
        name: `smooth`, `rugged` or `embedded`.
        space: the models.
        accuracy: (models,) true accuracy; NaN for models that were not measured.
        noise: standard deviation of what one fine-tune observes.
        hardware: the accelerator space that its costs are reckoned on.
    """

    name: str
    space: ModelSpace
    accuracy: FloatArray
    noise: float
    hardware: str

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """(models,) whether the accuracy is known."""
        return np.isfinite(self.accuracy)

    def observe(self, index: int, seed: int) -> float:
        """What the fine-tune of model `index` says in the run of that seed; the same whenever it is asked."""
        return float(np.clip(self.accuracy[index] + self.noise * luck(index, seed), 0.0, 1.0))


def luck(index: int, seed: int) -> float:
    """Of model `index`'s fine-tune in the run of that seed, in standard deviations."""
    return float(np.random.default_rng([seed, index]).normal())


class TooFewMeasuredError(Exception):
    """The table of really fine-tuned models is not long enough yet; the message says how to go on."""


def smooth() -> Landscape:
    """Landscape (a): smooth, as the paper's findings have it."""
    space = model_space(named_spec("ViT-B-16"))
    return Landscape("smooth", space, expit(smooth_logit(space)), NOISE, "edge")


def rugged() -> Landscape:
    """Landscape (b): cliffs, interactions and local optima."""
    space = model_space(named_spec("ViT-B-16"))
    return Landscape("rugged", space, expit(rugged_logit(space)), NOISE, "edge")


def embedded(path: Path = MEASURED) -> Landscape:
    """Landscape (c): measured accuracies of the embedded study.

    Raises:
        TooFewMeasuredError: if fewer than `LEAST_MEASURED` models have been measured.
    """
    rows: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    if len(rows) < LEAST_MEASURED:
        raise TooFewMeasuredError(
            f"{path} holds {len(rows)} measured models, at least {LEAST_MEASURED} are needed; go on measuring with "
            "`.venv/bin/python tools/measure_landscape.py --jobs 2`"
        )
    base = embedded_spec()
    values = {name: tuple(sorted({int(row[name]) for row in rows})) for name in base.dimensions()}
    space = ModelSpace(base, values)
    accuracy = np.full(space.size, np.nan)
    for row in rows:
        accuracy[space.index({name: int(row[name]) for name in values})] = float(row["accuracy"])
    return Landscape("embedded", space, accuracy, 0.0, "micro")


LANDSCAPES: dict[str, Callable[[], Landscape]] = {"smooth": smooth, "rugged": rugged, "embedded": embedded}


def pruned_shares(space: ModelSpace, indices: IntArray | None = None) -> dict[str, FloatArray]:
    """By dimension, (models,): the share that is pruned, 0 for the base's size and 1 for half of it."""
    places, full = space.places(indices), space.base.dimensions()
    return {
        name: (2 * (1 - np.array(options) / full[name]))[places[:, column]]
        for column, (name, options) in enumerate(space.values.items())
    }


def smooth_logit(space: ModelSpace, indices: IntArray | None = None) -> FloatArray:
    """(models,) logit accuracy of landscape (a), of all models or some; of a finer space too."""
    x = pruned_shares(space, indices)
    result = np.full(space.size if indices is None else indices.size, float(logit(BASE_ACCURACY)))
    for name, weight in WEIGHTS.items():
        result -= weight * x[name] ** CURVATURE
    for encoder, weight in TOGETHER.items():
        result -= weight * x[f"{encoder}.layers"] * x[f"{encoder}.embed_dim"]
    return result


def rugged_logit(space: ModelSpace) -> FloatArray:
    """(models,) logit accuracy of landscape (b)."""
    x = pruned_shares(space)
    kept = {name: 1 - share / 2 for name, share in x.items()}
    result = smooth_logit(space)
    result -= 0.5 * expit((0.70 - kept["vision.embed_dim"]) / 0.01)
    result -= 0.4 * expit((0.65 - kept["vision.layers"]) / 0.01)
    result -= 0.5 * np.abs(kept["vision.layers"] - kept["text.layers"])
    places = space.places()
    column = {name: k for k, name in enumerate(space.names)}
    for encoder in TOGETHER:
        widths, heads = f"{encoder}.embed_dim", f"{encoder}.heads"
        value = {name: np.array(space.values[name])[places[:, column[name]]] for name in (widths, heads)}
        result -= 0.1 * (value[widths] % value[heads] != 0)
    rng = np.random.default_rng(20250501)
    names = list(x)
    for name in names:
        result += 0.10 * np.sin(2 * np.pi * (2 * x[name] + rng.random()))
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if rng.random() < 0.3:
                result += 0.08 * np.sin(2 * np.pi * (x[first] + x[second] * rng.choice([-1.0, 1.0]) + rng.random()))
    return result
