"""The posterior after the trials so far: the accuracy to expect of a model, and whether its training will succeed.

Trials that are still running count as if they had given what the process predicts (kriging believer; Ginsbourger,
Le Riche and Carraro, 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from catransformers.search.problem import Observation
from catransformers.search.space import FloatArray, IntArray, ModelSpace
from catransformers.search.strategies.surrogate import AccuracyModel, fit
from catransformers.search.strategies.training_success import success_probability


@dataclass(frozen=True)
class Posterior:
    """What is learnt from some trials; made by `posterior_of`.

    Args:
        model: of accuracy; it believes its predictions of pending trials.
        known: (n,) the models of trials that gave an accuracy.
        pending: (p,) those of trials that run.
        levels: (n + p,) their accuracies, as the model sees them.
        failed: (f, d) scaled dimensions of the models whose trials failed.
        succeeded: (n, d) of those that did not.
        taken: all models that are not to be proposed.
    """

    model: AccuracyModel
    known: IntArray
    pending: IntArray
    levels: FloatArray
    failed: FloatArray
    succeeded: FloatArray
    taken: frozenset[int]

    @property
    def trials(self) -> IntArray:
        """(n + p,) the models of `levels`."""
        return np.concatenate([self.known, self.pending])

    def predict(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of logit accuracy at scaled dimensions (m, d)."""
        return self.model.predict(points)

    def success_probability(self, points: FloatArray) -> FloatArray | None:
        """(m,) the probability that training there succeeds; None where nothing has failed, so that it is 1."""
        return success_probability(points, self.failed, self.succeeded)


def posterior_of(space: ModelSpace, observed: Sequence[Observation], pending: Sequence[int], seed: int) -> Posterior:
    """What the trials say, of which at least one must have given an accuracy.

    Args:
        space: the models.
        observed: finished trials, by number.
        pending: the models of trials that run.
        seed: of the restarts that follow a failed fit.
    """
    complete = [(trial.index, trial.accuracy) for trial in observed if trial.accuracy is not None]
    known, running = (np.array(some, dtype=np.int64) for some in ([index for index, _ in complete], pending))
    failed = np.array([trial.index for trial in observed if trial.accuracy is None], dtype=np.int64)
    points, believed = space.unit(known), space.unit(running)
    model = fit(points, np.array([accuracy for _, accuracy in complete]), seed=seed).believing(believed)
    return Posterior(
        model=model,
        known=known,
        pending=running,
        levels=expit(model.predict(np.concatenate([points, believed]))[0]),
        failed=space.unit(failed),
        succeeded=points,
        taken=frozenset((*(trial.index for trial in observed), *pending)),
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """The model to try next.

    Args:
        model: its number.
        gain: the improvement of the hypervolume that is expected of it.
        hypervolume: of what is known.
        candidates: how many models it was chosen from.
        details: further numbers behind the choice by name.
    """

    model: int
    gain: float
    hypervolume: float
    candidates: int
    details: tuple[tuple[str, float], ...] = ()
