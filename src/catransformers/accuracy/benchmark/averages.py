"""Averages over data sets, each told with how many of how many it is of.

The groups are those of the tables in the DataComp paper, which later papers kept: ImageNet, its distribution shifts,
VTAB, retrieval, and all. A group's average is comparable with a published one only if it is of all of its members.

Source: Gadre et al., DataComp, 2023 (arXiv 2304.14108), section on evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from catransformers.accuracy.benchmark.evaluating import DatasetScore
from catransformers.accuracy.benchmark.known import GROUPS, known

#: The average over DataComp's data sets, and that over all that were evaluated, the table's or not.
DATACOMP: Final = "datacomp"
ALL: Final = "average"


@dataclass(frozen=True, slots=True)
class Average:
    """A mean over data sets, each counted once whatever its size.

    Args:
        value: 0 … 1.
        standard_error: of `value`, from those of the data sets, which are independent: √(Σ s²) / n; infinite if one is.
        n: data sets it is of.
        of: data sets there are: those of the group, or all that were found.
    """

    value: float
    standard_error: float
    n: int
    of: int


def averages(scores: Sequence[DatasetScore], found: int | None = None) -> Mapping[str, Average]:
    """The averages of groups that any score is of, then those of DataComp's data sets and of all.

    Args:
        scores: one a data set, in any order.
        found: data sets that were found, evaluated or not; None: as many as there are scores.
    """
    rows = known().values()
    parts = [
        (group, [score for score in scores if score.group == group], sum(row.group == group for row in rows))
        for group in GROUPS
    ]
    datacomp = {row.name for row in rows if row.in_datacomp}
    parts.append((DATACOMP, [score for score in scores if score.name in datacomp], len(datacomp)))
    parts.append((ALL, list(scores), len(scores) if found is None else found))
    return {
        name: Average(
            float(np.mean([score.value for score in members])),
            float(np.sqrt(np.sum(np.square([score.standard_error for score in members]))) / len(members)),
            len(members),
            of,
        )
        for name, members, of in parts
        if members
    }
