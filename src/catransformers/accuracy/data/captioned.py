"""Images with captions, gathered from whatever lists them: one sample an image, with all of its captions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from catransformers.accuracy.data.faults import Faults
from catransformers.accuracy.data.samples import ImageFile, Sample, Samples
from catransformers.accuracy.data.splits import SPLITS, complete

_TRIED: Final = 20  # images whose folder is looked for


class CaptionedImages:
    """Gathers images and their captions; image files are looked for, not opened.

    Args:
        where: the file or folder they are read from.
        has_splits: whether what lists the images says which split each is in.
        faults: mistakes already found.
    """

    def __init__(self, where: Path, *, has_splits: bool, faults: Faults | None = None) -> None:
        self.where, self.has_splits = where, has_splits
        self.faults = Faults() if faults is None else faults
        self._captions: dict[str, list[str]] = {}
        self._files: dict[str, Path] = {}
        self._splits: dict[str, str] = {}

    def add(self, image: str, folder: Path, captions: Sequence[str], split: str, at: str) -> None:
        """One image, or another caption of one.

        Args:
            image: its path, relative to the folder; `a.png` and `./a.png` are one image.
            folder: of the images.
            captions: of the image.
            split: one of the four, where there are splits.
            at: where that is written, for messages.
        """
        captions = [caption.strip() for caption in captions]
        if not image or not captions or not all(captions):
            self.faults.add("an empty image or caption", f"{at}: {image!r}")
            return
        name = os.path.normpath(image)
        if self.has_splits and split not in SPLITS:
            self.faults.add(f"an unknown split (allowed: {', '.join(SPLITS)})", f"{at}: {split!r}")
        if name not in self._files:
            self._files[name] = folder / image
            if not is_file(self._files[name]):
                self.faults.add("a missing image", f"{at}: {name}")
        if self._splits.setdefault(name, split) != split:
            self.faults.add("an image in two splits", f"{at}: {name}")
        self._captions.setdefault(name, []).extend(captions)

    def finish(self, seed: int) -> Samples:
        """The source of all of them.

        Args:
            seed: of the splits that are missing.

        Raises:
            InputError: with every mistake found so far, counted.
        """
        self.faults.raise_any(str(self.where))
        names = list(self._captions)
        given: dict[str, list[int]] = {split: [] for split in SPLITS if self.has_splits}
        for i, name in enumerate(names):
            if self.has_splits:
                given[self._splits[name]].append(i)
        splits = complete(given, names, seed, str(self.where), noun="images")
        samples = [Sample(ImageFile(self._files[name]), tuple(self._captions[name])) for name in names]
        return Samples(str(self.where), samples, names, splits)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:  # too long, say
        return False


def image_folder(root: Path, images: Sequence[str]) -> Path:
    """The folder that has any of the first images: the root itself, or one up to two levels below; else the root.

    Args:
        root: where the file that lists the images is.
        images: their paths, as listed.
    """
    below = [Path(entry) for entry in sorted(os.scandir(root), key=lambda entry: entry.name) if entry.is_dir()]
    deeper = [Path(entry) for folder in below for entry in os.scandir(folder) if entry.is_dir()]
    return next(
        (
            folder
            for folder in (root, *below, *sorted(deeper))
            if any(is_file(folder / image) for image in images[:_TRIED])
        ),
        root,
    )
