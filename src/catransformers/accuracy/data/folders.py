"""Images in one folder a class: `<class>/*.jpg`, or `train/<class>/*.jpg` with `val` and `test` beside it.

A class is its folder's name; labels count the names in alphabetical order. Folders inside a class's folder belong to
the class. Files that are no images by their ending are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from catransformers.accuracy.data.faults import Faults
from catransformers.accuracy.data.samples import ImageFile, Sample, Samples
from catransformers.accuracy.data.splits import ALIASES, complete

ENDINGS: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


def fits(path: Path) -> bool:
    """Whether a folder has folders with images."""
    return path.is_dir() and any(True for _, _ in _images(path))


def _images(folder: Path) -> Iterator[tuple[Path, str]]:
    """The images below the folders of a folder, with the folder's name; in a fixed order."""
    for below in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        for at, folders, files in os.walk(folder / below):
            folders.sort()
            for name in sorted(files):
                if Path(name).suffix.lower() in ENDINGS:
                    yield Path(at) / name, below


def read(path: Path, seed: int) -> Samples:
    """The images of a folder of class folders.

    Args:
        path: the folder.
        seed: of the splits that no folder names.

    Raises:
        InputError: if images lie outside of the class folders, there are fewer than two classes, or a class is missing
            from the training data; counted.
    """
    below = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    splits = {name: ALIASES[name.lower()] for name in below if name.lower() in ALIASES}
    faults = Faults()
    for name in below if splits else ():
        if name not in splits and (_loose(path / name) or next(_images(path / name), None)):
            faults.add("a folder with images that is no split, beside folders that are", name)
    found: list[tuple[Path, str, str]] = []  # file, class, split
    for root, split in [(path / name, split) for name, split in splits.items()] or [(path, "")]:
        for file in _loose(root):
            faults.add("an image outside of the class folders", str(file.relative_to(path)))
        found += [(file, class_name, split) for file, class_name in _images(root)]
    learned = {class_name for _, class_name, split in found if split == "train" or "train" not in splits.values()}
    class_names = tuple(sorted(learned))
    if len(class_names) < 2:
        faults.add("a single class, where at least two are needed", ", ".join(class_names) or "none")
    labels = {name: i for i, name in enumerate(class_names)}
    given: dict[str, list[int]] = {split: [] for split in splits.values()}
    samples, names = [], []
    for i, (file, class_name, split) in enumerate(found):
        names.append(str(file.relative_to(path)))
        if class_name not in labels:
            faults.add("an image of a class that the training data lack", names[-1])
        samples.append(Sample(ImageFile(file), label=labels.get(class_name, -1)))
        if split:
            given[split].append(i)
    faults.raise_any(str(path))
    return Samples(str(path), samples, names, complete(given, names, seed, str(path), noun="images"), class_names)


def _loose(folder: Path) -> list[Path]:
    """The images that lie in a folder itself."""
    files = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    return [folder / name for name in files if Path(name).suffix.lower() in ENDINGS]
