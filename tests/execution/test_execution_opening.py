"""What tells a study's data from other data: bytes of a file, names and sizes in a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from catransformers.execution.opening import data_sha256


def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(b"image,caption\n")
    assert data_sha256(path) == hashlib.sha256(b"image,caption\n").hexdigest()


def test_a_folder_is_the_names_and_sizes_of_its_files(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    for folder, order in ((first, ("a/x.jpg", "b.txt")), (second, ("b.txt", "a/x.jpg"))):
        for name in order:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("same size")
    before = data_sha256(first)
    assert before == data_sha256(second)
    (first / "b.txt").write_text("another one")
    changed = data_sha256(first)
    assert changed != before
    (second / "b.txt").rename(second / "c.txt")
    assert data_sha256(second) not in (before, changed)


def test_a_pattern_of_shards_stands_for_itself(tmp_path: Path) -> None:
    assert data_sha256(tmp_path / "{000..010}.tar") == data_sha256(tmp_path / "{000..010}.tar")
    assert data_sha256(tmp_path / "{000..010}.tar") != data_sha256(tmp_path / "{000..011}.tar")
