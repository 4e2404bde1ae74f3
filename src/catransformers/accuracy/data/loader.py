"""Data loader: endless batches that can be resumed anywhere, the same however many workers or devices make them.

The order of epoch e is a permutation drawn from (seed, e) alone, and what is random in a sample is drawn from (seed, e,
its index). Batch n is therefore known without reading what came before: a run resumes by saying where. An epoch is as
many whole batches as there are; what is left over waits for another epoch's order.

Several processes (`rank` of `world_size`) each make a slice of every global batch; the slices laid side by side are the
batch that one process would make.

A sample that cannot be read is skipped: the sample that stands in the same place of the next batch of that epoch takes
its place. Places never share their stand-ins, so no rank needs to know what another one found, and no sample comes
twice into a batch. Only when all samples of a place are broken (an epoch of one batch, say) is any other taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from catransformers.accuracy.data.faults import UnreadableError
from catransformers.accuracy.data.samples import DataSource, Sample
from catransformers.errors import InputError, Problem

Made = Mapping[str, Tensor]
Make = Callable[[Sample, np.random.Generator], Made]
Collate = Callable[[Sequence[Made]], dict[str, Tensor]]
OnFault = Callable[[str, str], None]  # the sample's name, and why it cannot be read

_ORDER: Final = 1  # first words of the seeds, so that orders and samples draw from different streams
_SAMPLE: Final = 2

_Place = tuple[int, int]  # epoch, position in the epoch's order


def stack(made: Sequence[Made]) -> dict[str, Tensor]:
    """Samples of equal shapes, one key at a time, along a new first dimension."""
    return {key: torch.stack([sample[key] for sample in made]) for key in made[0]}


def batches(
    source: DataSource,
    indices: Sequence[int],
    make: Make,
    batch_size: int,
    seed: int,
    *,
    start: int = 0,
    workers: int = 0,
    on_fault: OnFault | None = None,
    rank: int = 0,
    world_size: int = 1,
    collate: Collate = stack,
) -> Iterator[dict[str, Tensor]]:
    """Endless batches in a new order every epoch; each sample at most once an epoch, but for stand-ins.

    Args:
        source: the data.
        indices: the samples to draw from, a split of the source.
        make: a sample and its own random generator → tensors by name. It calls `sample.image.open()`.
        batch_size: samples of the global batch, over all ranks; fewer samples than that make batches of all of them.
        seed: of the orders and of what `make` draws.
        start: the number of the first batch; nothing before it is read.
        workers: processes that make batches ahead; 0: none. The batches are the same for any number.
        on_fault: told each sample that cannot be read, once, with the reason.
        rank: this process's number of `world_size`.
        world_size: processes that share every batch.
        collate: samples → batch; `stack` needs equal shapes.

    Returns:
        An iterator over batches of batch_size / world_size samples.

    Raises:
        InputError: if there are no samples, a batch cannot be shared equally, or no sample can be read.
    """
    count = len(indices)
    size = min(batch_size, count)
    if size < 1:
        raise InputError(Problem(source.where, f"batches of {batch_size} of {count} samples", "at least 1 of each"))
    if size % world_size:
        what = f"a batch of {size} samples cannot be shared equally by {world_size} processes"
        raise InputError(Problem(source.where, what, f"a multiple of {world_size}"))
    maker = _Maker(source, indices, make, size, seed, collate)

    def places() -> Iterator[list[_Place]]:
        share = size // world_size
        number = start
        while True:
            epoch, in_epoch = divmod(number, count // size)
            first = in_epoch * size + rank * share
            yield [(epoch, position) for position in range(first, first + share)]
            number += 1

    return _run(maker, places(), workers, on_fault)


def in_order(
    source: DataSource,
    indices: Sequence[int],
    make: Make,
    batch_size: int,
    *,
    workers: int = 0,
    on_fault: OnFault | None = None,
    collate: Collate = stack,
) -> Iterator[dict[str, Tensor]]:
    """Every sample once in the order of `indices`, for calibration and judging; the last batch may be smaller.

    A sample that cannot be read is left out, and told to `on_fault`. Other arguments as for `batches`; the random
    generators that `make` gets are always the same.

    Raises:
        InputError: if none of the samples can be read.
    """
    maker = _Maker(source, indices, make, None, 0, collate)
    every = ([(0, p) for p in range(i, min(i + batch_size, len(indices)))] for i in range(0, len(indices), batch_size))
    return _run(maker, every, workers, on_fault)


@dataclass(frozen=True, slots=True)
class _Result:
    """What a worker sends back: errors as values, since an exception loses its parts between processes."""

    batch: dict[str, Tensor] | None
    faults: tuple[tuple[int, str], ...]
    problems: tuple[Problem, ...] = ()


@dataclass
class _Maker(Dataset[_Result]):
    """Makes the batch of given places; a copy of it lives in every worker.

    `size` is that of a global batch, or None where a broken sample is left out instead of replaced.
    """

    source: DataSource
    indices: Sequence[int]
    make: Make
    size: int | None
    seed: int
    collate: Collate
    _order: tuple[int, Sequence[int]] = (-1, ())
    _broken: dict[int, str] = field(default_factory=dict)

    def __getitem__(self, places: Sequence[_Place]) -> _Result:
        """The batch of these places."""
        made: list[Made] = []
        faults: dict[int, str] = {}
        try:
            for epoch, position in places:
                for index in self._candidates(epoch, position):
                    sample = self._try(epoch, index, faults)
                    if sample is not None:
                        made.append(sample)
                        break
                else:
                    if self.size is not None:
                        return _Result(None, tuple(faults.items()))
            return _Result(self.collate(made) if made else None, tuple(faults.items()))
        except InputError as error:
            return _Result(None, tuple(faults.items()), error.problems)

    def _candidates(self, epoch: int, position: int) -> Iterator[int]:
        """The sample of a place and, where broken ones are replaced, its stand-ins in turn."""
        if self.size is None:
            yield self.indices[position]
            return
        order = self._permutation(epoch)
        whole = len(order) // self.size * self.size
        for step in range(0, whole, self.size):
            yield self.indices[order[(position + step) % whole]]
        for step in range(1, len(order)):
            yield self.indices[order[(position + step) % len(order)]]

    def _permutation(self, epoch: int) -> Sequence[int]:
        if self._order[0] != epoch:
            rng = np.random.default_rng([_ORDER, self.seed, epoch])
            self._order = epoch, rng.permutation(len(self.indices)).tolist()
        return self._order[1]

    def _try(self, epoch: int, index: int, faults: dict[int, str]) -> Made | None:
        """The sample's tensors; None, and a fault, if it cannot be read."""
        if index not in self._broken:
            try:
                rng = np.random.default_rng([_SAMPLE, self.seed, epoch, index])
                return self.make(self.source.read(index), rng)
            except UnreadableError as error:
                self._broken[index] = str(error)
        faults[index] = self._broken[index]
        return None


def _run(
    maker: _Maker, places: Iterator[list[_Place]], workers: int, on_fault: OnFault | None
) -> Iterator[dict[str, Tensor]]:
    """The batches of these places, in order; faults told once, as the batch that met them is handed out."""
    results: Iterator[_Result]
    if workers:
        # Its own generator: a loader otherwise draws from torch's global one, and the net's dropout would depend on it.
        generator = torch.Generator()
        results = iter(DataLoader(maker, sampler=places, batch_size=None, num_workers=workers, generator=generator))
    else:
        results = map(maker.__getitem__, places)
    try:
        yield from _hand_out(maker, results, on_fault)
    finally:
        # Not left to the garbage collector: an error that somebody keeps would keep the workers alive, and processes
        # forked meanwhile would inherit them.
        if isinstance(results, _MultiProcessingDataLoaderIter):
            results._shutdown_workers()


def _hand_out(maker: _Maker, results: Iterator[_Result], on_fault: OnFault | None) -> Iterator[dict[str, Tensor]]:
    told: dict[int, str] = {}
    handed_out = False
    for result in results:
        for index, reason in result.faults:
            if index not in told:
                told[index] = reason
                if on_fault:
                    on_fault(maker.source.name(index), reason)
        if result.problems:
            raise InputError(result.problems)
        if result.batch is not None:
            handed_out = True
            yield result.batch
        elif maker.size is not None:
            raise _all_broken(maker, told)
    if told and not handed_out:
        raise _all_broken(maker, told)


def _all_broken(maker: _Maker, told: Mapping[int, str]) -> InputError:
    index, reason = next(iter(told.items()))
    what = f"none of {len(maker.indices)} samples can be read, for example {maker.source.name(index)}: {reason}"
    return InputError(Problem(maker.source.where, what))
