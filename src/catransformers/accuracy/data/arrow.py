"""Hugging Face datasets on disk: folders written by `save_to_disk`, and folders of parquet files.

Columns are found by what they are: an image column; captions, labels and texts by the names that data sets use.
Parquet files belong to the split that their name begins with (`train-00000-of-00001.parquet`); the `datasets` library
converts them once, into its own cache. Rows with a label below zero (withheld) are left out.

Source: the library's documentation (huggingface.co/docs/datasets); it is an optional extra, `data`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from catransformers.accuracy.data.faults import Faults, UnreadableError, unreadable
from catransformers.accuracy.data.samples import ImageBytes, ImageFile, Sample
from catransformers.accuracy.data.splits import ALIASES, Splits, complete, complete_together
from catransformers.errors import InputError, Problem, Problems, nearest
from catransformers.extras import install

Kind = Literal["captions", "classes", "texts"]

_IMAGE: Final = ("image", "img", "jpg", "png", "pixel_values")
_CAPTIONS: Final = ("captions", "caption", "sentences", "sentence", "text", "txt", "raw")
_LABEL: Final = ("label", "labels", "fine_label", "cls", "is_duplicate")
_TEXTS: Final = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("sentence",),
    ("text",),
)


def fits(path: Path) -> bool:
    """Whether it is a folder of `save_to_disk`, or one of parquet files."""
    saved = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    return path.is_dir() and (saved or bool(_parquet(path)))


def _parquet(path: Path) -> list[Path]:
    return sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")])


def read_captions(path: Path, seed: int) -> ArrowSource:
    """Images with captions; see `read`."""
    return read(path, "captions", seed)


def read_classes(path: Path, seed: int) -> ArrowSource:
    """Images with classes; see `read`."""
    return read(path, "classes", seed)


def read_texts(path: Path, seed: int) -> ArrowSource:
    """Sentences or pairs with classes; see `read`."""
    return read(path, "texts", seed)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of a data set are used; empty where the kind needs none."""

    image: str = ""
    captions: str = ""
    texts: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class ArrowSource:
    """A source over the rows of data sets on disk, which stay there.

    Args:
        where: the path it was read from.
        parts: name and data set of each split as it is on disk, one after the other.
        columns: the columns used.
        splits: the indices of each split.
        class_names: in the order of the labels.
    """

    where: str
    parts: Sequence[tuple[str, Any]] = field(repr=False)
    columns: _Columns
    splits: Splits = field(repr=False)
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(len(part) for _, part in self.parts)

    def name(self, i: int) -> str:
        """The split and row of sample i."""
        number, row = self._at(i)
        return f"{self.parts[number][0]} row {row}"

    def read(self, i: int) -> Sample:
        """Sample i."""
        number, row_number = self._at(i)
        try:
            row = self.parts[number][1][row_number]
        except (OSError, ValueError) as error:
            raise UnreadableError(str(error)) from error
        columns = self.columns
        if any(row[column] is None for column in columns.texts):
            raise UnreadableError("no text")
        captions = row[columns.captions] if columns.captions else []
        return Sample(
            image=_image(row[columns.image]) if columns.image else None,
            captions=tuple(_caption(entry) for entry in ([captions] if isinstance(captions, str) else captions or [])),
            label=int(row[columns.label]) if columns.label else -1,
            texts=tuple(str(row[column]) for column in columns.texts),
        )

    def _at(self, i: int) -> tuple[int, int]:
        """The number of the part that sample i is in, and its row there."""
        for number, (_, part) in enumerate(self.parts):
            if i < len(part):
                return number, i
            i -= len(part)
        raise IndexError(i)


def _image(cell: Any) -> ImageBytes | ImageFile:
    """A cell of an image column: encoded bytes, or bytes or a path by name."""
    if isinstance(cell, bytes):
        return ImageBytes(cell)
    if isinstance(cell, Mapping) and cell.get("bytes"):
        return ImageBytes(cell["bytes"])
    if isinstance(cell, Mapping) and cell.get("path"):
        return ImageFile(Path(cell["path"]))
    raise UnreadableError("no image")


def _caption(entry: Any) -> str:
    """A caption, or one that is a record of its own with the text as `raw`."""
    return str(entry["raw"] if isinstance(entry, Mapping) and "raw" in entry else entry)


def _library() -> Any:
    try:
        import datasets  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        what = "data sets of Hugging Face's layout need the library `datasets`"
        raise InputError(Problem("datasets", what, hint=install("data"))) from error
    return datasets


def read(path: Path, kind: Kind, seed: int) -> ArrowSource:
    """The samples of data sets on disk.

    Args:
        path: the folder.
        kind: what the samples should have.
        seed: of the splits that are not named.

    Raises:
        InputError: if the library is absent, a folder is damaged, or no column fits; with rows that lack something,
            counted.
    """
    parts = _open(path)
    features = parts[0][1].features
    columns = _columns(features, kind, path)
    faults = Faults()
    opened = []
    for name, part in parts:
        if dict(part.features).keys() != dict(features).keys():
            faults.add("a split with other columns than the first", name)
            continue
        plain = part.select_columns([c for c in (columns.image, columns.captions, *columns.texts, columns.label) if c])
        if columns.image and type(features[columns.image]).__name__ == "Image":
            plain = plain.cast_column(columns.image, _library().Image(decode=False))
        opened.append((name, plain))
    faults.raise_any(str(path))
    class_names, wanted = _labels(opened, columns.label, features, faults)
    given: dict[str, list[int]] = {}
    first = 0
    for (name, part), rows in zip(opened, wanted, strict=True):
        if name:
            given.setdefault(_alias(name), []).extend(first + row for row in rows)
        first += len(part)
    faults.raise_any(str(path))
    names = [f"{name} {row:09d}" for name, part in opened for row in range(len(part))]
    if not any(name for name, _ in opened):
        given["train"] = [row for rows in wanted for row in rows]
    if columns.texts:
        texts = [text for _, part in opened for text in zip(*(part[c][:] for c in columns.texts), strict=True)]
        splits = complete_together(given, names, texts, seed, str(path))
    else:
        splits = complete(given, names, seed, str(path))
    return ArrowSource(str(path), tuple(opened), columns, splits, class_names)


def _open(path: Path) -> list[tuple[str, Any]]:
    """The data sets of a folder with the names of their splits (empty: none); splits that nobody knows are left out."""
    library = _library()
    try:
        if parquet := _parquet(path):
            files: dict[str, list[str]] = {}
            for file in parquet:
                files.setdefault(re.split(r"[^a-z]", file.name.lower(), maxsplit=1)[0], []).append(str(file))
            if not set(files) & set(ALIASES):
                files = {"": [str(file) for file in parquet]}
            found = {name: library.Dataset.from_parquet(paths) for name, paths in files.items() if _known(name)}
        else:
            loaded = library.load_from_disk(str(path))
            found = dict(loaded) if isinstance(loaded, library.DatasetDict) else {"": loaded}
            found = {name: part for name, part in found.items() if _known(name)}
    except Exception as error:  # damaged files end in errors of arrow, of the library, of JSON
        raise unreadable(path, error) from error
    if not found:
        raise InputError(Problem(str(path), "no split of a known name", ", ".join(sorted(ALIASES))))
    return list(found.items())


def _alias(name: str) -> str:
    """The split that a name means; empty if none. MNLI's mismatched sets are none."""
    return ALIASES.get(name.removesuffix("_matched").lower(), "")


def _known(name: str) -> bool:
    return not name or bool(_alias(name))


def _columns(features: Mapping[str, Any], kind: Kind, path: Path) -> _Columns:
    """The columns that a kind needs.

    Raises:
        InputError: naming every column that is missing, and those that are there.
    """
    images = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    image = next(iter([*images, *(name for name in _IMAGE if name in features)]), "")
    captions = next((name for name in _CAPTIONS if name in features), "")
    texts = next((names for names in _TEXTS if set(names) <= set(features)), ())
    label = next((name for name in _LABEL if name in features), "")
    problems = Problems()
    if kind != "texts" and not image:
        problems.append(Problem(str(path), "no column of images", ", ".join(_IMAGE), nearest("image", features)))
    if kind == "captions" and not captions:
        problems.append(Problem(str(path), "no column of captions", ", ".join(_CAPTIONS), nearest("caption", features)))
    if kind == "texts" and not texts:
        allowed = ", ".join("+".join(names) for names in _TEXTS)
        problems.append(Problem(str(path), "no column of text", allowed, nearest("text", features)))
    if kind != "captions" and not label:
        problems.append(Problem(str(path), "no column of labels", ", ".join(_LABEL), nearest("label", features)))
    if kind != "captions" and label and str(getattr(features[label], "dtype", "")).startswith("float"):
        what = f"the column {label!r} has figures, not classes: a regression, such as STS-B, is not supported"
        problems.append(Problem(str(path), what))
    problems.finish()
    if kind == "captions":
        return _Columns(image=image, captions=captions)
    return _Columns(image=image, label=label) if kind == "classes" else _Columns(texts=texts, label=label)


def _labels(
    parts: Sequence[tuple[str, Any]], column: str, features: Mapping[str, Any], faults: Faults
) -> tuple[tuple[str, ...], list[list[int]]]:
    """The names of the classes, and the rows of each part that are wanted: all, but for withheld labels."""
    if not column:
        return (), [list(range(len(part))) for _, part in parts]
    values = [np.asarray(part.with_format("numpy")[column][:]) for _, part in parts]
    if any(not np.issubdtype(array.dtype, np.integer) for array in values):
        faults.add("a column of labels that are no whole numbers", f"{column}: {features[column]}")
        return (), [[] for _ in parts]
    wanted = [np.flatnonzero(array >= 0).tolist() for array in values]
    names = getattr(features[column], "names", None)
    highest = max((int(array.max()) for array in values if len(array)), default=-1)
    if names is not None and highest >= len(names):
        faults.add("a label without a name", f"{column}: {highest}, with {len(names)} names")
    return tuple(names) if names is not None else tuple(str(i) for i in range(highest + 1)), wanted
