"""Text that needs no download: the documentation strings of Python's own library, wherever this runs.

Two sources are made of them. `passages`: sentences with the name of the package that they document, to be classified.
`prose`: the strings whole, for language models. Which split a documentation string goes to follows from its SHA-256
alone, so that it is the same under every version of Python, although the text itself grows a little with each.

Source: the Python standard library (Python Software Foundation License), read from the installation, not copied.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from catransformers.accuracy.data.samples import Sample, Samples
from catransformers.errors import InputError, Problem

#: The packages whose sentences are told apart: those with the most to say that every installation has.
PACKAGES = ("asyncio", "email", "http", "importlib", "logging", "multiprocessing", "unittest", "xml")
#: Modules and packages whose documentation language models read, beside `PACKAGES`.
PROSE = [
    "argparse",
    "codecs",
    "collections",
    "concurrent",
    "configparser",
    "contextlib",
    "csv",
    "ctypes",
    "datetime",
    "_pydecimal",
    "decimal",
    "difflib",
    "dis",
    "doctest",
    "enum",
    "fractions",
    "ftplib",
    "functools",
    "imaplib",
    "inspect",
    "ipaddress",
    "json",
    "numbers",
    "pathlib",
    "pdb",
    "pickle",
    "platform",
    "_pyio",
    "random",
    "shutil",
    "smtplib",
    "socket",
    "ssl",
    "statistics",
    "string",
    "subprocess",
    "tarfile",
    "tempfile",
    "threading",
    "tkinter",
    "turtle",
    "typing",
    "urllib",
    "uuid",
    "wsgiref",
    "xmlrpc",
    "zipfile",
]
_WITHOUT = {"test", "tests"}
_SPLITS = ("train",) * 7 + ("calibration", "validation", "test")
_LEAST_WORDS, _MOST_WORDS = 4, 40
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n\s*\n")
_WORD = re.compile(r"[A-Za-z]{2,}")


@cache
def documentation(*packages: str) -> tuple[tuple[str, str], ...]:
    """The documentation strings of some packages and modules, each once, with the first that it stands in; sorted.

    Raises:
        InputError: if the installation has no sources.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, str] = {}
    for package in packages:
        for path in sorted([*library.glob(f"{package}.py"), *library.joinpath(package).rglob("*.py")]):
            if not _WITHOUT.intersection(path.relative_to(library).parts):
                for text in _strings(path):
                    found.setdefault(text, package)
    if not found:
        raise InputError(Problem("accuracy.task", "this Python has no sources of its library to take text from"))
    return tuple(sorted((package, text) for text, package in found.items()))


def _strings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text


def _split(text: str) -> str:
    return _SPLITS[hashlib.sha256(text.encode()).digest()[0] % len(_SPLITS)]


@cache
def passages() -> Samples:
    """Sentences of the documentation of `PACKAGES`, labelled with the package; a string's sentences share a split."""
    samples: list[Sample] = []
    names: list[str] = []
    splits: dict[str, list[int]] = {split: [] for split in dict.fromkeys(_SPLITS)}
    seen: set[str] = set()
    for package, text in documentation(*PACKAGES):
        for sentence in _SENTENCE.split(text):
            plain = " ".join(sentence.split())
            words = _WORD.findall(plain)
            if not _LEAST_WORDS <= len(words) <= _MOST_WORDS or plain in seen:
                continue
            seen.add(plain)
            splits[_split(text)].append(len(samples))
            samples.append(Sample(label=PACKAGES.index(package), texts=(plain,)))
            names.append(f"{package}: {plain[:40]}")
    return Samples("Python's documentation strings", samples, names, splits, PACKAGES)


@cache
def prose() -> Samples:
    """The documentation strings of `PACKAGES` and `PROSE` whole, as plain text; each is a document."""
    samples: list[Sample] = []
    names: list[str] = []
    splits: dict[str, list[int]] = {split: [] for split in dict.fromkeys(_SPLITS)}
    for package, text in documentation(*PACKAGES, *PROSE):
        splits[_split(text)].append(len(samples))
        samples.append(Sample(texts=(text + "\n\n",)))
        names.append(f"{package}: {text[:40]!r}")
    return Samples("Python's documentation strings", samples, names, splits)
