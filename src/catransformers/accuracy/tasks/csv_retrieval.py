"""Retrieval on your own images: a CSV file of image paths and captions becomes a task.

Columns `image` (a path, relative to the CSV's folder), `caption` and, if you like, `split` (`train`, `calibration`,
`validation`, `test`). An image may stand in several rows, with a caption each. Without the column, whole images (never
single captions) are split 70/10/10/10 at random by a seed. Images are read when they are needed; `check` decodes every
one of them once, so that a broken file is found before the first trial and not in the middle of a night.

Recall@1 counts as usual with several captions an image (Karpathy and Fei-Fei, CVPR 2015): an image is matched if any
one of its own captions ranks first, a caption if its image does.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from catransformers.accuracy.retrieval import RetrievalPool
from catransformers.accuracy.tasks import Batch, PoolName
from catransformers.errors import InputError, Problem, nearest

SPLITS: Final = ("train", "calibration", "validation", "test")
_FRACTIONS: Final = {"calibration": 0.1, "validation": 0.1, "test": 0.1}  # of the images; training gets the rest
_EXAMPLES: Final = 3
CALIBRATION_IMAGES: Final = 512
POOL_IMAGES: Final = 1000


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One image file and its captions."""

    path: Path
    captions: tuple[str, ...]


class _Faults:
    """Mistakes of one kind counted, with the first few as examples."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, example: str) -> None:
        self._found[kind].append(example)

    def problems(self, where: str) -> list[Problem]:
        """One problem a kind: how many, and the first three."""
        result = []
        for kind, examples in self._found.items():
            shown = "; ".join(examples[:_EXAMPLES]) + ("; …" if len(examples) > _EXAMPLES else "")
            result.append(Problem(where, f"{len(examples)} × {kind}: {shown}"))
        return result


def _rows(path: Path) -> tuple[list[tuple[int, dict[str, str]]], bool, list[Problem]]:
    """The data rows with their line numbers, whether there is a split column, and what is wrong with the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            missing = [column for column in ("image", "caption") if column not in header]
            if missing:
                what = f"no column {' and no column '.join(missing)}"
                hint = nearest(missing[0], header)
                return [], False, [Problem(str(path), what, "image, caption and, if you like, split", hint)]
            faults = _Faults()
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    faults.add("a row with another number of fields than the header", f"line {reader.line_num}")
                else:
                    rows.append((reader.line_num, {key: value.strip() for key, value in row.items()}))
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}", "a CSV file")) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(Problem(str(path), f"not a CSV file in UTF-8: {error}")) from error
    return rows, "split" in header, faults.problems(str(path))


def read_pairs(path: Path, seed: int) -> dict[str, list[CaptionedImage]]:
    """The captioned images of each split; image files are looked for, not opened.

    Args:
        path: the CSV file.
        seed: of the split, where the file has none.

    Raises:
        InputError: with every mistake of the file, counted by kind, with lines.
    """
    rows, has_split, problems = _rows(path)
    faults = _Faults()
    captions: dict[str, list[str]] = {}
    files: dict[str, Path] = {}
    splits: dict[str, str] = {}
    for line, row in rows:
        caption, split = row["caption"], row.get("split", "")
        if not row["image"] or not caption:
            faults.add("an empty image or caption", f"line {line}")
            continue
        name = os.path.normpath(row["image"])  # `a.png` and `./a.png` are one image, of one split
        if has_split and split not in SPLITS:
            faults.add(f"an unknown split (allowed: {', '.join(SPLITS)})", f"line {line}: {split!r}")
        file = files.setdefault(name, path.parent / row["image"])
        if name not in captions and not _is_file(file):
            faults.add("a missing image", f"line {line}: {name}")
        if splits.setdefault(name, split) != split:
            faults.add("an image in two splits", f"line {line}: {name}")
        captions.setdefault(name, []).append(caption)
    problems += faults.problems(str(path))
    images = {name: CaptionedImage(files[name], tuple(texts)) for name, texts in captions.items()}
    if not has_split:
        splits = _random_split(sorted(images), seed)
    result: dict[str, list[CaptionedImage]] = {split: [] for split in SPLITS}
    for name, image in images.items():
        result.get(splits[name], []).append(image)
    if not problems:
        problems = [
            Problem(str(path), f"{len(result[split])} images in the split {split!r}", "at least 2")
            for split in SPLITS
            if len(result[split]) < 2
        ]
    if problems:
        raise InputError(problems)
    return result


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, say
        return False


def _random_split(names: Sequence[str], seed: int) -> dict[str, str]:
    """A split by image that depends on the names and the seed only."""
    order = np.random.default_rng(seed).permutation(len(names))
    result: dict[str, str] = {}
    start = 0
    for split, fraction in _FRACTIONS.items():
        end = start + max(1, round(fraction * len(names)))
        result |= {names[i]: split for i in order[start:end]}
        start = end
    return result | {names[i]: "train" for i in order[start:]}


class CsvRetrievalTask:
    """A task on the images and captions of a CSV file; see the module.

    Args:
        path: the CSV file.
        preprocess: an opened image → (3, h, w); the base model's.
        tokenize: captions (n) → (n, context); the base model's.
        seed: of the split, where the file has none.
        pool_images: the most images of a pool (the file's first); they are held in memory.

    Raises:
        InputError: with every mistake of the file and every missing image, counted, with examples.
    """

    name = "csv-retrieval"

    def __init__(
        self,
        path: Path,
        preprocess: Callable[[Image.Image], Tensor],
        tokenize: Callable[[Sequence[str]], Tensor],
        *,
        seed: int = 0,
        pool_images: int = POOL_IMAGES,
    ) -> None:
        self.path, self.preprocess, self.tokenize = path, preprocess, tokenize
        self.pool_images = pool_images
        self.images: Mapping[str, Sequence[CaptionedImage]] = read_pairs(path, seed)

    def check(self) -> None:
        """Decode every image once.

        Raises:
            InputError: if any cannot be read, with their number and examples.
        """
        every = [image.path for split in SPLITS for image in self.images[split]]
        faults = _Faults()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, fault in zip(every, pool.map(_fault, every), strict=True):
                if fault:
                    shown = path.relative_to(self.path.parent) if path.is_relative_to(self.path.parent) else path
                    faults.add("an image that cannot be read", f"{shown}: {fault}")
        problems = faults.problems(str(self.path))
        if problems:
            raise InputError(problems)

    def train_batches(self, batch_size: int, seed: int) -> Iterator[Batch]:
        """Endless batches in a new order every epoch; an image at most once a batch, with one of its captions.

        A training set smaller than `batch_size` gives batches of its own size.
        """
        images = self.images["train"]
        size = min(batch_size, len(images))
        rng = np.random.default_rng([seed, 1])
        while True:
            order = rng.permutation(len(images))
            for start in range(0, len(order) - size + 1, size):
                chosen = [images[i] for i in order[start : start + size]]
                captions = [image.captions[rng.integers(len(image.captions))] for image in chosen]
                yield self._load(chosen), self.tokenize(captions)

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        """The first 512 images of the calibration split, each with its first caption; no batch of one."""
        images = self.images["calibration"][:CALIBRATION_IMAGES]
        parts = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        return [
            (self._load(part), self.tokenize([image.captions[0] for image in part])) for part in parts if len(part) > 1
        ]

    def pool(self, name: PoolName) -> RetrievalPool:
        """The first `pool_images` images of a split with all of their captions; a group is an image.

        Raises:
            InputError: for another name than `validation` and `test`.
        """
        if name not in ("validation", "test"):
            raise InputError(Problem("pool", f"{name!r} is not a pool", "validation, test"))
        images = self.images[name][: self.pool_images]
        image_of = np.repeat(np.arange(len(images)), [len(image.captions) for image in images])
        tokens = self.tokenize([caption for image in images for caption in image.captions])
        return RetrievalPool(self._load(images), tokens, image_of, image_of)

    def _load(self, images: Sequence[CaptionedImage]) -> Tensor:
        result = []
        for image in images:
            try:
                with Image.open(image.path) as opened:
                    result.append(self.preprocess(opened))
            except (OSError, ValueError) as error:
                raise InputError(Problem(str(image.path), f"cannot be read: {error}")) from error
        return torch.stack(result)


def _fault(path: Path) -> str:
    """What keeps an image from being decoded; empty if nothing."""
    try:
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError:
        return "not an image"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return ""
