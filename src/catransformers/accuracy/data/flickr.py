"""Flickr30k (and 8k) captions, and Karpathy's splits of Flickr and COCO.

Two lists of captions are in use, with the images in a folder beside them: `*.token` (`name.jpg#0`, a tab, the caption)
and `results.csv` (`image_name| comment_number| comment`); neither has splits. Karpathy's `dataset_flickr30k.json` or
`dataset_coco.json` has them; his `restval` is training data.

Sources: Young et al., TACL 2014 (Flickr30k); Karpathy and Fei-Fei, CVPR 2015 (the splits).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from catransformers.accuracy.data.captioned import CaptionedImages, image_folder
from catransformers.accuracy.data.faults import Faults, read_json, unreadable
from catransformers.accuracy.data.samples import Samples
from catransformers.accuracy.data.splits import ALIASES
from catransformers.errors import InputError, Problem

_TOKEN: Final = re.compile(r"(?P<image>[^\t]+)#\d+\t(?P<caption>.*)")
# The bar after the number is missing in one row of the file as it is published.
_RESULTS: Final = re.compile(r"(?P<image>[^|]+)\|\s*\d+\s*(\||\s)\s*(?P<caption>.*)")
_KARPATHY: Final = re.compile(r"dataset_(flickr|coco)\w*\.json")


def _list_of(path: Path) -> Path | None:
    """The file that lists captions: the path itself, or the one in a folder."""
    if path.is_dir():
        found = [*sorted(path.glob("*.token")), *sorted(path.glob("*.token.txt")), path / "results.csv"]
        return next((file for file in found if _list_of(file)), None)
    if not path.is_file():
        return None
    is_token = path.name.endswith((".token", ".token.txt"))
    return path if is_token or (path.name == "results.csv" and _has_bars(path)) else None


def _has_bars(path: Path) -> bool:
    """Whether the columns are parted by bars: another file may have the same name."""
    with path.open("rb") as file:
        return b"|" in file.readline(200)


def fits(path: Path) -> bool:
    """Whether it is, or has, one of the lists of captions."""
    return _list_of(path) is not None


def read(path: Path, seed: int) -> Samples:
    """The captioned images of a Flickr folder.

    Args:
        path: the folder, or the file that lists the captions in it.
        seed: of the splits.

    Raises:
        InputError: with every missing image and damaged line, counted.
    """
    file = _list_of(path)
    if file is None:
        raise InputError(Problem(str(path), "no list of captions", "*.token, results.csv"))
    faults = Faults()
    entries = list(_entries(file, faults))
    images = CaptionedImages(file, has_splits=False, faults=faults)
    folder = image_folder(file.parent, [image for _, image, _ in entries])
    for number, image, caption in entries:
        images.add(image, folder, [caption], "", f"line {number}")
    return images.finish(seed)


def _entries(file: Path, faults: Faults) -> Iterator[tuple[int, str, str]]:
    """Line number, image and caption of each line."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error) from error
    is_results = file.suffix == ".csv"
    pattern = _RESULTS if is_results else _TOKEN
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (is_results and number == 1):  # its header
            continue
        if match := pattern.fullmatch(line):
            yield number, match["image"].strip(), match["caption"]
        else:
            faults.add("a line that is not an image and its caption", f"line {number}")


def _karpathy_file(path: Path) -> Path | None:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return next((file for file in files if _KARPATHY.fullmatch(file.name) and file.is_file()), None)


def fits_karpathy(path: Path) -> bool:
    """Whether it is, or has, a file of his."""
    return _karpathy_file(path) is not None


def read_karpathy(path: Path, seed: int) -> Samples:
    """The captioned images of a file of Karpathy's, in his splits.

    Args:
        path: the folder, or the JSON file in it.
        seed: of the split that he does not name (calibration).

    Raises:
        InputError: with every missing image and damaged entry, counted.
    """
    file = _karpathy_file(path)
    if file is None:
        raise InputError(Problem(str(path), "no list of captions", "dataset_flickr30k.json, dataset_coco.json"))
    content = read_json(file)
    images = CaptionedImages(file, has_splits=True)
    try:
        entries = [
            (
                "/".join(part for part in (entry.get("filepath", ""), entry["filename"]) if part),
                [str(sentence["raw"]) for sentence in entry["sentences"]],
                str(entry["split"]),
            )
            for entry in content["images"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        allowed = "images with filename, split and sentences with raw"
        raise InputError(Problem(str(file), f"not Karpathy's format: {error}", allowed)) from error
    folder = image_folder(file.parent, [image for image, _, _ in entries])
    for image, captions, split in entries:
        images.add(image, folder, captions, ALIASES.get(split, split), file.name)
    return images.finish(seed)
