"""Webdataset's shards and Hugging Face data sets on disk."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from catransformers.accuracy.data import SPLITS, DataSource, Sample, batches, check, open_data
from catransformers.errors import InputError


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "png")
    return file.getvalue()


def tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def captioned(first: int, count: int = 10) -> dict[str, bytes]:
    result = {}
    for i in range(first, first + count):
        result[f"{i:04d}.png"] = png(i)
        result[f"{i:04d}.txt"] = f"text {i}\n".encode()
    return result


def sizes(source: DataSource) -> list[int]:
    return [len(source.splits[split]) for split in SPLITS]


def shade(source: DataSource, i: int) -> int:
    image = source.read(i).image
    assert image is not None
    return image.open().getpixel((0, 0))[0]


def test_shards_of_captions(tmp_path: Path) -> None:
    for k in range(3):
        tar(tmp_path / f"{k:03d}.tar", captioned(10 * k))
    source = open_data(tmp_path, "captions")
    check(source)
    assert sizes(source) == [21, 3, 3, 3]
    assert all(source.read(i).captions == (f"text {i}",) and shade(source, i) == i for i in range(30))
    assert source.name(12) == "001.tar: 0012"
    some = open_data(f"{tmp_path}/{{001..002}}.tar", "captions")
    assert some.read(0).captions == ("text 10",)
    with pytest.raises(InputError, match=r"2 × a missing shard: 003.tar; 004.tar"):
        open_data(f"{tmp_path}/{{000..004}}.tar", "captions")


def test_shards_with_json_captions_and_splits_by_name(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("val", 8)):
        members = {}
        for i in range(count):
            members[f"{split}/{i}.a.png"] = png(i)  # the key ends at the first dot: no image called .a.png
            members[f"{split}/{i}.jpg"] = png(i)
            members[f"{split}/{i}.json"] = json.dumps({"captions": [f"{split} {i}", "more"]}).encode()
        tar(tmp_path / f"{split}-0000.tar", members)
    source = open_data(tmp_path, "captions")
    assert sizes(source) == [18, 2, 4, 4]
    assert all(
        source.read(i).captions[0].startswith("train") for s in ("train", "calibration") for i in source.splits[s]
    )
    assert source.read(3).captions == ("train 3", "more")


def test_shards_of_classes_in_split_folders(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("test", 6)):
        members = {f"s{i}.png": png(i) for i in range(count)} | {f"s{i}.cls": b"%d\n" % (i % 3) for i in range(count)}
        tar(tmp_path / split / "0.tar", members)
    source = open_data(tmp_path, "classes")
    assert sizes(source) == [16, 2, 2, 6]
    assert source.class_names == ("0", "1", "2")
    assert all(source.read(i).label == shade(source, i) % 3 for i in range(26))
    (tmp_path / "classnames.txt").write_text("ant\nbee\ncat\n")
    assert open_data(tmp_path, "classes").class_names == ("ant", "bee", "cat")
    (tmp_path / "classnames.txt").write_text("ant\nbee\n")
    with pytest.raises(InputError, match=r"a label without a name in classnames.txt: 2, with 2 names"):
        open_data(tmp_path, "classes")


def test_damaged_shards(tmp_path: Path) -> None:
    tar(tmp_path / "ok.tar", captioned(0))
    whole = tar(tmp_path / "cut.tar", captioned(10)).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:2000])
    middle = bytearray(tar(tmp_path / "middle.tar", captioned(20)).read_bytes())
    middle[2048:2560] = b"\x07" * 512  # the header of the third member
    (tmp_path / "middle.tar").write_bytes(bytes(middle))
    (tmp_path / "none.tar").write_bytes(b"no tar at all" * 100)
    tar(
        tmp_path / "odd.tar",
        {"a.txt": b"x", "b.png": png(1), "c.png": png(1), "c.txt": b"  ", "d.png": png(1), "d.json": b"{}"}
        | {"e.png": png(1), "e.txt": b"\xff"},
    )
    with pytest.raises(InputError) as caught:
        open_data(tmp_path, "captions")
    text = str(caught.value)
    assert "2 × a shard that is damaged or compressed: cut.tar: unexpected end of data; none.tar" in text
    assert "1 × a shard that is damaged: middle.tar: at byte 2048" in text
    assert "1 × a sample without an image: odd.tar: a" in text
    assert "1 × an image without a .txt or .json beside it: odd.tar: b" in text
    assert "2 × an empty caption: odd.tar: c; odd.tar: d" in text
    assert "1 × a caption that cannot be read: odd.tar: e: 'utf-8'" in text


def test_an_image_that_breaks_in_a_shard_is_skipped(tmp_path: Path) -> None:
    members = captioned(0, 24)
    members["0005.png"] = b"no picture"
    tar(tmp_path / "0.tar", members)
    source = open_data(tmp_path, "captions")
    with pytest.raises(InputError, match=r"1 × an image that cannot be read: 0.tar: 0005: not an image"):
        check(source)

    def make(sample: Sample, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        assert sample.image is not None
        return {"shade": torch.tensor(sample.image.open().getpixel((0, 0))[0])}

    told = []
    stream = batches(source, range(24), make, 6, 0, workers=2, on_fault=lambda *fault: told.append(fault))
    seen = {int(i) for _ in range(8) for i in next(stream)["shade"]}
    assert seen == set(range(24)) - {5}
    assert told == [("0.tar: 0005", "not an image")]


datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def pictures(count: int, **columns: Any) -> Any:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee", "cat"])}
        | {name: datasets.Value("string") for name in columns}
    )
    data = {"image": [{"bytes": png(i), "path": None} for i in range(count)], "label": [i % 3 for i in range(count)]}
    return datasets.Dataset.from_dict(data | columns, features=features)


@pytest.mark.parametrize("as_parquet", [False, True])
def test_data_sets_of_classes(tmp_path: Path, as_parquet: bool) -> None:
    path = tmp_path / "data"
    if as_parquet:
        path.mkdir()
        pictures(20).to_parquet(str(path / "train-00000-of-00001.parquet"))
        pictures(8).to_parquet(str(path / "test-00000-of-00001.parquet"))
    else:
        datasets.DatasetDict({"train": pictures(20), "test": pictures(8)}).save_to_disk(str(path))
    source = open_data(path, "classes")
    check(source)
    assert source.class_names == ("ant", "bee", "cat")
    assert sizes(source) == [16, 2, 2, 8]
    by_name = {source.name(i): i for i in range(len(source))}
    assert all(shade(source, by_name[f"train row {i}"]) == i for i in range(20))
    assert all(source.read(by_name[f"test row {i}"]).label == i % 3 for i in range(8))
    assert {source.name(i).split()[0] for i in source.splits["test"]} == {"test"}


def test_a_data_set_without_splits_and_with_captions(tmp_path: Path) -> None:
    pictures(20, caption=[f"text {i}" for i in range(20)]).save_to_disk(str(tmp_path / "data"))
    source = open_data(tmp_path / "data", "captions")
    assert sizes(source) == [14, 2, 2, 2]
    assert all(source.read(i).captions == (f"text {i}",) for i in range(20))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_of_pairs_feeds_workers(tmp_path: Path, workers: int) -> None:
    def part(count: int, label: int | None = None) -> Any:
        rows = {
            "sentence1": [f"a{i}" for i in range(count)],
            "sentence2": [f"b{i}" for i in range(count)],
            "label": [i % 2 if label is None else label for i in range(count)],
        }
        return datasets.Dataset.from_dict(rows)

    parts = {"train": part(40), "validation": part(12), "test": part(9, label=-1)}  # the test's classes are withheld
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "data"))
    source = open_data(tmp_path / "data", "texts")
    assert sizes(source) == [36, 4, 6, 6]
    assert source.class_names == ("0", "1")

    def make(sample: Sample, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        return {"both": torch.tensor([int(text[1:]) for text in sample.texts] + [sample.label])}

    first = next(batches(source, source.splits["train"], make, 8, 0, workers=workers))["both"]
    assert torch.equal(first[:, 0], first[:, 1])
    assert torch.equal(first[:, 0] % 2, first[:, 2])


def test_data_sets_that_do_not_fit_or_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "data"
    datasets.Dataset.from_dict({"x": [1, 2]}).save_to_disk(str(path))
    with pytest.raises(InputError) as caught:
        open_data(path, "classes")
    assert [problem.what for problem in caught.value.problems] == ["no column of images", "no column of labels"]
    with pytest.raises(InputError, match="no column of text"):
        open_data(path, "texts")
    datasets.Dataset.from_dict({"text": ["a"] * 20, "label": [0.5] * 20}).save_to_disk(str(tmp_path / "score"))
    with pytest.raises(InputError, match="a regression, such as STS-B, is not supported"):
        open_data(tmp_path / "score", "texts")
    datasets.Dataset.from_dict({"text": ["a"] * 20, "label": ["x"] * 20}).save_to_disk(str(tmp_path / "words"))
    with pytest.raises(InputError, match="a column of labels that are no whole numbers: label"):
        open_data(tmp_path / "words", "texts")
    (path / "state.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        open_data(path, "texts")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read"):
        open_data(tmp_path / "torn", "texts")


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match=r'pip install "catransformers\[data\]"'):
        open_data(tmp_path, "texts")
