"""Samples and sources (data sets): what data is before any net sees it.

A source is a map from an index to a sample. It holds names and places, not pixels: an image is a reference that is
decoded when somebody opens it, in whichever worker that happens. So a source is small, can be sent to other processes,
and sample i is the same whoever reads it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image, UnidentifiedImageError

from catransformers.accuracy.data.faults import UnreadableError
from catransformers.accuracy.data.splits import Splits


class ImageRef(Protocol):
    """Where an image is."""

    def open(self) -> Image.Image:
        """The decoded image, in its own mode and size.

        Raises:
            UnreadableError: if it is missing or broken, saying why.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample, raw; a layout fills what it has.

    Args:
        image: where its image is.
        captions: of the image; any of them may be drawn in training.
        label: its class, an index into the source's `class_names`; −1 where there are no classes.
        texts: one text (a sentence, a block of plain text) or two (a pair).
    """

    image: ImageRef | None = None
    captions: tuple[str, ...] = ()
    label: int = -1
    texts: tuple[str, ...] = ()


class DataSource(Protocol):
    """Samples by index, with names for messages and their splits."""

    @property
    def where(self) -> str:
        """The path it was read from, for messages."""
        ...

    @property
    def splits(self) -> Splits:
        """The indices of each of `train`, `calibration`, `validation`, `test`; no index is in two."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of the labels; empty where there are none."""
        ...

    def __len__(self) -> int:
        """How many samples, of all splits."""
        ...

    def name(self, i: int) -> str:
        """What sample i is called in messages: a file, a line."""
        ...

    def read(self, i: int) -> Sample:
        """Sample i.

        Raises:
            UnreadableError: if it cannot be read, saying why.
        """
        ...


@dataclass(frozen=True)
class SourceOf:
    """A source made of another one, which it is like in all that a subclass does not change.

    Args:
        source: the other one.
    """

    source: DataSource

    @property
    def where(self) -> str:
        """The path it was read from."""
        return self.source.where

    @property
    def splits(self) -> Splits:
        """The other's."""
        return self.source.splits

    @property
    def class_names(self) -> tuple[str, ...]:
        """The other's."""
        return self.source.class_names

    def __len__(self) -> int:
        return len(self.source)

    def name(self, i: int) -> str:
        """What sample i is called."""
        return self.source.name(i)

    def read(self, i: int) -> Sample:
        """Sample i.

        Raises:
            UnreadableError: if it cannot be read.
        """
        return self.source.read(i)


@dataclass(frozen=True, slots=True)
class Samples:
    """A source whose samples are all listed (images by reference).

    Args:
        where: the path it was read from, for messages.
        samples: all of them.
        names: what each is called in messages.
        splits: the indices of each split.
        class_names: in the order of the labels.
    """

    where: str
    samples: Sequence[Sample] = field(repr=False)
    names: Sequence[str] = field(repr=False)
    splits: Splits = field(repr=False)
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, i: int) -> str:
        """What sample i is called in messages."""
        return self.names[i]

    def read(self, i: int) -> Sample:
        """Sample i."""
        return self.samples[i]


def decode(file: Path | bytes) -> Image.Image:
    """An image, all of its pixels decoded.

    Args:
        file: its path, or its encoded bytes.

    Raises:
        UnreadableError: if it is missing or broken, saying why in one line.
    """
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            image.load()
            return image
    except UnidentifiedImageError:
        raise UnreadableError("not an image") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreadableError(text.splitlines()[0] if text else type(error).__name__) from error


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image in a file of its own."""

    path: Path

    def open(self) -> Image.Image:
        """The decoded image."""
        return decode(self.path)


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """An encoded image in memory."""

    data: bytes = field(repr=False)

    def open(self) -> Image.Image:
        """The decoded image."""
        return decode(self.data)


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An encoded image that is a stretch of a larger file: a member of a tar shard.

    Args:
        path: the file.
        offset: of the image's first byte.
        size: in bytes.
    """

    path: Path
    offset: int
    size: int

    def open(self) -> Image.Image:
        """The decoded image."""
        return decode(read_part(self.path, self.offset, self.size))


def read_part(path: Path, offset: int, size: int) -> bytes:
    """A stretch of a file.

    Raises:
        UnreadableError: if the file does not reach that far or cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise UnreadableError(f"{path.name}: {error.strerror}") from error
    if len(data) < size:
        raise UnreadableError(f"{path.name} ends before byte {offset + size}")
    return data
