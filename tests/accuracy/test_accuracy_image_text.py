"""Retrieval on a user's images: splits, faults, recall with several captions, and the whole way through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from user_data import (
    COLOURS,
    check_batches,
    clip_base,
    clip_spec,
    net_of,
    section,
    take,
    words,
    write_csv,
    write_images,
)

from catransformers.accuracy.data import SPLITS, open_data
from catransformers.accuracy.metrics.retrieval import score_similarity
from catransformers.accuracy.tasks import open_task
from catransformers.accuracy.tasks.image_text import RetrievalTask
from catransformers.accuracy.training.proxy import ProxySettings, fine_tune
from catransformers.errors import InputError
from catransformers.models.loading.preprocess import Preprocess
from catransformers.models.pruning.importance_store import cached_importance
from catransformers.models.pruning.prune import prune
from catransformers.workloads.clip import parameters


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images, two captions each, no split."""
    folder = tmp_path_factory.mktemp("pairs")
    names = write_images(folder, 40)
    rows = [(n, f"a {COLOURS[i % 8]} picture {k} of {i}") for i, n in enumerate(names) for k in ("one", "two")]
    return write_csv(folder, rows)


def make_task(path: Path, **keys: int) -> RetrievalTask:
    return RetrievalTask(open_data(path, "captions"), section("retrieval", path, **keys), Preprocess(8), words)


def test_images_are_split_whole_and_by_the_seed(pairs: Path) -> None:
    first, again, other = (open_data(pairs, "captions", seed=seed) for seed in (0, 0, 1))
    assert first.splits == again.splits != other.splits
    assert {split: len(first.splits[split]) for split in SPLITS} == {
        "train": 28,
        "calibration": 4,
        "validation": 4,
        "test": 4,
    }
    assert all(len(first.read(i).captions) == 2 for i in range(40))


def test_a_split_column_is_followed(tmp_path: Path) -> None:
    names = write_images(tmp_path, 8)
    rows = [(name, f"picture {i}", SPLITS[i // 2]) for i, name in enumerate(names)]
    source = open_data(write_csv(tmp_path, rows, "image,caption,split"), "captions")
    assert [[source.name(i) for i in source.splits[split]] for split in SPLITS] == [
        names[i : i + 2] for i in range(0, 8, 2)
    ]


def test_batches_hold_an_image_once_with_any_of_its_captions(pairs: Path) -> None:
    task = make_task(pairs)
    check_batches(task, 8)
    batches = take(task.train_batches(9, 0), 12)
    for batch in batches:
        assert batch["images"].shape == (9, 3, 8, 8)
        assert batch["tokens"].shape == (9, 3)
        assert len(torch.unique(batch["images"].flatten(1), dim=0)) == 9
    source, seen = task.source, {tuple(row.tolist()) for batch in batches for row in batch["tokens"]}
    known = {tuple(row.tolist()) for i in source.splits["train"] for row in words(source.read(i).captions)}
    assert seen <= known
    assert len(seen) > 28  # of both captions of some images
    assert len(next(task.train_batches(500, 0))["images"]) == 28


def test_calibration_has_no_batch_of_one(pairs: Path) -> None:
    task = make_task(pairs)
    assert [len(batch["images"]) for batch in task.calibration_batches(2)] == [2, 2]
    assert [len(batch["images"]) for batch in task.calibration_batches(3)] == [3]


def test_the_score_is_that_of_a_slow_count(pairs: Path) -> None:
    """Recall written out in loops over a pool of three images with two captions each."""
    task, net = make_task(pairs, pool_samples=3), net_of(clip_spec())
    indices = task.source.splits["validation"][:3]
    samples = [task.source.read(i) for i in indices]
    with torch.no_grad():
        images = [net.outputs({"images": Preprocess(8)(s.image.open())[None]})["image"][0] for s in samples if s.image]
        texts = [net.outputs({"tokens": words([c])})["text"][0] for s in samples for c in s.captions]
    cosines = np.array([[float(image @ text) for text in texts] for image in images])  # (3, 6)
    values = []
    for text in range(6):
        own = text // 2
        best_own = max(cosines[own, 2 * own], cosines[own, 2 * own + 1])
        image_found = all(best_own > cosines[own, t] for t in range(6) if t // 2 != own)
        text_found = all(cosines[own, text] > cosines[i, text] for i in range(3) if i != own)
        values.append((image_found + text_found) / 2)
    score = task.evaluate(net.train(), "validation")
    assert net.training
    assert score.values.tolist() == values
    assert score.groups.tolist() == [0, 0, 1, 1, 2, 2]
    sums = np.array(values).reshape(3, 2).sum(axis=1) - 2 * np.mean(values)
    assert score.standard_error == pytest.approx(np.sqrt(3 / 2 * np.sum(sums**2)) / 6)
    with pytest.raises(InputError, match="unknown pool 'train'"):
        task.evaluate(net, "train")  # type: ignore[arg-type]


def test_recall_counts_any_of_an_images_captions() -> None:
    """Two images with captions (0, 1) and (2, 3): written out by hand."""
    by_image = torch.tensor([[0.9, 0.1, 0.5, 0.2], [0.3, 0.4, 0.6, 0.1]])
    image_of = np.array([0, 0, 1, 1])
    score = score_similarity(by_image[torch.from_numpy(image_of)], image_of, image_of)
    assert score.metrics["image_to_text"] == 1.0  # 0.9 is a caption of image 0, 0.6 one of image 1
    assert score.metrics["text_to_image"] == 0.5  # captions 1 and 3 prefer the other image
    assert score.values.tolist() == [1.0, 0.5, 1.0, 0.5]


def test_recall_without_several_captions_is_as_before() -> None:
    similarity = torch.randn(12, 12, generator=torch.Generator().manual_seed(0)) + 2 * torch.eye(12)
    groups = np.arange(12) // 3
    plain, own = score_similarity(similarity, groups), score_similarity(similarity, groups, np.arange(12))
    assert np.array_equal(plain.values, own.values)
    assert plain.accuracy == own.accuracy


FAULTS: dict[str, tuple[Callable[[Path, list[str]], Path], str]] = {
    "missing images": (
        lambda folder, names: write_csv(folder, [(n, "x") for n in [*names, *(f"gone{i}.png" for i in range(5))]]),
        r"5 × a missing image: line 14: gone0\.png; line 15: gone1\.png; line 16: gone2\.png; …",
    ),
    "no caption column": (lambda f, n: write_csv(f, [(n[0], "x")], "image,captions"), "did you mean 'captions'"),
    "empty caption": (lambda f, n: write_csv(f, [(x, " ") for x in n]), "12 × an empty image or caption: line 2"),
    "wrong fields": (
        lambda f, n: write_csv(f, [(n[0], "x", "y"), *((x, "x") for x in n)]),
        "1 × a row with another number of fields than the header: line 2",
    ),
    "unknown split": (
        lambda f, n: write_csv(f, [(x, "x", "vaildation") for x in n], "image,caption,split"),
        r"12 × an unknown split \(allowed: train, calibration, validation, test\): line 2: 'vaildation'",
    ),
    "two splits": (
        lambda f, n: write_csv(f, [(n[0], "x", "train"), (n[0], "y", "test")], "image,caption,split"),
        r"1 × an image in two splits: line 3",
    ),
    "too few": (lambda f, n: write_csv(f, [(x, "x") for x in n[:3]]), "1 images in the split 'calibration'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_counted_with_examples(fault: str, tmp_path: Path) -> None:
    write, message = FAULTS[fault]
    path = write(tmp_path, write_images(tmp_path, 12))
    with pytest.raises(InputError, match=message):
        make_task(path)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    names = write_images(tmp_path, 3)
    rows = [(names[0], "x", "train"), (names[0], "x", "test"), ("gone.png", "x", "vaildation"), (names[1], "", "test")]
    with pytest.raises(InputError) as caught:
        make_task(write_csv(tmp_path, rows, "image,caption,split"))
    assert len(caught.value.problems) == 4


def test_a_file_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        make_task(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00image")
    with pytest.raises(InputError, match="not a CSV file in UTF-8"):
        make_task(tmp_path / "binary.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(InputError, match="no column image"):
        make_task(tmp_path / "empty.csv")


def test_broken_images_are_found_before_the_first_trial(tmp_path: Path) -> None:
    names = write_images(tmp_path, 24)
    (tmp_path / names[3]).write_bytes(b"not an image")
    jpeg = (tmp_path / names[5]).read_bytes()
    (tmp_path / names[5]).write_bytes(jpeg[: len(jpeg) // 2])
    task = make_task(write_csv(tmp_path, [(name, "x") for name in names]))
    with pytest.raises(InputError) as caught:
        task.check()
    assert "2 × an image that cannot be read" in str(caught.value)
    assert f"{names[3]}: not an image" in str(caught.value)
    for name in (names[3], names[5]):
        Image.new("RGB", (5, 5)).save(tmp_path / name)
    task.check()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_in_the_middle_is_skipped_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    names = write_images(tmp_path, 32)
    rows = [(name, f"picture {i}", SPLITS[i % 4]) for i, name in enumerate(names)]
    task = make_task(write_csv(tmp_path, rows, "image,caption,split"), workers=workers)
    whole = task.evaluate(net_of(clip_spec()), "test")
    for name in (names[7], names[0]):  # one of test, one of train
        (tmp_path / name).write_bytes(b"gone")
    score = task.evaluate(net_of(clip_spec()), "test")
    assert (len(whole.values), len(score.values)) == (8, 7)
    assert all(len(batch["images"]) == 4 for batch in take(task.train_batches(4, 0), 6))
    assert task.faults == {names[7]: "not an image", names[0]: "not an image"}
    told = capsys.readouterr().err.splitlines()
    assert sorted(told) == sorted(f"{name} is skipped: not an image" for name in (names[7], names[0]))


def test_from_files_to_the_accuracy_of_a_pruned_model(tmp_path: Path) -> None:
    """Open the task, score, prune, fine-tune and judge on images and captions in files."""
    names = write_images(tmp_path, 64)
    path = write_csv(tmp_path, [(n, f"a picture that is {COLOURS[i % 8]}") for i, n in enumerate(names)])
    base = clip_base(tmp_path)
    task = open_task(section("retrieval", path), base)
    task.check()
    scores = cached_importance(base.net, task.calibration_batches(4), task.loss, tmp_path / "cache")
    spec = base.net.spec.with_dimensions({name: max(1, n // 2) for name, n in base.net.spec.dimensions().items()})
    net = prune(base.net, spec, scores)
    assert sum(p.numel() for p in net.parameters()) == parameters(spec)
    losses = fine_tune(net, task, ProxySettings(steps=40, batch_size=16, learning_rate=5e-3)).losses
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    score = task.evaluate(net, "validation")
    assert 0 <= score.accuracy <= 1
    assert np.isfinite(score.standard_error)


def test_one_image_under_two_names_is_one_image(tmp_path: Path) -> None:
    names = write_images(tmp_path, 20)
    path = write_csv(tmp_path, [(n, "a") for n in names] + [(f"./{n}", "b") for n in names])
    source = open_data(path, "captions")
    assert len(source) == 20
    assert all(source.read(i).captions == ("a", "b") for i in range(20))


def test_a_broken_image_elsewhere_and_an_endless_name_are_faults(tmp_path: Path) -> None:
    names = write_images(tmp_path / "data", 20)
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    path = write_csv(tmp_path / "data", [(n, "a") for n in [*names, str(broken)]])
    with pytest.raises(InputError, match=r"broken\.png: not an image"):
        make_task(path).check()
    path = write_csv(tmp_path / "data", [(n, "a") for n in [*names, "x" * 5000]])
    with pytest.raises(InputError, match="1 × a missing image"):
        make_task(path)
