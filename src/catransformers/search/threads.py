"""Numpy lets go of the interpreter, so that parts of a calculation can be shared out to all cores by threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any


def in_threads(work: Callable[[Any], None], parts: Iterable[Any]) -> None:
    """Do the work of every part, on all cores; the first error that a part raises is raised."""
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        list(pool.map(work, parts))
