"""Similarity to the teacher: how much of what the base model makes of the user's data a pruned model still makes.

It needs no labels. A sample's similarity is 0 … 1: of unit vectors the cosine (images, and captions where there are
any), negative ones as 0; of distributions (classes, next tokens) what they share, Σ min(p, q) = 1 − their total
variation. What is trained on is `distillation.distance` to the base.

That distance is least, and flat, at the base itself: no part of the base has a gradient by which to judge its
importance. To second order, a change of the outputs costs what their curvature says, and that has a gradient in random
directions: for unit vectors 1 − cos = ½|Δz|², and r·z with a standard normal r changes by a normal number of variance
|Δz|²; for distributions KL = ½ Δᵀ F Δ with Fisher's F, the variance of Δᵀ∇ log p_y for a class y drawn from p. So
calibration batches carry random numbers, and their loss a term that is worth nothing but has that gradient.

Sources: Amari, Natural Gradient Works Efficiently in Learning, Neural Computation 10, 1998 (Fisher's information as the
curvature of the divergence); Theis et al., Faster Gaze Prediction with Dense Networks and Fisher Pruning, 2018 (arXiv
1801.05787; its use to judge importance).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from catransformers.accuracy.data import DataSource, Kind, open_data
from catransformers.accuracy.data.opening import LAYOUTS
from catransformers.accuracy.metrics.evaluation import BATCH, judge
from catransformers.accuracy.metrics.score import Score, score_of
from catransformers.accuracy.tasks import PoolName, Progress, unknown_pool
from catransformers.accuracy.tasks.image_classes import ImageClassesTask
from catransformers.accuracy.tasks.image_text import RetrievalTask
from catransformers.accuracy.tasks.language import LanguageTask, judged_rows
from catransformers.accuracy.tasks.on_data import DataTask, image_reader, text_length
from catransformers.accuracy.tasks.text_classes import TextClassesTask
from catransformers.accuracy.training.distillation import distance, taught
from catransformers.errors import InputError, Problem
from catransformers.models.families.net import Batch, Net, Outputs
from catransformers.workloads.families import family_of

if TYPE_CHECKING:
    from catransformers.config.sections import AccuracySection
    from catransformers.models.loading.base import Base

_VECTORS: Final = ("image", "text")


class SimilarityTask:
    """Similarity to a base; see the module.

    Args:
        inputs: a task on the data, for its batches; its loss and measure are not used.
        base: the net to be similar to, which is not to be trained itself. Its weights are shared, not copied, and
            move to the device of the batches.

    Raises:
        InputError: if the base gives features instead of distributions.
    """

    name = "teacher-similarity"
    pairwise = False

    def __init__(self, inputs: DataTask, base: Net) -> None:
        if family_of(base.spec).with_classes is not None and not base.spec.classes:
            what = "the base has no classifier: features of a pruned model cannot be compared with its own"
            raise InputError(Problem("accuracy.task", what, "a base with a trained classifier"))
        self.inputs = inputs
        # Hooks on the base (those of the importance scores) are not to act on what it is compared with.
        self._base = copy.deepcopy(base, {id(p): p for p in base.parameters()}).eval()

    @property
    def faults(self) -> dict[str, str]:
        """Why samples that were skipped could not be read, by their names."""
        return self.inputs.faults

    def train_batches(
        self, batch_size: int, seed: int, start: int = 0, *, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Endless batches of inputs; see `DataTask.train_batches`."""
        return self.inputs.train_batches(batch_size, seed, start, rank=rank, world_size=world_size)

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        """Inputs of the calibration split, and random numbers for the directions of the gradient."""
        return [
            {**batch, **self._directions(batch, number)}
            for number, batch in enumerate(self.inputs.calibration_batches(batch_size))
        ]

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The distance to what the base makes of the batch; in nats, for vectors 1 − cosine."""
        with torch.no_grad():
            target = self._taught(batch)
        value = distance(outputs, target, batch)
        if any(name.startswith("direction") for name in batch):
            slope = _slope(outputs, target, batch)
            value = value + (slope - slope.detach())
        return value

    def error(self, outputs: Outputs, batch: Batch) -> Tensor:
        """What a batch's mean similarity lacks to 1; there need not be any labels to be wrong about."""
        with torch.no_grad():
            return 1 - similarity(outputs, self._taught(batch), batch)["value"].double().mean()

    def evaluate(self, net: Net, pool: PoolName) -> Score:
        """Mean similarity on a pool; the net is left in its mode.

        Raises:
            InputError: for another name than `validation` and `test`, and if nothing of the pool can be read.
        """
        if pool not in ("validation", "test"):
            raise unknown_pool(pool)
        spec, rows = net.spec, BATCH
        if family_of(spec).generates:
            rows = judged_rows(spec.max_tokens, spec.vocab_size)
        batches, groups = self.inputs.judged_on(pool, rows)
        found = judge(net, batches, lambda outputs, batch: similarity(outputs, self._taught(batch), batch))
        values = found.pop("value").double().numpy()
        return score_of(values, groups, {name: float(rows.double().mean()) for name, rows in found.items()})

    def check(self, progress: Progress | None = None) -> None:
        """Read all data once; see `DataTask.check`."""
        self.inputs.check(progress)

    def _taught(self, batch: Batch) -> dict[str, Tensor]:
        device = next(iter(batch.values())).device
        if next(self._base.parameters()).device != device:
            self._base.to(device)
        return taught(self._base.outputs(batch))

    def _directions(self, batch: Batch, number: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(number)
        spec, inputs = self._base.spec, next(iter(batch.values()))
        if family_of(spec).pairs:
            shape = (len(inputs), spec.projection_dim)
            return {
                f"direction_{name}": torch.randn(shape, generator=generator)
                for name, key in zip(_VECTORS, ("images", "tokens"), strict=True)
                if key in batch
            }
        places = batch["tokens"].shape if family_of(spec).generates else (len(inputs),)
        return {"direction": torch.rand(places, generator=generator)}


def _slope(outputs: Outputs, target: Outputs, batch: Batch) -> Tensor:
    """The mean over samples of the term whose random gradient has the distance's curvature as its variance."""
    if "logits" not in target:
        parts = [(outputs[name] * batch[f"direction_{name}"]).sum(dim=-1) for name in _VECTORS if name in target]
        return torch.stack(parts).sum(dim=0).mean()
    sums = target["logits"].float().softmax(dim=-1).cumsum(dim=-1)
    drawn = (sums < batch["direction"][..., None]).sum(dim=-1).clamp_max(sums.shape[-1] - 1)  # classes or tokens
    nll = -outputs["logits"].float().log_softmax(dim=-1).gather(-1, drawn[..., None])[..., 0]
    if nll.dim() == 1:
        return nll.mean()
    real = _predicting(batch, nll)
    # The distance is a mean over tokens: a sum of n independent terms over √n has the mean of their variances.
    return ((nll[:, :-1] * real).sum(dim=1) / real.sum(dim=1).clamp_min(1).sqrt()).mean()


def _predicting(batch: Batch, like: Tensor) -> Tensor:
    """(b, s − 1) ones where a token predicts a real one."""
    mask = batch.get("mask")
    return torch.ones_like(like[:, 1:]) if mask is None else mask[:, 1:].to(like.dtype)


def similarity(outputs: Outputs, target: Outputs, batch: Batch) -> dict[str, Tensor]:
    """`value` (b,), a sample's similarity 0 … 1, and metrics (b,); what is not a number is 0.

    The metrics are the cosines (`image_cosine`, `text_cosine`), or how often the likeliest class or token is the same
    (`agreement`).
    """
    if "logits" not in target:
        cosines = {
            f"{name}_cosine": (outputs[name].float() * target[name].float()).sum(dim=-1).nan_to_num(0.0)
            for name in _VECTORS
            if name in target
        }
        return {"value": torch.stack(list(cosines.values())).clamp(0, 1).mean(dim=0), **cosines}
    p, q = (logits["logits"].float() for logits in (outputs, target))
    shared = torch.minimum(F.softmax(p, dim=-1), F.softmax(q, dim=-1)).sum(dim=-1).nan_to_num(0.0).clamp(0, 1)
    same = (p.argmax(dim=-1) == q.argmax(dim=-1)).to(shared.dtype)
    if shared.dim() == 1:
        return {"value": shared, "agreement": same}
    real = _predicting(batch, shared)
    number = real.sum(dim=1).clamp_min(1)
    return {name: (part[:, :-1] * real).sum(dim=1) / number for name, part in (("value", shared), ("agreement", same))}


def kinds_of(net: Net) -> tuple[Kind, ...]:
    """The kinds of data that a net reads, in the order in which they are looked for."""
    family = family_of(net.spec)
    if family.vision is None:
        return ("texts", "plain")
    return ("captions", "classes") if family.pairs else ("classes", "captions")


def open_task(section: AccuracySection, base: Base) -> SimilarityTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    kind, source = _open_any(section.data or "", kinds_of(base.net))
    return SimilarityTask(_inputs(kind, source, section, base), base.net)


def _inputs(kind: Kind, source: DataSource, section: AccuracySection, base: Base) -> DataTask:
    """A task that makes batches of a source for a base."""
    family = family_of(base.net.spec)
    if family.pairs and kind == "captions":
        return RetrievalTask(source, section, image_reader(base), base.tokenizer())
    if family.vision is not None:
        return ImageClassesTask(source, section, image_reader(base))
    length, tokenizer = text_length(section, base), base.text_tokenizer()
    if family.generates and kind == "plain":
        return LanguageTask(source, section, tokenizer, length)
    return TextClassesTask(source, section, tokenizer, length)


def _open_any(path: str, kinds: tuple[Kind, ...]) -> tuple[Kind, DataSource]:
    """The data at a path, as the first of some kinds that it can be read as.

    Raises:
        InputError: with what is wrong with it as each of them.
    """
    problems: list[Problem] = []
    for kind in kinds:
        # Any file is plain text; a table with a mistake is not to be read as such.
        if kind == "plain" and any(layout.fits(Path(path).expanduser()) for layout in LAYOUTS["texts"]):
            continue
        try:
            return kind, open_data(path, kind)
        except InputError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    raise InputError(problems)
