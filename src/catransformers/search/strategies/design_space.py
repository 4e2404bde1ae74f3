"""Models and accelerators as one space of whole numbers, for strategies that choose both.

Every dimension counts the position of its value among those that occur, in rising order: of a model's depth that is
linear, of a buffer that doubles from value to value it is logarithmic. Dimensions with one value are left out. Not
every combination need be an accelerator of the study: a limit on TOPS takes out the largest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import qmc

from catransformers.hardware.accelerator import ATTRIBUTES, AcceleratorTable
from catransformers.search.space import IntArray, ModelSpace

BLOCK, BLOCKS = 128, 128  # Sobol points drawn at a time, and how often at most

#: A model's number and an accelerator's row.
Design = tuple[int, int]


@dataclass(frozen=True)
class DesignSpace:
    """All pairs of a model and an accelerator.

    Args:
        models: the models.
        table: the accelerators; no two alike.
    """

    models: ModelSpace
    table: AcceleratorTable

    @cached_property
    def _places(self) -> IntArray:
        """(accelerators, attributes): position of every value among those that occur."""
        columns = self.table.columns()
        return np.stack([np.unique(columns[name], return_inverse=True)[1].ravel() for name in ATTRIBUTES], axis=1)

    @cached_property
    def _sizes(self) -> tuple[int, ...]:
        return (*self.models.shape, *(int(size) for size in self._places.max(axis=0) + 1))

    @cached_property
    def _open(self) -> IntArray:
        """Columns of the dimensions that have more than one value."""
        return np.flatnonzero(np.array(self._sizes) > 1)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The dimensions that have more than one value."""
        every = (*self.models.names, *(f"hardware.{name}" for name in ATTRIBUTES))
        return tuple(every[k] for k in self._open)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many values each has."""
        return tuple(self._sizes[k] for k in self._open)

    @cached_property
    def _rows(self) -> IntArray:
        """Row of the accelerator with such positions, −1 where there is none."""
        found = np.full(self._sizes[len(self.models.shape) :], -1, dtype=np.int64)
        found[tuple(self._places.T)] = np.arange(len(self.table))
        return found

    def encode(self, design: Design) -> tuple[int, ...]:
        """The positions of a design."""
        model, accelerator = design
        every = np.concatenate([self.models.places(np.array([model]))[0], self._places[accelerator]])
        return tuple(int(place) for place in every[self._open])

    def decode(self, places: Sequence[int]) -> Design | None:
        """The design at some positions; None where there is no such accelerator."""
        model, hardware = self._split(places)
        accelerator = int(self._rows[tuple(hardware)])
        return None if accelerator < 0 else (model, accelerator)

    def nearest(self, places: Sequence[int]) -> Design:
        """The design at some positions; if there is no such accelerator, with the nearest one, the first of equals."""
        model, hardware = self._split(places)
        return model, int(np.square(self._places - hardware).sum(axis=1).argmin())

    def _split(self, places: Sequence[int]) -> tuple[int, IntArray]:
        """The model's number and the positions of all attributes of the accelerator."""
        every = np.zeros(len(self._sizes), dtype=np.int64)
        every[self._open] = places
        split = len(self.models.shape)
        return int(np.ravel_multi_index(tuple(every[:split]), self.models.shape)), every[split:]

    def sobol(self, seed: int) -> Iterator[Design]:
        """Designs of a scrambled Sobol sequence, with repeats; positions that are no design are left out."""
        sizes = np.array(self.sizes)
        if not sizes.size:
            return
        points = qmc.Sobol(sizes.size, scramble=True, rng=np.random.default_rng(seed))
        for _ in range(BLOCKS):
            places = np.minimum((points.random(BLOCK) * sizes).astype(np.int64), sizes - 1)
            yield from (design for row in places if (design := self.decode(row)) is not None)
