"""Text to model: a file, or a folder of `.txt` files, in UTF-8, as blocks that are read when they are needed.

A document (a file) is cut into blocks of at most four thousand bytes (less where there is little text) that end with a
line or, if need be, a word; the blocks of a document, joined, are the document. Files or folders named for a split
(`train.txt`, `valid/…`) are that split. Otherwise ten or more documents are split whole, by a seed; fewer are each cut
in four stretches, by position: the first 70 % train, then a tenth each for calibration, validation and test. No block
is ever in two splits.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

from catransformers.accuracy.data.faults import Faults, UnreadableError
from catransformers.accuracy.data.samples import Sample, read_part
from catransformers.accuracy.data.splits import (
    ALIASES,
    SPLITS,
    Splits,
    complete,
    need_some,
    random_split,
    split_by_position,
)

BLOCK_BYTES: Final = 4096
_WHOLE_DOCUMENTS: Final = 10  # with as many documents, each goes into one split
_LEAST_BLOCK: Final = 256
_FEW: Final = 100  # blocks that even a short text is cut into


@dataclass(frozen=True, slots=True)
class _Block:
    document: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class PlainText:
    """A source of blocks of text, in the order of the text; see the module.

    Args:
        where: the path it was read from.
        paths: of the documents.
        blocks: of all documents, in order.
        splits: the indices of each split's blocks, ascending: consecutive ones of a document are consecutive text.
        class_names: none.
    """

    where: str
    paths: tuple[Path, ...] = field(repr=False)
    blocks: Sequence[_Block] = field(repr=False)
    splits: Splits = field(repr=False)
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.blocks)

    def document(self, i: int) -> int:
        """The number of the document that block i is of."""
        return self.blocks[i].document

    def name(self, i: int) -> str:
        """The file and place of block i."""
        block = self.blocks[i]
        return f"{self.paths[block.document].name} byte {block.offset}"

    def read(self, i: int) -> Sample:
        """Block i, as the one text of a sample."""
        block = self.blocks[i]
        data = read_part(self.paths[block.document], block.offset, block.size)
        try:
            return Sample(texts=(data.decode("utf-8"),))
        except UnicodeDecodeError as error:
            raise UnreadableError(f"not UTF-8: {error.reason}") from error


def _documents(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(Path(at) / name for at, _, files in os.walk(path) for name in files if name.lower().endswith(".txt"))


def fits(path: Path) -> bool:
    """Whether it is a file, or a folder with `.txt` files."""
    return path.is_file() or (path.is_dir() and bool(_documents(path)))


def read(path: Path, seed: int) -> PlainText:
    """The text of a file or folder.

    Args:
        path: a text file, or a folder of `.txt` files.
        seed: of the splits, where whole documents are split.

    Raises:
        InputError: for files that cannot be read or are not UTF-8, counted; for less text than four splits need.
    """
    faults = Faults()
    root = path if path.is_dir() else path.parent
    documents = _documents(path)
    blocks: list[_Block] = []
    total = sum(file.stat().st_size for file in documents)
    most = min(BLOCK_BYTES, max(_LEAST_BLOCK, total // _FEW))
    for number, file in enumerate(documents):
        try:
            blocks += [_Block(number, offset, size) for offset, size in _cut(file, most)]
        except OSError as error:
            faults.add("a file that cannot be read", f"{file.relative_to(root)}: {error.strerror}")
        except UnicodeDecodeError as error:
            faults.add("a file that is not UTF-8", f"{file.relative_to(root)}: {error.reason}")
    faults.raise_any(str(path))
    named = [_named_split(file.relative_to(root)) for file in documents]
    if len(set(named)) > 1:
        if "" in named:
            example = documents[named.index("")].relative_to(root)
            faults.add("a file of no split, beside files that have one", str(example))
            faults.raise_any(str(path))
        given = _gather(blocks, named)
        splits = complete(given, [""] * len(blocks), seed, str(path), noun="blocks of text", running=True)
    elif len(documents) >= _WHOLE_DOCUMENTS:
        drawn = random_split([str(file.relative_to(root)) for file in documents], seed)
        split_of = {number: split for split, numbers in drawn.items() for number in numbers}
        splits = _gather(blocks, [split_of[number] for number in range(len(documents))])
    else:
        splits = {split: [] for split in SPLITS}
        for _, group in groupby(range(len(blocks)), key=lambda i: blocks[i].document):
            for split, indices in split_by_position(list(group)).items():
                splits[split] += indices
    need_some(splits, str(path), "blocks of text")
    return PlainText(str(path), tuple(documents), tuple(blocks), splits)


def _named_split(file: Path) -> str:
    """The split that a file's folder or name says; empty if none."""
    last = re.sub(r"[-_]?\d+$", "", file.stem.lower().rpartition(".")[2])  # wiki.train.txt, train-0001.txt
    return ALIASES.get(file.parts[0].lower(), "") or ALIASES.get(last, "")


def _gather(blocks: Sequence[_Block], split_of: Sequence[str]) -> dict[str, list[int]]:
    """The blocks of each split, from the split of each document."""
    result: dict[str, list[int]] = {split: [] for split in SPLITS}
    for i, block in enumerate(blocks):
        result[split_of[block.document]].append(i)
    return result


def _cut(file: Path, most: int) -> Iterator[tuple[int, int]]:
    """Offset and size in bytes of each block of a file; looks at all of its text once."""
    with file.open("rb") as opened:
        offset = len(codecs.BOM_UTF8) if opened.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0
        while True:
            opened.seek(offset)
            data = opened.read(most)
            is_last = len(data) < most
            _, size = codecs.utf_8_decode(data, "strict", is_last)  # leaves a character that is cut in two
            if not is_last:
                size = next((at + 1 for end in (b"\n", b" ") if (at := data.rfind(end, most // 2)) >= 0), size)
            if size:
                yield offset, size
            if is_last:
                return
            offset += size
