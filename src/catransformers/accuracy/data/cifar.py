"""CIFAR-10 and CIFAR-100 in their binary version.

A record is one byte of label (CIFAR-10) or two (CIFAR-100: coarse, fine; the fine one counts), then 32 × 32 bytes of
red, of green, of blue, row by row. The version for Python is pickled; pickles can run any code and are never read.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from catransformers.accuracy.data.faults import Faults, unreadable
from catransformers.accuracy.data.samples import Sample, Samples, read_part
from catransformers.accuracy.data.splits import complete
from catransformers.errors import InputError, Problem

_SIDE: Final = 32
_PIXELS: Final = 3 * _SIDE * _SIDE
_FOLDERS: Final = ("", "cifar-10-batches-bin", "cifar-100-binary")
_PICKLED: Final = ("", "cifar-10-batches-py", "cifar-100-python")


@dataclass(frozen=True, slots=True)
class _Version:
    names: str
    label_bytes: int
    files: tuple[tuple[str, str], ...]  # file, split


_VERSIONS: Final = (
    _Version(
        "batches.meta.txt", 1, (*((f"data_batch_{i}.bin", "train") for i in range(1, 6)), ("test_batch.bin", "test"))
    ),
    _Version("fine_label_names.txt", 2, (("train.bin", "train"), ("test.bin", "test"))),
)


@dataclass(frozen=True, slots=True)
class CifarImage:
    """The pixels of one record.

    Args:
        path: the file.
        offset: of the record's first byte of pixels.
    """

    path: Path
    offset: int

    def open(self) -> Image.Image:
        """The image, 32 × 32, RGB."""
        data = np.frombuffer(read_part(self.path, self.offset, _PIXELS), dtype=np.uint8)
        return Image.fromarray(np.ascontiguousarray(data.reshape(3, _SIDE, _SIDE).transpose(1, 2, 0)))


def _version(path: Path) -> tuple[Path, _Version] | None:
    """The folder of a binary version and which one it is."""
    for folder in (path / name for name in _FOLDERS):
        for version in _VERSIONS:
            if (folder / version.names).is_file():
                return folder, version
    return None


def _is_pickled(path: Path) -> bool:
    folders = [path / name for name in _PICKLED]
    return any((f / "batches.meta").is_file() or ((f / "meta").is_file() and (f / "train").is_file()) for f in folders)


def fits(path: Path) -> bool:
    """Whether a folder has CIFAR in any version, also the one that is refused."""
    return path.is_dir() and (_version(path) is not None or _is_pickled(path))


def read(path: Path, seed: int) -> Samples:
    """The images of CIFAR's training and test files.

    Args:
        path: the folder, or the one it is in.
        seed: of the splits that CIFAR does not have.

    Raises:
        InputError: for the pickled version; for files that are missing or not whole, and labels without a name.
    """
    found = _version(path)
    if found is None:
        what = "CIFAR's version for Python is pickled, and pickles are never read: they can run any code"
        hint = "download the binary version from www.cs.toronto.edu/~kriz/cifar.html"
        raise InputError(Problem(str(path), what, "cifar-10-batches-bin, cifar-100-binary", hint))
    folder, version = found
    try:
        lines = (folder / version.names).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(folder / version.names, error) from error
    class_names = tuple(line.strip() for line in lines if line.strip())
    faults = Faults()
    samples: list[Sample] = []
    names: list[str] = []
    given: dict[str, list[int]] = {"train": [], "test": []}
    for file, split in version.files:
        labels = _labels(folder / file, version.label_bytes, faults)
        for record, label in enumerate(labels):
            names.append(f"{file}: record {record}")
            if label >= len(class_names):
                faults.add(f"a label without a name in {version.names}", f"{names[-1]}: {label}")
            offset = record * (version.label_bytes + _PIXELS) + version.label_bytes
            given[split].append(len(samples))
            samples.append(Sample(CifarImage(folder / file, offset), label=label))
    faults.raise_any(str(folder))
    splits = complete(given, names, seed, str(folder), noun="images")
    return Samples(str(folder), samples, names, splits, class_names)


def _labels(file: Path, label_bytes: int, faults: Faults) -> list[int]:
    """The labels of a file's records; none, and a fault, if it is missing or not whole."""
    record = label_bytes + _PIXELS
    if not file.is_file():
        faults.add("a missing file", file.name)
        return []
    size = file.stat().st_size
    if size == 0 or size % record:
        faults.add("a file that is not whole", f"{file.name}: {size} bytes, not a multiple of {record}")
        return []
    records = np.memmap(file, dtype=np.uint8, mode="r", shape=(size // record, record))
    return [int(label) for label in records[:, label_bytes - 1]]
