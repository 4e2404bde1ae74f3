"""The samples of a data set: labels or captions in memory, images as stretches of the shards' bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from catransformers.accuracy.benchmark.finding import Dataset
from catransformers.accuracy.data import Faults, Sample, Samples, UnreadableError
from catransformers.accuracy.data.samples import ImagePart, read_part
from catransformers.accuracy.data.webdataset import keyed_members

_IMAGES: Final = ("webp", "png", "jpg", "jpeg")


def read_samples(dataset: Dataset) -> Samples:
    """Every sample of a data set's shards, all of them in the split `test`.

    Raises:
        InputError: with every damaged shard and every sample that lacks something, counted.
    """
    faults = Faults()
    samples: list[Sample] = []
    names: list[str] = []
    for shard in dataset.shards:
        for key, members in keyed_members(shard, faults):
            name = f"{shard.name}: {key}"
            image = next((members[ending] for ending in _IMAGES if ending in members), None)
            if image is None:
                faults.add("a sample without an image", name)
                continue
            retrieval = dataset.kind == "retrieval"
            sample = _captioned(image, members, name, faults) if retrieval else None
            if not retrieval:
                sample = _labelled(image, members, name, len(dataset.class_names), faults)
            if sample is not None:
                samples.append(sample)
                names.append(name)
    if not samples and not len(faults):
        faults.add("a data set without samples", dataset.folder.name)
    faults.raise_any(str(dataset.folder))
    return Samples(str(dataset.folder), samples, names, {"test": range(len(samples))}, dataset.class_names)


def _captioned(image: ImagePart, members: Mapping[str, ImagePart], name: str, faults: Faults) -> Sample | None:
    """An image with its captions, a line each."""
    text = _text(members, "txt", name, faults)
    if text is None:
        return None
    captions = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not captions:
        faults.add("an image without captions", name)
        return None
    return Sample(image, captions)


def _labelled(
    image: ImagePart, members: Mapping[str, ImagePart], name: str, classes: int, faults: Faults
) -> Sample | None:
    """An image with the number of its class."""
    text = _text(members, "cls", name, faults)
    if text is None:
        return None
    try:
        label = int(text)
    except ValueError:
        faults.add("a label that is no number", f"{name}: {text.strip()[:40]!r}")
        return None
    if not 0 <= label < classes:
        faults.add("a label without a class", f"{name}: {label}, and there are {classes} classes")
        return None
    return Sample(image, label=label)


def _text(members: Mapping[str, ImagePart], ending: str, name: str, faults: Faults) -> str | None:
    """A member's text; None, and a fault, if it is missing or cannot be read."""
    if ending not in members:
        faults.add(f"an image without a .{ending} beside it", name)
        return None
    part = members[ending]
    try:
        return read_part(part.path, part.offset, part.size).decode("utf-8")
    except (UnreadableError, UnicodeDecodeError) as error:
        faults.add(f"a .{ending} that cannot be read", f"{name}: {error}")
        return None
