"""Shards in webdataset's layout: tar files whose members share a key, `0001.jpg` with `0001.txt`, `.json` or `.cls`.

The headers of every shard are read once; captions and labels are taken into memory, images stay where they are: a
sample knows the stretch of bytes of its image, so any sample can be read at any time and nothing is unpacked. Shards in
folders named for a split, or whose names begin with one (`train-0001.tar`), belong to it.

Source: the webdataset format (github.com/webdataset/webdataset): a key is a member's path up to the first dot of its
name.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from catransformers.accuracy.data.faults import Faults, UnreadableError, unreadable
from catransformers.accuracy.data.samples import ImagePart, Sample, Samples, read_part
from catransformers.accuracy.data.splits import ALIASES, complete

_IMAGES: Final = ("jpg", "jpeg", "png", "webp")
_CAPTION_KEYS: Final = ("caption", "captions", "text")  # of the .json members
_CLASS_NAMES: Final = "classnames.txt"
_BRACES: Final = re.compile(r"(.*)\{(\d+)\.\.(\d+)\}(.*)")


def shards(path: Path) -> list[Path]:
    """The tar files that a path means, in order: a tar file, a folder (one level deep), or `name-{000..123}.tar`."""
    if match := _BRACES.fullmatch(str(path)):
        before, first, last, after = match.groups()
        return [Path(f"{before}{i:0{len(first)}d}{after}") for i in range(int(first), int(last) + 1)]
    if path.is_dir():
        return sorted([*path.glob("*.tar"), *path.glob("*/*.tar")])
    return [path] if path.is_file() and path.suffix == ".tar" else []


def fits(path: Path) -> bool:
    """Whether a path means tar files."""
    return bool(shards(path))


def read_captions(path: Path, seed: int) -> Samples:
    """Images with captions; see `read`."""
    return read(path, "captions", seed)


def read_classes(path: Path, seed: int) -> Samples:
    """Images with classes; see `read`."""
    return read(path, "classes", seed)


def read(path: Path, kind: Literal["captions", "classes"], seed: int) -> Samples:
    """The samples of a set of shards.

    Args:
        path: a folder of tar files, one tar file, or a pattern with `{000..123}`.
        kind: whether a `.txt` or `.json` caption or a `.cls` label goes with an image.
        seed: of the splits that the shards do not name.

    Raises:
        InputError: with every missing or damaged shard and every sample that lacks something, counted.
    """
    faults = Faults()
    root = path if path.is_dir() else path.parent
    samples: list[Sample] = []
    names: list[str] = []
    given: dict[str, list[int]] = {}
    files = shards(path)
    split_of = {shard: _split(shard, root) for shard in files}
    for shard in files:
        if any(split_of.values()) and not split_of[shard]:
            faults.add("a shard of no split, beside shards that have one", shard.name)
        for key, members in keyed_members(shard, faults):
            name = f"{shard.relative_to(root)}: {key}"
            image = next((members[ending] for ending in _IMAGES if ending in members), None)
            if image is None:
                faults.add("a sample without an image", name)
            elif (sample := _sample(image, members, kind, name, faults)) is not None:
                given.setdefault(split_of[shard], []).append(len(samples))
                samples.append(sample)
                names.append(name)
    class_names = _class_names(root, samples, faults) if kind == "classes" else ()
    faults.raise_any(str(path))
    given.pop("", None)
    return Samples(str(path), samples, names, complete(given, names, seed, str(path), noun="images"), class_names)


def _split(shard: Path, root: Path) -> str:
    """The split that a shard's folder or name says; empty if none."""
    if shard.parent != root:
        return ALIASES.get(shard.parent.name.lower(), "")
    return ALIASES.get(re.split(r"[^a-z]", shard.name.lower(), maxsplit=1)[0], "")


def keyed_members(shard: Path, faults: Faults) -> Iterator[tuple[str, dict[str, ImagePart]]]:
    """The members of each key of a shard, by their ending."""
    found: dict[str, dict[str, ImagePart]] = {}
    if not shard.is_file():
        faults.add("a missing shard", shard.name)
        return
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if member.isreg():
                    folder, _, file = member.name.rpartition("/")
                    stem, _, ending = file.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    if ending.lower() in found.setdefault(key, {}):
                        faults.add("a member that is there twice", f"{shard.name}: {member.name}")
                    found[key][ending.lower()] = ImagePart(shard, member.offset_data, member.size)
            end = archive.offset
        with shard.open("rb") as file_:
            file_.seek(end)
            if file_.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
                faults.add("a shard that is damaged", f"{shard.name}: at byte {end}")
    except tarfile.ReadError as error:
        faults.add("a shard that is damaged or compressed", f"{shard.name}: {error}")
    except OSError as error:
        faults.add("a shard that cannot be read", f"{shard.name}: {error.strerror}")
    yield from found.items()


def _sample(
    image: ImagePart, members: Mapping[str, ImagePart], kind: Literal["captions", "classes"], name: str, faults: Faults
) -> Sample | None:
    """The sample of an image and what goes with it; None, and a fault, if that is not there."""
    try:
        if kind == "classes" and "cls" in members:
            return Sample(image, label=int(_text(members["cls"])))
        if kind == "classes" or not {"txt", "json"} & set(members):
            faults.add(f"an image without a {'.cls' if kind == 'classes' else '.txt or .json'} beside it", name)
            return None
        if "txt" in members:
            captions: Sequence[object] = [_text(members["txt"])]
        else:
            content = json.loads(_text(members["json"]))
            entry = next((content[key] for key in _CAPTION_KEYS if key in content), "")
            captions = entry if isinstance(entry, list) else [entry]
        texts = tuple(caption.strip() for caption in captions if isinstance(caption, str) and caption.strip())
        if texts and len(texts) == len(captions):
            return Sample(image, texts)
        faults.add("an empty caption", name)
    except (ValueError, TypeError, UnreadableError, RecursionError) as error:
        what = "label" if kind == "classes" else "caption"
        faults.add(f"a {what} that cannot be read", f"{name}: {error}")
    return None


def _text(part: ImagePart) -> str:
    return read_part(part.path, part.offset, part.size).decode("utf-8").strip()


def _class_names(root: Path, samples: Sequence[Sample], faults: Faults) -> tuple[str, ...]:
    """The lines of `classnames.txt`, or the labels' numbers."""
    highest = max((sample.label for sample in samples), default=-1)
    if any(sample.label < 0 for sample in samples):
        faults.add("a negative label", "in .cls")
    file = root / _CLASS_NAMES
    if not file.is_file():
        return tuple(str(label) for label in range(highest + 1))
    try:
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error) from error
    if highest >= len(names):
        faults.add(f"a label without a name in {_CLASS_NAMES}", f"{highest}, with {len(names)} names")
    return names
