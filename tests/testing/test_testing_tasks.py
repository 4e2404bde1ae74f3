"""The conformance kit on the tasks that ship, and on a task that breaks its promises: the kit has to say so."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from catransformers.accuracy.metrics.score import Score, score_of
from catransformers.accuracy.tasks import Task, open_task, unknown_pool
from catransformers.accuracy.training.losses import class_loss
from catransformers.config.sections import AccuracySection
from catransformers.models.families.net import Batch, Net, Outputs
from catransformers.models.families.nets import make_net
from catransformers.models.loading.base import Base
from catransformers.models.loading.preprocess import HALF, Preprocess
from catransformers.testing import TaskConformance
from catransformers.testing.kit import randomised
from catransformers.workloads.spec import (
    BertSpec,
    ClipSpec,
    EncoderSpec,
    LlamaSpec,
    ModelSpec,
    TextSpec,
    VisionSpec,
    VitSpec,
)
from catransformers.workloads.zoo import embedded_spec

needs_tokenizers = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None, reason="the extra 'hf' is not installed"
)
VISION = VisionSpec(layers=2, ffn_dim=12, embed_dim=8, heads=2, head_dim=4, tokens=5, image_size=8, patch_size=4)
VIT = VitSpec(VISION, classes=10)
VOCABULARY = 300
CLIP = ClipSpec(VISION, TextSpec(2, 12, 8, 2, 4, 10, vocab_size=VOCABULARY), projection_dim=6)
BERT = BertSpec(EncoderSpec(2, 12, 8, 2, 4, 64), vocab_size=VOCABULARY, positions=64, classes=8)
LLAMA = LlamaSpec(
    layers=2,
    ffn_dim=12,
    embed_dim=8,
    heads=4,
    kv_heads=2,
    head_dim=2,
    vocab_size=VOCABULARY,
    tied_embeddings=True,
    max_tokens=64,
    prompt_tokens=8,
    new_tokens=0,
)


@cache
def net_of(spec: ModelSpec) -> Net:
    return randomised(make_net(spec))


def fresh(spec: ModelSpec) -> Net:
    net = make_net(spec)
    net.load_state_dict(net_of(spec).state_dict())
    return net.eval()


def base_of(spec: ModelSpec, name: str = "small", tokenizer: Path | None = None) -> Base:
    return Base(name, fresh(spec), "", Preprocess(8, HALF, HALF), tokenizer)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Word pieces of a few sentences; the rest of the world is letters."""
    from catransformers.models.loading.tokenizer import train_wordpiece

    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    train_wordpiece(
        ["return a new string", "the module of a class", "raise an error if", "a c e g h i l m n o r s t u w"] * 4, 250
    ).save(path)
    return path


class TestScenes(TaskConformance):
    def task(self) -> Task:
        return open_task(AccuracySection(), base_of(embedded_spec(), "embedded"))

    def net(self) -> Net:
        spec = embedded_spec()
        return fresh(spec.with_dimensions({name: max(1, size // 4) for name, size in spec.dimensions().items()}))


class TestDigits(TaskConformance):
    def task(self) -> Task:
        return open_task(AccuracySection(task="digits", pool_samples=64), base_of(VIT))

    def net(self) -> Net:
        return fresh(VIT)


class Folder(TaskConformance):
    """Tasks on files that a fixture makes; `spec` is of the net."""

    name: str
    spec: ModelSpec

    @pytest.fixture(autouse=True)
    def _files(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        self.folder = tmp_path
        needs_words = self.spec.family != "vit"
        self.words = request.getfixturevalue("tokenizer") if needs_words else None

    def data(self) -> Path | None:
        """Write the data once, and say where."""
        return None

    def task(self) -> Task:
        data = self.data()
        section = AccuracySection(task=self.name, data=None if data is None else str(data), pool_samples=40, tokens=64)
        if self.spec.family in ("vit", "clip"):
            section = replace(section, tokens=None)
        return open_task(section, base_of(self.spec, tokenizer=self.words))

    def net(self) -> Net:
        return fresh(self.spec)


@needs_tokenizers
class TestDocstrings(Folder):
    name, spec = "docstrings", BERT


@needs_tokenizers
class TestLanguage(Folder):
    name, spec = "docstrings-language", LLAMA


def draw_images(folder: Path, number: int) -> list[str]:
    """Images of one random colour each, by name."""
    folder.mkdir(exist_ok=True)
    rng, names = np.random.default_rng(0), []
    for i in range(number):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        names.append(f"{i:03}.png")
        Image.fromarray(pixels).save(folder / names[-1])
    return names


def captions(folder: Path) -> Path:
    """Eighty images with one caption each, all different."""
    path = folder / "pairs.csv"
    if not path.exists():
        nouns, verbs = ("string", "module", "class", "error", "a", "new", "the", "if"), "abcdefghij"
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["image", "caption"])
            for i, name in enumerate(draw_images(folder, 80)):
                table.writerow([name, f"{verbs[i // 8]} {nouns[i % 8]}"])
    return path


@needs_tokenizers
class TestRetrieval(Folder):
    name, spec = "retrieval", CLIP

    def data(self) -> Path:
        return captions(self.folder)


def colours(folder: Path) -> Path:
    """A folder of images for each of three brightnesses."""
    root = folder / "colours"
    if not root.exists():
        rng = np.random.default_rng(0)
        for level, kind in enumerate(("dark", "grey", "light")):
            (root / kind).mkdir(parents=True)
            for i in range(60):
                pixels = rng.integers(80 * level, 80 * level + 90, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / kind / f"{i:02}.png")
    return root


class TestImageClasses(Folder):
    name, spec = "image-classification", replace(VIT, classes=3)

    def data(self) -> Path:
        return colours(self.folder)


@needs_tokenizers
class TestZeroShot(Folder):
    name, spec = "zero-shot-classification", CLIP

    def data(self) -> Path:
        return colours(self.folder)


def sentences(folder: Path) -> Path:
    """Three hundred sentences of two kinds, no two of them the same."""
    path = folder / "texts.csv"
    if not path.exists():
        words, letters = [["string", "module", "class"], ["error", "raise", "new"]], "aceghilmnorstuw"
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "label"])
            for i in range(300):
                own = words[i % 2]
                number = " ".join(letters[i // power % 15] for power in (1, 15, 225))
                table.writerow([f"{own[i % 3]} {own[i // 3 % 3]} {number}", ("noun", "verb")[i % 2]])
    return path


@needs_tokenizers
class TestTextClasses(Folder):
    name, spec = "text-classification", replace(BERT, classes=2)

    def data(self) -> Path:
        return sentences(self.folder)


@needs_tokenizers
class TestPlainText(Folder):
    name, spec = "language-modelling", LLAMA

    def data(self) -> Path:
        path = self.folder / "text.txt"
        rng = np.random.default_rng(0)
        words = ["return", "a", "new", "string", "the", "module", "of", "class", "raise", "an", "error", "if"]
        if not path.exists():
            path.write_text("\n\n".join(" ".join(rng.choice(words, 30)) for _ in range(200)))
        return path


@needs_tokenizers
class TestSimilarityOfTexts(TestTextClasses):
    name = "teacher-similarity"

    def net(self) -> Net:
        return randomised(make_net(self.spec), seed=1)


@needs_tokenizers
class TestSimilarity(TestRetrieval):
    name = "teacher-similarity"

    def net(self) -> Net:
        return randomised(make_net(self.spec), seed=1)


# The kit on a task that breaks its promises.


class Blobs:
    """Images of three brightnesses."""

    name, pairwise = "blobs", False

    def draw(self, number: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(0, 3, (number,), generator=generator)
        images = labels[:, None, None, None] - 1 + 0.1 * torch.randn(number, 3, 8, 8, generator=generator)
        return {"images": images, "labels": labels}

    def train_batches(
        self, batch_size: int, seed: int, start: int = 0, *, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        while True:
            batch = self.draw(batch_size, 10_000 * seed + start)
            yield {key: value[rank::world_size] for key, value in batch.items()}
            start += 1

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        return [self.draw(batch_size, -1 - number) for number in range(2)]

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return class_loss(outputs, batch)

    def evaluate(self, net: Net, pool: str) -> Score:
        if pool not in ("validation", "test"):
            raise unknown_pool(pool)
        data = self.draw(40, -100 - len(pool))
        with torch.no_grad():
            hits = net.outputs(data)["logits"].argmax(dim=1) == data["labels"]
        return score_of(hits.double().numpy())

    def check(self, progress: object = None) -> None:
        pass


class Unseeded(Blobs):
    def draw(self, number: int, seed: int) -> dict[str, Tensor]:
        return super().draw(number, int(torch.randint(0, 2**31, ())))


class OneSeed(Blobs):
    def draw(self, number: int, seed: int) -> dict[str, Tensor]:
        return super().draw(number, seed % 10_000)


class Restarting(Blobs):
    def train_batches(self, batch_size: int, seed: int, start: int = 0, **more: Any) -> Iterator[Batch]:
        return super().train_batches(batch_size, seed, 0, **more)


class Doubling(Blobs):
    def train_batches(self, batch_size: int, seed: int, start: int = 0, **_more: Any) -> Iterator[Batch]:
        return super().train_batches(batch_size, seed, start)


class Leaking(Blobs):
    def calibration_batches(self, batch_size: int) -> list[Batch]:
        return [next(self.train_batches(batch_size, 5))]


class NoCalibration(Blobs):
    def calibration_batches(self, batch_size: int) -> list[Batch]:
        return []


class Summing(Blobs):
    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return class_loss(outputs, batch) * len(batch["labels"])


class Climbing(Blobs):
    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        loss = class_loss(outputs, batch)
        return 2 * loss.detach() - loss


class Percent(Blobs):
    def evaluate(self, net: Net, pool: str) -> Score:
        score = super().evaluate(net, pool)
        return replace(score, accuracy=100 * score.accuracy + 2)


class OffTheMean(Blobs):
    def evaluate(self, net: Net, pool: str) -> Score:
        score = super().evaluate(net, pool)
        return replace(score, accuracy=(score.accuracy + 0.5) / 2 + 0.01)


class ChangingModes(Blobs):
    def evaluate(self, net: Net, pool: str) -> Score:
        return super().evaluate(net.eval(), pool)


class Learning(Blobs):
    def evaluate(self, net: Net, pool: str) -> Score:
        score = super().evaluate(net, pool)
        with torch.no_grad():
            next(net.parameters()).add_(1e-6)
        return score


class AnyPool(Blobs):
    def evaluate(self, net: Net, pool: str) -> Score:
        return super().evaluate(net, "test")


class TestBlobs(TaskConformance):
    kind: type[Blobs] = Blobs

    def task(self) -> Task:
        return self.kind()

    def net(self) -> Net:
        return fresh(replace(VIT, classes=3))


@pytest.mark.parametrize(
    ("test", "kind", "words"),
    [
        ("test_training_batches_repeat", Unseeded, "same seed, other"),
        ("test_training_batches_repeat", OneSeed, "another seed, the same"),
        ("test_training_resumes", Restarting, "start=1, batch 1"),
        ("test_processes_share_each_batch", Doubling, "the parts are not the whole"),
        ("test_calibration_is_apart", Leaking, "are training samples"),
        ("test_calibration_is_apart", NoCalibration, "no calibration batches"),
        ("test_the_loss_is_a_mean", Summing, "of the batch twice"),
        ("test_the_loss_can_be_learnt", Climbing, "before"),
        ("test_scores_are_scores", Percent, "an accuracy of"),
        ("test_scores_are_scores", OffTheMean, "values of mean"),
        ("test_scores_are_scores", ChangingModes, "left in another mode"),
        ("test_scores_are_scores", Learning, "judging changed|two scores"),
        ("test_unknown_pools_are_refused", AnyPool, "was taken"),
    ],
)
def test_the_kit_finds(test: str, kind: type[Blobs], words: str) -> None:
    kit = TestBlobs()
    getattr(kit, test)()
    kit.kind = kind
    with pytest.raises(AssertionError, match=words):
        getattr(kit, test)()
