"""Where a space is too large to look at every model: a pool of models, and climbing from the best of them.

The pool is Sobol points of the whole space, drawn anew for each trial, and the neighbours of the trials on the front.
From the best of each range of sizes (the front wants improving at both of its ends and in the middle) a local search
goes on to the best neighbour until none is better: one dimension some steps up or down, or one a step up and one a
step down; then to the neighbours of the best models of all. These ranks use rough costs; in the end the best models
found are costed finely (`screening`), and from the best of those the search climbs on by fine costs, among the
neighbours whose rough costs promise enough. All is a function of the study's seed, the trial's number and what is
known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import qmc

from catransformers.search.costs.screening import Costed, Screen
from catransformers.search.space import FloatArray, IntArray, ModelSpace

POINTS = 4096  # Sobol points of a pool
RANGES = 32  # of sizes, from the best model of each of which one climbs
BEST = 16  # models all of whose neighbours are looked at in the end
ROUNDS = 64  # of climbing, at most
FINALISTS = 24  # models that are costed finely first
EVERY = 16  # up to so many values of a dimension, a move goes to any of them
FINE_ROUNDS = 8  # of climbing by fine costs, at most
FINE_NEIGHBOURS = 16  # that are costed finely in each
PROMISE = 0.7  # a neighbour is, if its rough gain is at least this share of the best fine one

#: What some models with some costs promise.
Gain = Callable[[IntArray, Costed], FloatArray]


@dataclass(frozen=True)
class View:
    """What models are ranked by.

    Args:
        screen: their quick costs.
        gain: what they promise.
        towards: where three costs or more are minimised, the direction in which they are one.
    """

    screen: Screen
    gain: Gain
    towards: FloatArray | None = None

    def rough(self, models: IntArray) -> FloatArray:
        """What models promise by their rough costs."""
        return self.gain(models, self.screen.rough(models, self.towards))

    def fine(self, models: IntArray) -> FloatArray:
        """By their fine costs; −∞ for those that may not be tried."""
        found = self.gain(models, self.screen.fine(models, self.towards))
        return np.where(self.screen.feasible(models, self.towards), found, -np.inf)


@dataclass(frozen=True)
class Found:
    """What a search over a large space found.

    Args:
        model: the most promising model.
        gain: what it promises, by its fine costs.
        looked_at: how many models were looked at.
        costed: how many of them by fine costs.
    """

    model: int
    gain: float
    looked_at: int
    costed: int


def neighbours(space: ModelSpace, models: IntArray) -> IntArray:
    """The models that are one move away from any of some models, each once, in rising order."""
    shape = np.array(space.shape)
    whole = np.eye(shape.size, dtype=np.int64)
    moves = []
    for k, count in enumerate(shape.tolist()):
        steps = range(1, count) if count <= EVERY else (1 << n for n in range(count.bit_length()))
        moves += [sign * step * whole[k] for step in steps for sign in (-1, 1)]
    for one, other in combinations(np.flatnonzero(shape > 1), 2):
        moves += [whole[one] - whole[other], whole[other] - whole[one]]
    if not moves:
        return np.empty(0, dtype=np.int64)
    places = (space.places(models)[:, None] + np.stack(moves)).reshape(-1, shape.size)
    places = places[((places >= 0) & (places < shape)).all(axis=1)]
    return np.unique(np.ravel_multi_index(tuple(places.T), space.shape))


def local_search(
    space: ModelSpace, view: View, taken: Collection[int], front: Sequence[int], seed: Sequence[int]
) -> Found | None:
    """The most promising model that is not taken.

    Args:
        space: the models.
        view: what they are ranked by.
        taken: models that are not to be proposed.
        front: the models of the trials on the front, whose neighbours belong to the pool.
        seed: of the pool.

    Returns:
        The model; None if none of those that were looked at may be tried.
    """
    climb = _Climb(view, taken)
    shape = np.array(space.shape)
    points = qmc.Sobol(shape.size, scramble=True, rng=np.random.default_rng(seed)).random(POINTS)
    places = np.minimum((points * shape).astype(np.int64), shape - 1)
    pool = np.ravel_multi_index(tuple(places.T), space.shape)
    climb.look(np.concatenate([pool, neighbours(space, np.array(front, dtype=np.int64))]))
    current = climb.best_by_size(space, RANGES)
    for _ in range(ROUNDS):
        climb.look(neighbours(space, current))
        following = np.unique([climb.best_of(neighbours(space, current[[k]]), current[k]) for k in range(current.size)])
        if np.array_equal(following, current):
            break
        current = following.astype(np.int64)
    seen = set(current.tolist())
    for _ in range(ROUNDS):
        new = [model for model in climb.best(BEST).tolist() if model not in seen]
        if not new:
            break
        seen.update(new)
        climb.look(neighbours(space, np.array(new, dtype=np.int64)))
    return _finely(space, climb, current)


def _finely(space: ModelSpace, climb: _Climb, peaks: IntArray) -> Found | None:
    """From the best models by rough costs to the best by fine ones."""
    fine: dict[int, float] = {}

    def cost(models: IntArray) -> None:
        new = np.array([model for model in models.tolist() if model not in fine], dtype=np.int64)
        if new.size:
            fine.update(zip(new.tolist(), climb.view.fine(new).tolist(), strict=True))

    # Half of the places go to the peaks, so that one broad hill does not take them all.
    cost(peaks[np.argsort([-climb.rough[model] for model in peaks.tolist()], kind="stable")][: FINALISTS // 2])
    cost(climb.best(FINALISTS))
    for _ in range(FINE_ROUNDS):
        if not fine:
            return None
        best = min(fine, key=lambda model: (-fine[model], model))
        around = neighbours(space, np.array([best]))
        climb.look(around)
        hopeful = [
            model
            for model in around.tolist()
            if model not in fine and climb.rough.get(model, -np.inf) >= PROMISE * fine[best]
        ]
        hopeful.sort(key=lambda model: (-climb.rough[model], model))
        cost(np.array(hopeful[:FINE_NEIGHBOURS], dtype=np.int64))
        if max(fine.values()) <= fine[best]:
            break
    allowed = {model: own for model, own in fine.items() if np.isfinite(own)}
    if not allowed:
        return None
    best = min(allowed, key=lambda model: (-allowed[model], model))
    return Found(best, allowed[best], len(climb.rough), len(fine))


class _Climb:
    """The models that were looked at, and what each promises by its rough costs."""

    def __init__(self, view: View, taken: Collection[int]) -> None:
        self.view, self._taken = view, frozenset(taken)
        self.rough: dict[int, float] = {}

    def look(self, models: IntArray) -> None:
        """Look at some models; those that are taken or were looked at before are passed over."""
        new = [m for m in dict.fromkeys(models.tolist()) if m not in self.rough and m not in self._taken]
        if new:
            asked = np.array(new, dtype=np.int64)
            self.rough.update(zip(new, self.view.rough(asked).tolist(), strict=True))

    def best(self, count: int) -> IntArray:
        """The most promising models, best first."""
        models = np.array([*self.rough], dtype=np.int64)
        gains = np.array([*self.rough.values()])
        return models[np.lexsort((models, -gains))[:count]]

    def best_by_size(self, space: ModelSpace, ranges: int) -> IntArray:
        """The most promising model of each of some equally large ranges of sizes."""
        models = np.sort(np.array([*self.rough], dtype=np.int64))
        sizes = space.unit(models).mean(axis=1)
        parts = np.array_split(models[np.argsort(sizes, kind="stable")], ranges)
        best = [max(part.tolist(), key=lambda model: self.rough[model]) for part in parts if part.size]
        return np.array(best, dtype=np.int64)

    def best_of(self, models: IntArray, own: int) -> int:
        """The best of some models that were looked at and one more, which stays unless another is better."""
        best = max((m for m in models.tolist() if m in self.rough), key=lambda m: self.rough[m], default=own)
        return best if self.rough[best] > self.rough[own] else own
