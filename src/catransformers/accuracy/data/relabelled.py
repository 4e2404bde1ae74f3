"""A source whose classes are in another order: a model that tells them apart has an order of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from catransformers.accuracy.data.samples import DataSource, Sample, SourceOf


@dataclass(frozen=True)
class Relabelled(SourceOf):
    """A source with other labels.

    Args:
        source: the data.
        labels: (classes,) the new label of each of its labels, a permutation.
    """

    labels: tuple[int, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The source's, in the order of the new labels."""
        names = dict(zip(self.labels, self.source.class_names, strict=True))
        return tuple(names[label] for label in range(len(names)))

    def read(self, i: int) -> Sample:
        """Sample i, with its new label.

        Raises:
            UnreadableError: if it cannot be read.
        """
        sample = super().read(i)
        return replace(sample, label=self.labels[sample.label])


def in_order_of(source: DataSource, names: Sequence[str] | None) -> DataSource:
    """A source with its classes in the order of some names, if these are the same names; else as it is.

    Capitals, and what parts the words of a name, make no difference.

    Args:
        source: the data.
        names: in the order that is wanted; None: any order will do.
    """
    ours, theirs = [_plain(name) for name in source.class_names], [_plain(name) for name in names or ()]
    if ours == theirs or len(set(ours)) < len(ours) or sorted(ours) != sorted(theirs):
        return source
    return Relabelled(source, tuple(theirs.index(name) for name in ours))


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
