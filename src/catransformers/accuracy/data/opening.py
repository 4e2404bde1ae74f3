"""Open a data set of any known layout: find out which one a path is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from catransformers.accuracy.data import (
    arrow,
    captions_csv,
    cifar,
    coco,
    flickr,
    folders,
    plain_text,
    text_tables,
    webdataset,
)
from catransformers.accuracy.data.samples import DataSource
from catransformers.errors import InputError, Problem, nearest

Kind = Literal["captions", "classes", "texts", "plain"]


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which data lie on disk.

    Args:
        title: what it looks like, for messages.
        fits: whether a path looks like it.
        read: a path and the seed of missing splits → the source.
    """

    title: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, int], DataSource]


_DATASETS: Final = "a Hugging Face data set (save_to_disk, or *.parquet)"
_SHARDS: Final = "webdataset shards (*.tar with images and {})"

#: The layouts of each kind, in the order in which they are looked for.
LAYOUTS: Final[Mapping[Kind, tuple[Layout, ...]]] = {
    "captions": (
        Layout("Karpathy's dataset_flickr30k.json or dataset_coco.json", flickr.fits_karpathy, flickr.read_karpathy),
        Layout("COCO (annotations/captions_*.json)", coco.fits, coco.read),
        Layout("Flickr (*.token or results.csv)", flickr.fits, flickr.read),
        Layout("a CSV file with the columns image and caption", captions_csv.fits, captions_csv.read),
        Layout(_SHARDS.format(".txt or .json"), webdataset.fits, webdataset.read_captions),
        Layout(_DATASETS, arrow.fits, arrow.read_captions),
    ),
    "classes": (
        Layout("CIFAR-10 or CIFAR-100, binary version", cifar.fits, cifar.read),
        Layout(_SHARDS.format(".cls"), webdataset.fits, webdataset.read_classes),
        Layout(_DATASETS, arrow.fits, arrow.read_classes),
        Layout("one folder of images a class (also below train, val, test)", folders.fits, folders.read),
    ),
    "texts": (
        Layout(_DATASETS, arrow.fits, arrow.read_texts),
        Layout(
            "a table (.csv, .tsv) with text and label, or GLUE's train.tsv, dev.tsv",
            text_tables.fits,
            text_tables.read,
        ),
    ),
    "plain": (Layout("a text file, or a folder of .txt files", plain_text.fits, plain_text.read),),
}


def open_data(path: Path | str, kind: Kind, *, seed: int = 0) -> DataSource:
    """The data at a path.

    Args:
        path: a file or folder in one of the layouts of its kind; `~` is the home folder.
        kind: `captions` (images with captions), `classes` (images with a class), `texts` (a sentence or a pair, with a
            class) or `plain` (text to model).
        seed: of the splits that the data does not name.

    Raises:
        InputError: if no layout fits, with all that were looked for; or with every mistake of the files, counted.
    """
    path = Path(path).expanduser()
    try:
        for layout in LAYOUTS[kind]:
            if layout.fits(path):
                return layout.read(path, seed)
        exists = path.exists()
        beside = [entry.name for entry in path.parent.iterdir()] if not exists and path.parent.is_dir() else []
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    what = "in no layout that is known" if exists else "does not exist"
    raise InputError(
        Problem(str(path), what, "; ".join(layout.title for layout in LAYOUTS[kind]), nearest(path.name, beside))
    )
