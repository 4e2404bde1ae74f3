"""What changes along a front, from the most accurate design down: where the carbon comes from, and what is pruned.

The paper finds the operational share of carbon growing with the model, and feed-forward widths and heads pruned before
layers and the embedding (arXiv 2505.01386, sections 5.3 and 5.4). A dimension is *first pruned* by the most accurate
design of the front that has less of it than the base. What the search tried is the measure of what the front keeps:
where the front's designs keep less of a dimension than the trials did on average, pruning it was worth it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catransformers.search.fronts import FrontMember, accuracy_of, complete
from catransformers.search.space import ModelSpace
from catransformers.study.records import TrialRecord


@dataclass(frozen=True, slots=True)
class Share:
    """A design of a front, and which shares of its carbon (at the typical value of every factor) are of what."""

    member: FrontMember

    @property
    def operational(self) -> float:
        """The share that using the device takes, a fraction."""
        return self.member.design.operational_kg / self.member.design.total_kg

    @property
    def embodied(self) -> float:
        """The share that making the device takes, a fraction."""
        return self.member.design.embodied_kg / self.member.design.total_kg


def shares(members: Sequence[FrontMember]) -> tuple[Share, ...]:
    """The designs of a front by falling accuracy, of equals the one that emits least first."""
    ordered = sorted(members, key=lambda member: (-accuracy_of(member.trial), member.design.total_kg))
    return tuple(Share(member) for member in ordered)


@dataclass(frozen=True, slots=True)
class Band:
    """A range of accuracy, and how many of the front's models are in it. The first band is the most accurate one."""

    low: float
    high: float
    models: int


@dataclass(frozen=True, slots=True)
class DimensionPruning:
    """What a front keeps of one dimension; fractions of the base's.

    Args:
        name: of the dimension.
        base: the base's value.
        front: mean over the front's models.
        trials: mean over all trained models, on the front or not.
        space: mean over all values that the study allows.
        bands: mean over the front's models in each band; None where there are none.
        first: the most accurate model of the front that has less than the base; None where none has.
        kept: what that one keeps; 1 where there is none.
    """

    name: str
    base: int
    front: float
    trials: float
    space: float
    bands: tuple[float | None, ...]
    first: TrialRecord | None
    kept: float


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a front prunes.

    Args:
        bands: of accuracy, from the top.
        dimensions: in the order of first pruning; those that one design prunes first together, by what it keeps.
        models: how many trained models the front has.
        trials: how many were trained.
    """

    bands: tuple[Band, ...]
    dimensions: tuple[DimensionPruning, ...]
    models: int
    trials: int


def pruning(
    space: ModelSpace, members: Sequence[FrontMember], trials: Sequence[TrialRecord], bands: int = 3
) -> Pruning:
    """Which dimensions a front prunes first, and how far.

    Args:
        space: the study's models.
        members: the front; a model that is there with several accelerators counts once.
        trials: all finished trials, those that failed count for nothing.
        bands: into how many equal ranges to cut the front's accuracies.

    Raises:
        ValueError: for an empty front or no band.

    Reference: arXiv 2505.01386, section 5.4.
    """
    if not members or bands < 1:
        raise ValueError(f"a front of {len(members)} designs in {bands} bands")
    models = {member.trial.number: member.trial for member in members}
    ordered = sorted(models.values(), key=lambda trial: (-accuracy_of(trial), trial.number))
    accuracy = np.array([accuracy_of(trial) for trial in ordered])
    edges = np.linspace(accuracy[0], accuracy[-1], bands + 1)
    place = np.clip(np.searchsorted(-edges[1:], -accuracy, side="left"), 0, bands - 1)
    base = space.base.dimensions()
    trained = complete(trials)
    rows = []
    for name, whole in base.items():
        kept = np.array([trial.dimensions[name] / whole for trial in ordered])
        fewer = np.flatnonzero(kept < 1)
        rows.append(
            DimensionPruning(
                name=name,
                base=whole,
                front=float(kept.mean()),
                trials=float(np.mean([trial.dimensions[name] / whole for trial in trained])),
                space=float(np.mean(space.values[name]) / whole),
                bands=tuple(float(kept[place == k].mean()) if (place == k).any() else None for k in range(bands)),
                first=ordered[fewer[0]] if fewer.size else None,
                kept=float(kept[fewer[0]]) if fewer.size else 1.0,
            )
        )
    rows.sort(key=lambda row: (-1.0 if row.first is None else -accuracy_of(row.first), row.kept, row.front))
    rows.sort(key=lambda row: row.first is None)
    return Pruning(
        tuple(Band(float(edges[k + 1]), float(edges[k]), int((place == k).sum())) for k in range(bands)),
        tuple(rows),
        len(ordered),
        len(trained),
    )
