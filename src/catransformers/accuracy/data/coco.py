"""COCO captions: `annotations/captions_{train,val}{2017,2014}.json` beside the folders `train2017`, `val2017`.

Where both years are there the later one is read: the images are the same. A folder with only one of the two sets is
split like data without splits.

Source: Chen et al., "Microsoft COCO Captions", 2015; the format of cocodataset.org.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from catransformers.accuracy.data.captioned import CaptionedImages
from catransformers.accuracy.data.faults import Faults, read_json
from catransformers.accuracy.data.samples import Samples
from catransformers.errors import InputError, Problem

_NAME: Final = re.compile(r"captions_(train|val)(\d{4})\.json")
_SPLITS: Final = {"train": "train", "val": "validation"}


def _annotations(root: Path) -> dict[str, Path]:
    """The annotation files of the latest year: `train2017` → path."""
    found = {}
    for folder in (root / "annotations", root):
        for path in sorted(folder.glob("captions_*.json")):
            if match := _NAME.fullmatch(path.name):
                found[match[1] + match[2]] = path
        if found:
            break
    latest = max((name[-4:] for name in found), default="")
    return {name: path for name, path in found.items() if name.endswith(latest)}


def fits(path: Path) -> bool:
    """Whether a folder has COCO's annotation files."""
    return path.is_dir() and bool(_annotations(path))


def read(path: Path, seed: int) -> Samples:
    """The captioned images of a COCO folder.

    Args:
        path: the folder with `annotations`.
        seed: of the splits that COCO does not name.

    Raises:
        InputError: with every missing image and damaged entry, counted.
    """
    images = CaptionedImages(path, has_splits=True)
    for name, file in _annotations(path).items():
        folders = [path / name, path / "images" / name]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            raise InputError(Problem(str(file), f"no folder {name!r} with its images", str(folders[0])))
        captions = _captions(file, images.faults)
        for image, texts in captions.items():
            images.add(image, folder, texts, _SPLITS[name[:-4]], file.name)
    return images.finish(seed)


def _captions(file: Path, faults: Faults) -> dict[str, list[str]]:
    """The captions of each image of an annotation file, by the image's file name."""
    content = read_json(file)
    try:
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        entries = [(entry["image_id"], str(entry["caption"])) for entry in content["annotations"]]
    except (KeyError, TypeError) as error:
        what = f"not COCO's format: {error}"
        allowed = "images with id and file_name, annotations with image_id and caption"
        raise InputError(Problem(str(file), what, allowed)) from error
    result: dict[str, list[str]] = {name: [] for name in names.values()}
    for image, caption in entries:
        if image in names:
            result[names[image]].append(caption)
        else:
            faults.add("a caption of an unknown image", f"{file.name}: image {image}")
    return result
