"""The data sets of clip-benchmark: how their folders are called, what is asked of them, which averages they enter.

The table holds DataComp's 38 evaluation sets and what clip-benchmark's own collections (VTAB+, retrieval) add to them.
Papers that count 41 zero-shot data sets start from these lists, but which three they add or leave out is not known to
us, so none of our averages is named for that count; each says of how many data sets it is. A data set that is not in
the table is evaluated all the same.

Sources: Gadre et al., DataComp: In search of the next generation of multimodal datasets, 2023 (arXiv 2304.14108),
appendix; Zhai et al., A Large-scale Study of Representation Learning with the Visual Task Adaptation Benchmark, 2019
(arXiv 1910.04867); the documentation of clip-benchmark (github.com/LAION-AI/CLIP_benchmark).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from catransformers.facts import rows

#: The groups that the paper's table averages over, and the rest.
GROUPS: Final = ("imagenet", "imagenet shifts", "vtab", "retrieval")
OTHER: Final = "other"

#: Kinds of data sets that can be evaluated.
KINDS: Final = ("classification", "retrieval")

PREFIX: Final = "wds_"
_SUFFIX: Final = "_test"


@dataclass(frozen=True, slots=True)
class Known:
    """A row of the table.

    Args:
        name: clip-benchmark's.
        spellings: further names of its folder.
        kind: `classification`, `retrieval`, or what is not evaluated here.
        group: one of `GROUPS`, or `other`.
        in_datacomp: whether it is one of DataComp's 38.
        metric: the metric that averages take.
        classes: how many, where that is known.
        size: images in its test set, where that is known.
        note: what the reader of its value has to know.
    """

    name: str
    spellings: tuple[str, ...]
    kind: str
    group: str
    in_datacomp: bool
    metric: str
    classes: int | None
    size: int | None
    note: str


@cache
def known() -> Mapping[str, Known]:
    """The table by name, in its order."""
    found = {}
    for row in rows("clip_benchmark"):
        found[row["name"]] = Known(
            name=row["name"],
            spellings=tuple(spelling for spelling in row["spellings"].split(";") if spelling),
            kind=row["kind"],
            group=row["group"],
            in_datacomp=row["list"] == "datacomp",
            metric=row["metric"],
            classes=int(row["classes"]) if row["classes"] else None,
            size=int(row["size"]) if row["size"] else None,
            note=row["note"],
        )
    return MappingProxyType(found)


def place_of(name: str) -> tuple[int, str]:
    """What to sort names by: the table's order, then other names by the alphabet."""
    order = list(known())
    return (order.index(name) if name in known() else len(order), name)


def default_of(name: str, kind: str) -> Known:
    """What is assumed of a data set that the table does not have."""
    metric = "recall@1" if kind == "retrieval" else "acc1"
    return Known(name, (), kind, OTHER, False, metric, None, None, "")


def find(name: str) -> Known | None:
    """The data set that a name or a folder's name means; None if the table has none.

    `wds_vtab-cifar10`, `vtab/cifar10`, `cifar10` and `wds_vtab_cifar10_test` all mean the same.
    """
    spelled = _by_spelling()
    plain = _plain(name.removeprefix(PREFIX))
    return spelled.get(plain) or spelled.get(plain.removesuffix(_SUFFIX))


@cache
def _by_spelling() -> Mapping[str, Known]:
    return {_plain(spelling): row for row in known().values() for spelling in (row.name, *row.spellings)}


def _plain(name: str) -> str:
    return re.sub(r"[-/]", "_", name.casefold())
