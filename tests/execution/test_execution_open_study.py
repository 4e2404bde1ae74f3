"""What tells a study's data from other data: bytes of a file; names, sizes and texts in a folder; and its origin."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from catransformers.config.sections import AccuracySection, ModelSection
from catransformers.config.study import StudyConfig
from catransformers.errors import InputError
from catransformers.execution.studies.open_study import data_sha256, keep_origin, origin_of
from catransformers.models.loading.storage import embedded_model, save_model
from catransformers.study.store import Store


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
    before = data_sha256(tmp_path / "{000..010}.tar")
    assert before != data_sha256(tmp_path / "{000..011}.tar")
    (tmp_path / "007.tar").write_bytes(b"a shard")
    assert data_sha256(tmp_path / "{000..010}.tar") != before


@pytest.mark.parametrize(
    ("name", "noticed"), [("dev.tsv", True), ("annotations/captions.json", True), ("a.jpg", False)]
)
def test_a_label_that_is_corrected_is_noticed_though_the_size_is_the_same(
    name: str, noticed: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("a sentence\t0\n")
    before = data_sha256(tmp_path)
    path.write_text("a sentence\t1\n")
    assert (data_sha256(tmp_path) != before) == noticed


def test_linked_folders_count_and_links_in_a_circle_end(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    (elsewhere / "cat").mkdir(parents=True)
    (elsewhere / "cat" / "1.jpg").write_bytes(b"1")
    (data / "train").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "back").symlink_to(data, target_is_directory=True)
    (data / "gone.jpg").symlink_to(tmp_path / "nothing")
    before = data_sha256(data)
    (data / ".DS_Store").write_bytes(b"a system's own")
    assert data_sha256(data) == before
    (elsewhere / "cat" / "2.jpg").write_bytes(b"2")
    assert data_sha256(data) != before


def test_all_that_a_study_reads_is_its_origin(tmp_path: Path) -> None:
    save_model(embedded_model(), tmp_path / "base" / "model.safetensors")
    files = {"tokenizer": "base/tokenizer.json", "class_names": "names.txt", "templates": "templates.txt"}
    for name in files.values():
        (tmp_path / name).write_text("one")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("one")
    config = StudyConfig(
        name="s",
        model=ModelSection(base=str(tmp_path / "base")),
        accuracy=AccuracySection(
            task="zero-shot-classification",
            data=str(tmp_path / "data"),
            class_names=str(tmp_path / "names.txt"),
            templates=str(tmp_path / "templates.txt"),
        ),
    )
    with Store(tmp_path / "study.db", "create") as store:
        keep_origin(store, origin_of(config))
        keep_origin(store, origin_of(config))
        for key, name in {**files, "data": "data/a.txt"}.items():
            shutil.copy(tmp_path / name, tmp_path / "kept")
            (tmp_path / name).write_text("two")
            with pytest.raises(InputError, match="are not those that the study began with") as raised:
                keep_origin(store, origin_of(config))
            assert [p.where for p in raised.value.problems] == [
                "model.base" if key == "tokenizer" else f"accuracy.{key}"
            ]
            shutil.copy(tmp_path / "kept", tmp_path / name)


def test_an_older_study_that_did_not_remember_the_tokeniser_goes_on(tmp_path: Path) -> None:
    with Store(tmp_path / "study.db", "create") as store:
        keep_origin(store, {"base_sha256": "a", "catransformers": "1"})
        keep_origin(store, {"base_sha256": "a", "catransformers": "2", "tokenizer_sha256": "b"})
        with pytest.raises(InputError, match="weights"):
            keep_origin(store, {"base_sha256": "c", "catransformers": "2"})
