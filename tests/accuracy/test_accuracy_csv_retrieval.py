"""Retrieval on a user's images: reading, splitting, faults, recall with several captions, and the whole way through."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from catransformers.accuracy.losses import contrastive_loss
from catransformers.accuracy.proxy import ProxySettings, fine_tune
from catransformers.accuracy.retrieval import RetrievalPool, recall_at_1, score_similarity
from catransformers.accuracy.tasks.csv_retrieval import SPLITS, CsvRetrievalTask, read_pairs
from catransformers.errors import InputError
from catransformers.models.clip import Clip
from catransformers.models.importance_store import cached_importance
from catransformers.models.loading import load_base
from catransformers.models.preprocess import Preprocess
from catransformers.models.prune import prune
from catransformers.models.storage import save_model
from catransformers.models.torchvision_compat import declare_operators
from catransformers.workloads.clip import parameters
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

COLOURS = ("red", "green", "blue", "white", "yellow", "black", "cyan", "purple")


def words(captions: Sequence[str]) -> Tensor:
    """A tokeniser for these tests: start, the caption's hash, end."""
    return torch.tensor([[1, 2 + sum(map(ord, caption)) % 90, 99] for caption in captions])


def write_images(folder: Path, number: int) -> list[str]:
    rng = np.random.default_rng(0)
    names = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for i in range(number):
        image = Image.new("RGB", (20 + i % 7, 18), COLOURS[i % len(COLOURS)])
        noise = rng.integers(-20, 20, (18, 20 + i % 7, 3))
        pixels = np.clip(np.array(image, dtype=np.int64) + noise, 0, 255).astype(np.uint8)
        names.append(f"images/{i:03d}.{('png', 'jpg')[i % 2]}")
        Image.fromarray(pixels).save(folder / names[-1])
    return names


def write_csv(folder: Path, rows: Sequence[Sequence[str]], header: str = "image,caption") -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images, two captions each, no split."""
    folder = tmp_path_factory.mktemp("pairs")
    names = write_images(folder, 40)
    rows = [(n, f"a {COLOURS[i % 8]} picture {k} of {i}") for i, n in enumerate(names) for k in ("one", "two")]
    return write_csv(folder, rows)


def make_task(path: Path, **options: int) -> CsvRetrievalTask:
    return CsvRetrievalTask(path, Preprocess(8), words, **options)


def test_images_are_split_whole_and_by_the_seed(pairs: Path) -> None:
    first, again, other = (read_pairs(pairs, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert {split: len(images) for split, images in first.items()} == {
        "train": 28,
        "calibration": 4,
        "validation": 4,
        "test": 4,
    }
    paths = [image.path for split in SPLITS for image in first[split]]
    assert len(paths) == len(set(paths)) == 40
    assert all(len(image.captions) == 2 for split in SPLITS for image in first[split])


def test_a_split_column_is_followed(tmp_path: Path) -> None:
    names = write_images(tmp_path, 8)
    rows = [(name, f"picture {i}", SPLITS[i // 2]) for i, name in enumerate(names)]
    images = read_pairs(write_csv(tmp_path, rows, "image,caption,split"), seed=0)
    assert [[image.path.name for image in images[split]] for split in SPLITS] == [
        [Path(n).name for n in names[i : i + 2]] for i in range(0, 8, 2)
    ]


def test_batches_hold_an_image_once_and_repeat_with_the_seed(pairs: Path) -> None:
    task = make_task(pairs)

    def draw(seed: int) -> list[tuple[Tensor, Tensor]]:
        batches = task.train_batches(9, seed)
        return [next(batches) for _ in range(7)]

    first, again, other = draw(0), draw(0), draw(1)
    assert all(torch.equal(a, b) for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))
    assert not all(torch.equal(x[0], y[0]) for x, y in zip(first, other, strict=True))
    for images, tokens in first:
        assert images.shape == (9, 3, 8, 8)
        assert tokens.shape == (9, 3)
        assert len(torch.unique(images.flatten(1), dim=0)) == 9
    big = next(task.train_batches(500, 0))
    assert len(big[0]) == 28


def test_calibration_and_pools_are_always_the_same(pairs: Path) -> None:
    task = make_task(pairs)
    assert [len(images) for images, _ in task.calibration_batches(2)] == [2, 2]
    assert [len(images) for images, _ in task.calibration_batches(3)] == [3]  # no batch of one
    pool = task.pool("validation")
    assert pool.images.shape == (4, 3, 8, 8)
    assert pool.tokens.shape == (8, 3)
    assert pool.image_of is not None
    assert pool.image_of.tolist() == pool.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(make_task(pairs, pool_images=2).pool("test")) == 4
    with pytest.raises(InputError, match="not a pool"):
        task.pool("train")


def test_recall_counts_any_of_an_images_captions() -> None:
    """Two images with captions (0, 1) and (2, 3): written out by hand."""
    by_image = torch.tensor([[0.9, 0.1, 0.5, 0.2], [0.3, 0.4, 0.6, 0.1]])
    image_of = np.array([0, 0, 1, 1])
    score = score_similarity(by_image[torch.from_numpy(image_of)], image_of, image_of)
    assert score.image_to_text == 1.0  # 0.9 is a caption of image 0, 0.6 one of image 1
    assert score.hits[:, 1].tolist() == [True, False, True, False]  # captions 1 and 3 prefer the other image
    assert score.accuracy == pytest.approx(0.75)


def test_recall_without_several_captions_is_as_before() -> None:
    similarity = torch.randn(12, 12, generator=torch.Generator().manual_seed(0)) + 2 * torch.eye(12)
    groups = np.arange(12) // 3
    plain, own = score_similarity(similarity, groups), score_similarity(similarity, groups, np.arange(12))
    assert np.array_equal(plain.hits, own.hits)
    assert plain.accuracy == own.accuracy


def test_a_pool_with_several_captions_equals_one_with_the_image_repeated(pairs: Path) -> None:
    torch.manual_seed(0)
    model = Clip(tiny_spec(vocab_size=100, context=3))
    pool = make_task(pairs, pool_images=4).pool("test")
    assert pool.image_of is not None
    repeated = RetrievalPool(pool.images[torch.from_numpy(pool.image_of)], pool.tokens, pool.groups, np.arange(8))
    ours, naive = recall_at_1(model, pool), recall_at_1(model, repeated)
    assert naive.text_to_image == 0.0  # a repeated image ties with itself
    assert ours.image_to_text >= naive.image_to_text
    assert ours.hits.shape == (8, 2)


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
        lambda f, n: write_csv(f, [(x, "x", "val") for x in n], "image,caption,split"),
        r"12 × an unknown split \(allowed: train, calibration, validation, test\): line 2: 'val'",
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
    with pytest.raises(InputError, match="cannot be read"):
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


def tiny_spec(vocab_size: int, context: int) -> ClipSpec:
    return ClipSpec(
        vision=VisionSpec(
            layers=2, ffn_dim=16, embed_dim=16, heads=2, head_dim=8, tokens=5, image_size=8, patch_size=4
        ),
        text=TextSpec(layers=2, ffn_dim=16, embed_dim=16, heads=2, head_dim=8, tokens=context, vocab_size=vocab_size),
        projection_dim=8,
    )


def test_from_files_to_the_accuracy_of_a_pruned_model(tmp_path: Path) -> None:
    """Load a base with CLIP's vocabulary, score, prune, fine-tune and judge it on images and captions in files."""
    if importlib.util.find_spec("open_clip") is None:
        pytest.skip("open_clip is not installed")
    declare_operators()
    names = write_images(tmp_path, 64)
    path = write_csv(tmp_path, [(n, f"a picture that is {COLOURS[i % 8]}") for i, n in enumerate(names)])
    torch.manual_seed(0)
    save_model(Clip(tiny_spec(49408, 12)), tmp_path / "model.safetensors")

    base = load_base(str(tmp_path))
    task = CsvRetrievalTask(path, base.preprocess, base.tokenizer())
    task.check()
    scores = cached_importance(base.model, task.calibration_batches(4), contrastive_loss, tmp_path / "cache")
    spec = base.model.spec.with_dimensions({name: max(1, n // 2) for name, n in base.model.spec.dimensions().items()})
    model = prune(base.model, spec, scores)
    assert sum(p.numel() for p in model.parameters()) == parameters(spec)
    result = fine_tune(model, task, ProxySettings(steps=40, batch_size=16, learning_rate=5e-3))
    assert sum(result.losses[-5:]) < 0.8 * sum(result.losses[:5])
    score = recall_at_1(model, task.pool("validation"))
    assert 0 <= score.accuracy <= 1
    assert np.isfinite(score.standard_error)


def test_one_image_under_two_names_is_one_image(tmp_path: Path) -> None:
    names = write_images(tmp_path, 20)
    path = write_csv(tmp_path, [(n, "a") for n in names] + [(f"./{n}", "b") for n in names])
    images = [image for split in read_pairs(path, 0).values() for image in split]
    assert len(images) == 20
    assert all(image.captions == ("a", "b") for image in images)


def test_a_broken_image_elsewhere_and_an_endless_name_are_faults(tmp_path: Path) -> None:
    names = write_images(tmp_path / "data", 20)
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    path = write_csv(tmp_path / "data", [(n, "a") for n in [*names, str(broken)]])
    with pytest.raises(InputError, match=r"broken\.png: not an image"):
        make_task(path).check()
    path = write_csv(tmp_path / "data", [(n, "a") for n in [*names, "x" * 5000]])
    with pytest.raises(InputError, match="1 × a missing image"):
        read_pairs(path, 0)
