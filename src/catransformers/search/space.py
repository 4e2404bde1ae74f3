"""The model space: which values each prunable dimension may take, and a number for every model.

Models are numbered in mixed radix, in the order of the base's `dimensions()` with the last dimension fastest, so that
a model is an integer; of CLIP, the vision encoder's choice is its quotient and the text encoder's its remainder. How
long a model's inputs are is no dimension of the space: the base says it for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catransformers.errors import Problem, Problems, nearest
from catransformers.workloads.spec import ModelSpec

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

COUNTS = ("layers", "heads", "kv_heads")  # dimensions of which every number is tried
WIDTH_STEPS = 5  # values of ffn_dim and embed_dim between half and all of the base's


@dataclass(frozen=True)
class ModelSpace:
    """All models whose dimensions are drawn from `values`.

    Args:
        base: the unpruned model; the space need not contain it.
        values: for every dimension of the base, in its order, the allowed values in rising order.
    """

    base: ModelSpec
    values: Mapping[str, tuple[int, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions in order: `("vision.layers", …, "text.heads")`, or `("layers", …, "heads")`."""
        return tuple(self.values)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each dimension."""
        return tuple(len(options) for options in self.values.values())

    @cached_property
    def size(self) -> int:
        """Number of models."""
        return prod(self.shape)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[dict[str, int]]:
        return (self.dimensions(index) for index in range(self.size))

    def dimensions(self, index: int) -> dict[str, int]:
        """The dimensions of model `index`.

        Raises:
            IndexError: if the index is not in 0 … size−1.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"model {index} of a space of {self.size}")
        places = np.unravel_index(index, self.shape)
        return {name: options[int(k)] for (name, options), k in zip(self.values.items(), places, strict=True)}

    def index(self, dimensions: Mapping[str, int]) -> int:
        """The number of the model with these dimensions.

        Raises:
            InputError: for dimensions that are missing, unknown or not among the space's values; all at once.
        """
        problems = Problems(
            Problem(name, "unknown dimension", ", ".join(self.values), nearest(name, self.values))
            for name in dimensions
            if name not in self.values
        )
        for name, options in self.values.items():
            if name not in dimensions:
                problems.append(Problem(name, "missing"))
            elif dimensions[name] not in options:
                problems.append(Problem(name, f"{dimensions[name]} is not in the space", ", ".join(map(str, options))))
        problems.finish()
        places = [options.index(dimensions[name]) for name, options in self.values.items()]
        return int(np.ravel_multi_index(places, self.shape))

    def spec(self, model: int | Mapping[str, int]) -> ModelSpec:
        """The spec of a model, given by its number or its dimensions."""
        return self.base.with_dimensions(self.dimensions(model) if isinstance(model, int) else model)

    def places(self, indices: IntArray | None = None) -> IntArray:
        """Position of each dimension's value among its options: (n, dimensions), for all models or `indices` (n,)."""
        chosen = np.arange(self.size) if indices is None else np.asarray(indices)
        return np.stack(np.unravel_index(chosen, self.shape), axis=-1).astype(np.int64)

    def unit(self, indices: IntArray | None = None) -> FloatArray:
        """Dimensions scaled so that 0 is the least value of the space and 1 the base's: (n, dimensions).

        A dimension with one value is 1.
        """
        places = self.places(indices)
        columns = []
        for column, (name, options) in enumerate(self.values.items()):
            low, high = options[0], self.base.dimensions()[name]
            scaled = (np.array(options, dtype=np.float64) - low) / (high - low) if high > low else np.ones(len(options))
            columns.append(scaled[places[:, column]])
        return np.stack(columns, axis=-1)


def default_values(base: ModelSpec) -> dict[str, tuple[int, ...]]:
    """From 50 % to 100 %: every number of layers and heads, five equal steps of `ffn_dim` and `embed_dim`."""
    values = {}
    for name, full in base.dimensions().items():
        if name.rpartition(".")[2] in COUNTS:
            values[name] = tuple(range(ceil(full / 2), full + 1))
        else:
            steps = range(WIDTH_STEPS)
            values[name] = tuple(
                sorted({ceil(full * (WIDTH_STEPS - 1 + step) / (2 * (WIDTH_STEPS - 1))) for step in steps})
            )
    return values


def model_space(
    base: ModelSpec, overrides: Mapping[str, Mapping[str, Any]] | None = None, where: str = "model.space"
) -> ModelSpace:
    """The space around `base`: the default values, with some dimensions overridden.

    Args:
        base: the unpruned model.
        overrides: by dimension either `{"values": [...]}`, or any of `{"min", "max", "step"}`. Without `step` the
            default values within the bounds are kept, and the bounds themselves added.
        where: what to call the place of the overrides in messages.

    Raises:
        InputError: for unknown dimensions, values outside 1 … the base's own, empty ranges, and a mixture of
            `values` with a range; all at once.
    """
    values, full = default_values(base), base.dimensions()
    problems = Problems()
    for name, override in (overrides or {}).items():
        place = f'{where}."{name}"'
        if name not in full:
            usage = "it is how the model is used, the same for all models of a study" if name in base.usage() else ""
            problems.append(Problem(place, "unknown dimension", ", ".join(full), usage or nearest(name, full)))
            continue
        given = {key: value for key, value in override.items() if value is not None}
        try:
            values[name] = _values(given, values[name], full[name])
        except ValueError as error:
            problems.append(Problem(place, str(error), f"whole numbers from 1 to {full[name]}, the base model's own"))
    problems.finish()
    return ModelSpace(base, values)


def _values(given: Mapping[str, Any], default: tuple[int, ...], full: int) -> tuple[int, ...]:
    """The values that one override asks for; ValueError says what is wrong."""
    if "values" in given:
        if len(given) > 1:
            raise ValueError("give either values or min, max and step")
        options: Sequence[int] = given["values"]
        if not options:
            raise ValueError("no values")
    else:
        low, high = given.get("min", min(default)), given.get("max", full)
        if low > high:
            raise ValueError(f"min {low} is above max {high}")
        if "step" in given:
            options = [*range(low, high, given["step"]), high]
        else:
            options = [low, *(value for value in default if low < value < high), high]
            if default == tuple(range(default[0], full + 1)):
                options = list(range(low, high + 1))
    outside = [value for value in options if not 1 <= value <= full]
    if outside:
        raise ValueError(f"{', '.join(map(str, outside))} is out of range")
    return tuple(sorted(set(options)))
