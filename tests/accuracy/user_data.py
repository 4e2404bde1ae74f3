"""Small data in files, small nets and base models for the tests of the tasks on users' data."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from catransformers.accuracy.tasks import Task
from catransformers.accuracy.training.proxy import ProxySettings, fine_tune
from catransformers.config.sections import AccuracySection
from catransformers.models.families.net import Batch, Net
from catransformers.models.families.nets import make_net
from catransformers.models.loading.base import Base
from catransformers.models.loading.preprocess import Preprocess
from catransformers.models.loading.tokenizer import TextTokenizer, train_bpe, train_wordpiece
from catransformers.workloads.spec import BertSpec, ClipSpec, EncoderSpec, LlamaSpec, TextSpec, VisionSpec, VitSpec

COLOURS = ("red", "green", "blue", "white", "yellow", "black", "cyan", "purple")
VISION = VisionSpec(layers=2, ffn_dim=16, embed_dim=16, heads=2, head_dim=8, tokens=5, image_size=8, patch_size=4)
ENCODER = EncoderSpec(layers=2, ffn_dim=24, embed_dim=16, heads=2, head_dim=8, tokens=16)

#: Words of which sentences are made; the first four speak of one thing, the others of another.
WORDS = ("apple", "pear", "plum", "fig", "iron", "gold", "tin", "zinc")


def section(task: str, data: Path | str | None = None, **keys: Any) -> AccuracySection:
    return AccuracySection(task=task, data=None if data is None else str(data), **keys)


def clip_spec(vocab_size: int = 100, context: int = 3) -> ClipSpec:
    text = TextSpec(layers=2, ffn_dim=16, embed_dim=16, heads=2, head_dim=8, tokens=context, vocab_size=vocab_size)
    return ClipSpec(VISION, text, projection_dim=8)


def llama_spec(vocab_size: int, max_tokens: int = 64) -> LlamaSpec:
    return LlamaSpec(
        layers=2,
        ffn_dim=24,
        embed_dim=16,
        heads=4,
        kv_heads=2,
        head_dim=4,
        vocab_size=vocab_size,
        tied_embeddings=True,
        max_tokens=max_tokens,
        prompt_tokens=8,
        new_tokens=4,
    )


def net_of(spec: ClipSpec | VitSpec | BertSpec | LlamaSpec, seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return make_net(spec).eval()


def vit_base(classes: int) -> Base:
    return Base("tiny-vit", net_of(VitSpec(VISION, classes=classes)), "0", Preprocess(8))


def bert_base(folder: Path, classes: int) -> Base:
    path = folder / "tokenizer.json"
    tokenizer = train_wordpiece(sentences(200), 120)
    tokenizer.save(path)
    spec = BertSpec(ENCODER, tokenizer.vocab_size, positions=32, classes=classes)
    return Base("tiny-bert", net_of(spec), "0", tokenizer_path=path)


def llama_base(folder: Path, text: str) -> Base:
    path = folder / "tokenizer.json"
    tokenizer = train_bpe([text], 300)
    tokenizer.save(path)
    return Base("tiny-llama", net_of(llama_spec(tokenizer.vocab_size)), "0", tokenizer_path=path)


def clip_base(folder: Path, context: int = 12) -> Base:
    """A CLIP with a tokeniser of its own."""
    path = folder / "tokenizer.json"
    tokenizer = train_wordpiece([f"a picture that is {colour}" for colour in COLOURS], 120)
    tokenizer.save(path)
    net = net_of(clip_spec(tokenizer.vocab_size, context))
    return Base("tiny-clip", net, "0", Preprocess(8), tokenizer_path=path)


def words(captions: Sequence[str]) -> Tensor:
    """A tokeniser for these tests: start, the caption's hash, end."""
    return torch.tensor([[1, 2 + sum(map(ord, caption)) % 90, 99] for caption in captions])


def picture(colour: str, i: int, rng: np.random.Generator) -> Image.Image:
    """A noisy picture of one colour, 20 to 26 pixels wide."""
    image = Image.new("RGB", (20 + i % 7, 18), colour)
    noise = rng.integers(-20, 20, (18, 20 + i % 7, 3))
    return Image.fromarray(np.clip(np.array(image, dtype=np.int64) + noise, 0, 255).astype(np.uint8))


def write_images(folder: Path, number: int) -> list[str]:
    """Pictures whose colour follows from their number; their paths."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = [f"images/{i:03d}.{('png', 'jpg')[i % 2]}" for i in range(number)]
    for i, name in enumerate(names):
        picture(COLOURS[i % len(COLOURS)], i, rng).save(folder / name)
    return names


def write_classes(folder: Path, classes: int, each: int) -> Path:
    """A folder of pictures a class, named for its colour."""
    rng = np.random.default_rng(0)
    for colour in COLOURS[:classes]:
        (folder / colour).mkdir(parents=True)
        for i in range(each):
            picture(colour, i, rng).save(folder / colour / f"{i:03d}.png")
    return folder


def write_csv(folder: Path, rows: Sequence[Sequence[str]], header: str = "image,caption") -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def sentences(number: int) -> list[str]:
    """Sentences of four words, in turn of fruit and of metal."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS[4 * (i % 2) : 4 * (i % 2) + 4], 4)) for i in range(number)]


def take(batches: Iterator[Batch], number: int) -> list[Batch]:
    return list(islice(batches, number))


def same(a: Sequence[Batch], b: Sequence[Batch]) -> bool:
    return len(a) == len(b) and all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x) for x, y in zip(a, b, strict=True)
    )


def check_batches(task: Task, batch_size: int) -> None:
    """Training batches follow from the seed and their number, calibration batches are always the same."""
    first = take(task.train_batches(batch_size, 0), 5)
    assert same(first, take(task.train_batches(batch_size, 0), 5))
    assert same(first[3:], take(task.train_batches(batch_size, 0, 3), 2))
    assert not same(first, take(task.train_batches(batch_size, 1), 5))
    halves = [take(task.train_batches(batch_size, 0, rank=rank, world_size=2), 1)[0] for rank in range(2)]
    assert torch.equal(
        torch.cat([half["labels" if "labels" in half else "tokens"] for half in halves]),
        (first[0]["labels" if "labels" in first[0] else "tokens"]),
    )
    assert same(task.calibration_batches(batch_size), task.calibration_batches(batch_size))


def check_learning(task: Task, net: Net, *, rate: float = 1e-2, share: float = 0.8) -> Net:
    """The loss falls in 30 steps; the net that has learnt."""
    learner = copy.deepcopy(net)
    losses = fine_tune(learner, task, ProxySettings(steps=30, batch_size=16, learning_rate=rate)).losses
    assert np.mean(losses[-5:]) < share * np.mean(losses[:5])
    return learner


def text_tokenizer(base: Base) -> TextTokenizer:
    return base.text_tokenizer()
