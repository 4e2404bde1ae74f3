"""Every model's exact hardware (Pareto) front, whatever the number of costs: one interface for the search.

In one cost a front is a number, in two a staircase that is stored, in three and more it is worked out when it is asked
for (`many_costs`). Acquisition functions know the kinds apart, nothing else does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from catransformers.search.costs.hardware_fronts import HardwareFronts
from catransformers.search.space import FloatArray


class ModelFronts(ABC):
    """The fronts of all models of a space.

    Args:
        cost: (models,) least first cost of each over all feasible accelerators; infinite where there is none.
    """

    cost: FloatArray

    def __len__(self) -> int:
        return self.cost.size

    @abstractmethod
    def points_of(self, model: int) -> FloatArray:
        """(points, costs) the front of one model, SI, by rising first cost; empty where it is infeasible."""

    @abstractmethod
    def where(self, keep: NDArray[np.bool_]) -> Self:
        """The same with all other models infeasible."""


@dataclass(frozen=True)
class LeastCosts(ModelFronts):
    """Fronts in one cost: the least of each model."""

    cost: FloatArray

    def points_of(self, model: int) -> FloatArray:
        """(1 or 0, 1) the least cost."""
        least = self.cost[[model], None]
        return least[np.isfinite(least[:, 0])]

    def where(self, keep: NDArray[np.bool_]) -> LeastCosts:
        """The same with all other models infeasible."""
        return LeastCosts(np.where(keep, self.cost, np.inf))


@dataclass(frozen=True)
class Staircases(ModelFronts):
    """Fronts in two costs, all stored.

    Args:
        cost: (models,) least first costs.
        steps: the points of all fronts.
    """

    cost: FloatArray
    steps: HardwareFronts

    def __post_init__(self) -> None:
        if len(self.steps) != self.cost.size:
            raise ValueError(f"{len(self.steps)} hardware fronts for {self.cost.size} models")

    def points_of(self, model: int) -> FloatArray:
        """(points, 2) by rising first and falling second cost."""
        return np.stack(self.steps.of(model)[:2], axis=1)

    def where(self, keep: NDArray[np.bool_]) -> Staircases:
        """The same with all other models infeasible."""
        return Staircases(np.where(keep, self.cost, np.inf), self.steps.where(keep))
