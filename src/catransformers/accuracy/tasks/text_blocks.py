"""Running text as blocks of tokens: windows to train on, and whole stretches cut up to judge on.

A source of plain text has pieces of documents as samples; neighbouring pieces of one document and split, joined, are
running text. `Stretches` makes every piece long enough for a window of tokens by what follows it. `token_blocks` turns
whole runs into ids, so that no block ends where a piece does, and cuts them. Blocks of a document go together where
there are documents enough to be a sample.

Source: Cameron and Miller, A Practitioner's Guide to Cluster-Robust Inference, Journal of Human Resources 50, 2015,
section VI (how few clusters are too few).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catransformers.accuracy.data import Sample, UnreadableError
from catransformers.accuracy.data.samples import SourceOf
from catransformers.errors import InputError, Problem
from catransformers.models.families.net import Batch
from catransformers.models.loading.tokenizer import TextTokenizer

#: Characters that are read for a token that is wanted; English has about four.
_CHARACTERS: Final = 8
#: Pieces of a run that are turned into ids at a time, at most; a file may be larger than memory.
_PIECES: Final = 256


#: Of fewer groups no standard error can be told.
ENOUGH_DOCUMENTS: Final = 30


@runtime_checkable
class _OfDocuments(Protocol):
    def document(self, i: int) -> int: ...


@dataclass(frozen=True)
class Stretches(SourceOf):
    """A source whose sample i is the text of piece i and, if that is short, of those that follow it.

    Args:
        source: of pieces of text; without a method `document` every sample is a document of its own.
        length: tokens that a stretch should give.
    """

    length: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """None."""
        return ()

    def document(self, i: int) -> int:
        """The number of the document that piece i is of."""
        return self.source.document(i) if isinstance(self.source, _OfDocuments) else i

    def read(self, i: int) -> Sample:
        """The stretch from piece i.

        Raises:
            UnreadableError: if a piece cannot be read.
        """
        text, following = self.piece(i), i
        while len(text) < _CHARACTERS * self.length and following in self._continued:
            following += 1
            text += self.piece(following)
        return Sample(texts=(text,))

    def piece(self, i: int) -> str:
        """The text of piece i.

        Raises:
            UnreadableError: if it cannot be read.
        """
        texts = self.source.read(i).texts
        if not texts:
            raise UnreadableError("it has no text")
        return texts[0]

    @cached_property
    def _continued(self) -> frozenset[int]:
        """The pieces that the next one continues, in the same document and split."""
        return frozenset(i for split in self.splits for run in self.runs(split) for i in run[:-1])

    def runs(self, split: str) -> list[list[int]]:
        """The pieces of a split as runs of running text."""
        runs: list[list[int]] = []
        for i in sorted(self.splits[split]):
            if runs and runs[-1][-1] == i - 1 and self.document(i - 1) == self.document(i):
                runs[-1].append(i)
            else:
                runs.append([i])
        return runs


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Blocks of ids.

    Args:
        ids: of each block, (2 … length,).
        documents: (n,) which document a block is of.
        length: of a whole block.
        tokens_per_byte: of the text that they are of.
    """

    ids: Sequence[Tensor]
    documents: NDArray[np.int64]
    length: int
    tokens_per_byte: float

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """What goes together: documents; each block by itself where there are fewer than `ENOUGH_DOCUMENTS`."""
        return self.documents if len(np.unique(self.documents)) >= ENOUGH_DOCUMENTS else None

    def batches(self, batch_size: int, pad_id: int) -> Iterator[Batch]:
        """All blocks in order, as `tokens` and `mask` (b, length)."""
        for start in range(0, len(self.ids), batch_size):
            rows = [padded(ids, self.length, pad_id) for ids in self.ids[start : start + batch_size]]
            yield {name: torch.stack([row[name] for row in rows]) for name in ("tokens", "mask")}


def padded(ids: Tensor, length: int, pad_id: int) -> dict[str, Tensor]:
    """Ids (n ≤ length,) filled up on the right: `tokens` (length,) and `mask`."""
    tokens = torch.full((length,), pad_id, dtype=torch.int64)
    tokens[: len(ids)] = ids
    return {"tokens": tokens, "mask": torch.arange(length) < len(ids)}


def token_blocks(
    source: Stretches,
    split: str,
    tokenizer: TextTokenizer,
    length: int,
    most: int,
    on_fault: Callable[[str, str], None],
) -> Blocks:
    """A split's text cut into blocks of `length` tokens; the last of a run may be shorter.

    Runs are taken in a fixed random order until there are `most` blocks, and all of them if there are fewer.

    Raises:
        InputError: if there is no block of two tokens.
    """
    runs = source.runs(split)
    found: list[Tensor] = []
    documents: list[int] = []
    tokens = size = 0
    for number in np.random.default_rng(len(runs)).permutation(len(runs)):
        run = runs[number]
        for start in range(0, len(run), _PIECES):
            if len(found) >= most:
                break
            text = ""
            for i in run[start : start + _PIECES]:
                try:
                    text += source.piece(i)
                except UnreadableError as error:
                    on_fault(source.name(i), str(error))
            ids = tokenizer.encode_stream(text)
            tokens, size = tokens + len(ids), size + len(text.encode())
            blocks = [block for block in torch.split(ids, length) if len(block) > 1]
            found += blocks
            documents += [source.document(run[0])] * len(blocks)
    if not found:
        raise InputError(Problem(source.where, f"the split {split!r} has no two tokens in a row"))
    return Blocks(found[:most], np.array(documents[:most], dtype=np.int64), length, tokens / size)
