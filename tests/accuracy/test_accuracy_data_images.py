"""Images with captions or classes, in every layout on disk that is read; and what is said of damaged ones."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catransformers.accuracy.data import SPLITS, DataSource, Sample, check, open_data
from catransformers.accuracy.data.splits import complete, random_split
from catransformers.errors import InputError


def picture(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(path)


def sizes(source: DataSource) -> list[int]:
    return [len(source.splits[split]) for split in SPLITS]


def names(source: DataSource, split: str) -> set[str]:
    return {source.name(i) for i in source.splits[split]}


def covers_all_once(source: DataSource) -> bool:
    return sorted(i for split in SPLITS for i in source.splits[split]) == list(range(len(source)))


def sample(source: DataSource, name: str) -> Sample:
    return source.read(next(i for i in range(len(source)) if source.name(i) == name))


def coco(root: Path, sets: Sequence[str] = ("train2017", "val2017"), count: int = 20) -> Path:
    for at, name in enumerate(sets):
        images = [{"id": 100 * at + i, "file_name": f"{at}{i:04d}.jpg"} for i in range(count)]
        captions = [{"image_id": m["id"], "caption": f"{k} of {m['id']}\n"} for m in images for k in ("one", "two")]
        for m in images:
            picture(root / name / m["file_name"], m["id"])
        (root / "annotations").mkdir(exist_ok=True)
        content = {"images": images, "annotations": captions}
        (root / "annotations" / f"captions_{name}.json").write_text(json.dumps(content))
    return root


def test_coco(tmp_path: Path) -> None:
    source = open_data(coco(tmp_path), "captions")
    check(source)
    assert sizes(source) == [18, 2, 10, 10]  # a tenth of train calibrates; half of val tests
    assert covers_all_once(source)
    assert all(name.startswith("0") for split in ("train", "calibration") for name in names(source, split))
    one = sample(source, "10003.jpg")
    assert one.captions == ("one of 103", "two of 103")
    assert one.image.open().getpixel((0, 0))[0] == pytest.approx(103, abs=2)


def test_coco_of_one_set_or_of_two_years(tmp_path: Path) -> None:
    source = open_data(coco(tmp_path / "val", ["val2014"]), "captions", seed=1)
    assert sizes(source) == [14, 2, 2, 2]
    both = open_data(coco(tmp_path / "both", ["train2014", "val2014", "train2017", "val2017"]), "captions")
    assert all(name[0] in "23" for split in SPLITS for name in names(both, split))


def test_damaged_coco(tmp_path: Path) -> None:
    root = coco(tmp_path)
    for i in range(4):
        (root / "val2017" / f"1{i:04d}.jpg").unlink()
    path = root / "annotations" / "captions_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"] += [{"image_id": 9999, "caption": "x"}]
    content["images"] += [{"id": 77, "file_name": "no-caption.jpg"}]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        open_data(root, "captions")
    text = str(caught.value)
    assert "4 × a missing image: captions_val2017.json: 10000.jpg" in text
    assert "1 × a caption of an unknown image: captions_train2017.json: image 9999" in text
    assert "1 × an empty image or caption: captions_train2017.json: 'no-caption.jpg'" in text
    for damage, message in (("{", "cannot be read"), ("[]", "not COCO's format"), ('{"images": [{}]}', "'id'")):
        path.write_text(damage)
        with pytest.raises(InputError, match=message):
            open_data(root, "captions")
    path.write_text(json.dumps(content))
    (root / "train2017").rename(root / "elsewhere")
    with pytest.raises(InputError, match="no folder 'train2017' with its images"):
        open_data(root, "captions")


@pytest.mark.parametrize("layout", ["token", "csv"])
def test_flickr(tmp_path: Path, layout: str) -> None:
    for i in range(20):
        picture(tmp_path / "flickr30k_images" / "flickr30k_images" / f"{i}.jpg", i)
    rows = [(f"{i}.jpg", k, f"text {k}, of {i} .") for i in range(20) for k in range(2)]
    if layout == "token":
        path = tmp_path / "results_20130124.token"
        path.write_text("".join(f"{image}#{k}\t{text}\n" for image, k, text in rows))
    else:
        path = tmp_path / "results.csv"
        lines = [f"{image}| {k}| {text}" for image, k, text in rows]
        lines[7] = lines[7].replace("| text", "   text")  # as in the published file
        path.write_text("\n".join(["image_name| comment_number| comment", *lines]) + "\n")
    source = open_data(tmp_path, "captions")
    check(source)
    assert sizes(source) == [14, 2, 2, 2]
    assert covers_all_once(source)
    assert sample(source, "3.jpg").captions == ("text 0, of 3 .", "text 1, of 3 .")
    assert [source.read(i) for i in range(20)] == [open_data(path, "captions").read(i) for i in range(20)]
    with path.open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(InputError, match="1 × a line that is not an image and its caption: line 4"):
        open_data(tmp_path, "captions")


@pytest.mark.parametrize("subfolder", ["", "val2014"])
def test_karpathy(tmp_path: Path, subfolder: str) -> None:
    splits = ["train"] * 10 + ["restval"] * 10 + ["val"] * 4 + ["test"] * 4
    entries = []
    for i, split in enumerate(splits):
        picture(tmp_path / "images" / subfolder / f"{i}.jpg")
        entry = {"filename": f"{i}.jpg", "split": split, "sentences": [{"raw": f"a {i}"}, {"raw": f"b {i}"}]}
        entries.append(entry | ({"filepath": subfolder} if subfolder else {}))
    path = tmp_path / "dataset_flickr30k.json"
    path.write_text(json.dumps({"images": entries}))
    source = open_data(tmp_path, "captions")
    assert sizes(source) == [18, 2, 4, 4]
    assert {Path(name).stem for name in names(source, "test")} == {"24", "25", "26", "27"}
    assert source.read(20).captions == ("a 20", "b 20")
    entries[0]["split"] = "holdout"
    path.write_text(json.dumps({"images": entries}))
    with pytest.raises(InputError, match=r"1 × an unknown split .*: dataset_flickr30k.json: 'holdout'"):
        open_data(path, "captions")
    path.write_text(json.dumps({"images": [{"filename": "x"}]}))
    with pytest.raises(InputError, match="not Karpathy's format: 'sentences'"):
        open_data(path, "captions")


def test_a_csv_with_some_of_the_splits(tmp_path: Path) -> None:
    rows = [f"{i}.png,text {i},{'train' if i < 20 else 'validation'}" for i in range(28)]
    for i in range(28):
        picture(tmp_path / f"{i}.png")
    (tmp_path / "pairs.csv").write_text("\n".join(["image,caption,split", *rows]))
    source = open_data(tmp_path / "pairs.csv", "captions")
    assert sizes(source) == [18, 2, 4, 4]


def class_folders(root: Path, count: int = 10, classes: Sequence[str] = ("ant", "bee")) -> Path:
    for label, name in enumerate(classes):
        for i in range(count):
            picture(root / name / f"{i}.png", label)
    return root


def test_class_folders(tmp_path: Path) -> None:
    source = open_data(class_folders(tmp_path), "classes")
    check(source)
    assert source.class_names == ("ant", "bee")
    assert sizes(source) == [14, 2, 2, 2]
    assert all(
        source.read(i).image.open().getpixel((0, 0))[0] == source.read(i).label == source.name(i).startswith("bee")
        for i in range(20)
    )
    other = open_data(tmp_path, "classes", seed=3)
    assert names(other, "test") != names(source, "test")


def test_class_folders_with_splits(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "val", 4)
    source = open_data(tmp_path, "classes")
    assert sizes(source) == [18, 2, 4, 4]
    assert all(name.startswith("val") for name in names(source, "validation") | names(source, "test"))
    assert all(source.read(i).label == ("bee" in source.name(i)) for i in range(len(source)))


def test_damaged_class_folders(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "val", 4, ["ant", "bee", "cat"])
    class_folders(tmp_path / "more", 2)
    picture(tmp_path / "val" / "lonely.png")
    with pytest.raises(InputError) as caught:
        open_data(tmp_path, "classes")
    text = str(caught.value)
    assert "1 × a folder with images that is no split, beside folders that are: more" in text
    assert "1 × an image outside of the class folders: val/lonely.png" in text
    assert "4 × an image of a class that the training data lack: val/cat/0.png" in text
    with pytest.raises(InputError, match=r"a single class.*: ant"):
        open_data(class_folders(tmp_path / "one", 10, ["ant"]), "classes")
    with pytest.raises(InputError, match="1 images in the split 'test'; allowed: at least 2"):
        open_data(class_folders(tmp_path / "few", 2), "classes")


def cifar(root: Path, fine: bool, per_file: int = 20) -> Path:
    root.mkdir(parents=True)
    files = ["train.bin", "test.bin"] if fine else [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    (root / ("fine_label_names.txt" if fine else "batches.meta.txt")).write_text("ant\nbee\ncat\n\n")
    for file in files:
        records = np.zeros((per_file, 3 + fine - 2 + 3072), np.uint8)
        records[:, int(fine)] = np.arange(per_file) % 3
        if fine:
            records[:, 0] = 19  # the coarse label is not used
        pixels = records[:, 1 + fine :].reshape(per_file, 3, 32, 32)
        pixels[:, 1, 5, 9] = np.arange(per_file)  # green, row 5, column 9
        records.tofile(root / file)
    return root


@pytest.mark.parametrize("fine", [False, True])
def test_cifar(tmp_path: Path, fine: bool) -> None:
    cifar(tmp_path / ("cifar-100-binary" if fine else "cifar-10-batches-bin"), fine)
    source = open_data(tmp_path, "classes")
    check(source)
    assert sizes(source) == ([16, 2, 2, 20] if fine else [80, 10, 10, 20])
    assert source.class_names == ("ant", "bee", "cat")
    for i in (0, 7, 19):
        one = source.read(i)
        assert one.label == i % 3
        assert one.image.open().getpixel((9, 5)) == (0, i, 0)
    assert all(name.startswith("test") for name in names(source, "test"))


def test_damaged_cifar(tmp_path: Path) -> None:
    root = cifar(tmp_path / "a", fine=False)
    (root / "data_batch_2.bin").unlink()
    (root / "data_batch_3.bin").write_bytes(b"short")
    (root / "batches.meta.txt").write_text("ant\nbee\n")
    with pytest.raises(InputError) as caught:
        open_data(root, "classes")
    text = str(caught.value)
    assert "1 × a missing file: data_batch_2.bin" in text
    assert "1 × a file that is not whole: data_batch_3.bin: 5 bytes" in text
    assert "24 × a label without a name in batches.meta.txt: data_batch_1.bin: record 2: 2" in text
    python = tmp_path / "python" / "cifar-10-batches-py"
    python.mkdir(parents=True)
    (python / "batches.meta").write_bytes(b"\x80\x02")
    with pytest.raises(InputError, match=r"pickles are never read.*download the binary version"):
        open_data(python.parent, "classes")


def test_what_fits_no_layout_is_told_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("x")
    with pytest.raises(InputError, match=r"in no layout that is known; allowed: Karpathy's .*COCO .*Flickr .*CSV.*tar"):
        open_data(tmp_path, "captions")
    with pytest.raises(InputError, match=r"CIFAR.*one folder of images a class"):
        open_data(tmp_path, "classes")
    with pytest.raises(InputError, match=r"does not exist.*did you mean 'readme.md'"):
        open_data(tmp_path / "readme", "plain")


def test_a_split_depends_on_names_not_on_their_order() -> None:
    some = [f"image {i}" for i in range(50)]
    mixed = some[::-1]
    one, two = random_split(some, 4), random_split(mixed, 4)
    assert {s: {some[i] for i in one[s]} for s in SPLITS} == {s: {mixed[i] for i in two[s]} for s in SPLITS}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [70, 10, 10, 10]),
        ({"test": range(100)}, [70, 10, 10, 10]),
        ({"train": range(60), "test": range(60, 100)}, [48, 6, 6, 40]),
        ({"train": range(60), "validation": range(60, 100)}, [54, 6, 20, 20]),
        ({"train": range(60), "validation": range(60, 80), "test": range(80, 100)}, [54, 6, 20, 20]),
        ({"train": range(40), "calibration": range(40, 60), "test": range(60, 100)}, [36, 20, 4, 40]),
    ],
)
@pytest.mark.parametrize("running", [False, True])
def test_missing_splits_are_cut_from_what_is_there(given: dict[str, range], expected: list[int], running: bool) -> None:
    some = [f"{i:03d}" for i in range(100)]
    splits = complete(given, some, 0, "here", running=running)
    assert [len(splits[split]) for split in SPLITS] == expected
    assert sorted(i for split in SPLITS for i in splits[split]) == list(range(100))
    if len(given) > 1:
        donors = {"calibration": "train", "validation": "train", "test": "validation"}
        for split in SPLITS:
            whole = given.get(split, given.get(donors.get(split, ""), ()))
            assert set(splits[split]) <= set(whole)


def test_data_that_cannot_train_are_refused() -> None:
    with pytest.raises(InputError, match="no split 'train', only validation, test"):
        complete({"validation": range(5), "test": range(5, 9)}, ["x"] * 9, 0, "here")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'image,caption\n"a,b\n'])
@pytest.mark.parametrize("kind", ["captions", "texts"])
def test_tables_that_are_none(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"no column|not a CSV file"):
        open_data(path, kind)
