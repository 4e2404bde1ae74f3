"""Validation of the data before the first trial: a broken file is told now and not in the middle of a night."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from catransformers.accuracy.data.faults import Faults, UnreadableError
from catransformers.accuracy.data.samples import DataSource

_CHUNK: Final = 1024  # samples handed to the threads at a time: a million futures would weigh more than the data

Progress = Callable[[int, int], None]  # samples looked at so far, all samples


def find_faults(source: DataSource, *, decode: bool = True, progress: Progress | None = None) -> Faults:
    """Read every sample of every split, in threads.

    Args:
        source: the data.
        decode: decode the images too; without, only what holds them is read.
        progress: called now and then with how many of how many are done.

    Returns:
        What cannot be read, counted, with examples.
    """
    every = sorted(i for indices in source.splits.values() for i in indices)
    faults = Faults()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders let go of the interpreter lock
        for start in range(0, len(every), _CHUNK):
            chunk = every[start : start + _CHUNK]
            for i, (kind, reason) in zip(chunk, pool.map(lambda i: _fault(source, i, decode), chunk), strict=True):
                if kind:
                    faults.add(kind, f"{source.name(i)}: {reason}")
            if progress:
                progress(start + len(chunk), len(every))
    return faults


def check(source: DataSource, *, decode: bool = True, progress: Progress | None = None) -> None:
    """As `find_faults`, and stop if there are any.

    Raises:
        InputError: if anything cannot be read, with its number and examples.
    """
    find_faults(source, decode=decode, progress=progress).raise_any(source.where)


def _fault(source: DataSource, i: int, decode: bool) -> tuple[str, str]:
    """The kind of fault and its reason; both empty if there is none."""
    try:
        image = source.read(i).image
    except UnreadableError as error:
        return "a sample that cannot be read", str(error)
    try:
        if decode and image is not None:
            image.open()
    except UnreadableError as error:
        return "an image that cannot be read", str(error)
    return "", ""
