"""Language modelling: blocks of text, perplexity and its standard error against slow references."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from user_data import check_batches, check_learning, llama_base, section, sentences, take, text_tokenizer

from catransformers.accuracy.data import SPLITS, Sample, Samples, open_data
from catransformers.accuracy.metrics.score import paired_difference
from catransformers.accuracy.tasks import open_task
from catransformers.accuracy.tasks.language import LanguageTask, language_score
from catransformers.accuracy.tasks.text_blocks import Stretches, token_blocks
from catransformers.errors import InputError
from catransformers.models.loading.base import Base

TEXT = "\n".join(sentences(900)) + "\n"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One long file."""
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return llama_base(tmp_path_factory.mktemp("base"), TEXT)


def make_task(path: Path, base: Base, **keys: int) -> LanguageTask:
    task = open_task(section("language-modelling", path, **keys), base)
    assert isinstance(task, LanguageTask)
    return task


def test_batches_are_running_text_of_the_right_split(book: Path, base: Base) -> None:
    task, tokenizer = make_task(book, base, tokens=24), text_tokenizer(base)
    check_batches(task, 8)
    task.check()
    text = {
        split: "".join("".join(task.stretches.piece(i) for i in run) for run in task.stretches.runs(split))
        for split in ("train", "calibration")
    }
    assert len(text["train"]) > 5 * len(text["calibration"])
    for batch in take(task.train_batches(8, 0), 4):
        assert batch["tokens"].shape == (8, 24)
        assert bool(batch["mask"].all())
        assert all(tokenizer.decode(row) in text["train"] for row in batch["tokens"])
    shown = [row[real] for b in task.calibration_batches(5) for row, real in zip(b["tokens"], b["mask"], strict=True)]
    assert "".join(tokenizer.decode(row) for row in shown) == text["calibration"]
    assert next(make_task(book, base).train_batches(4, 0))["tokens"].shape[1] == 64  # all that the model admits


def test_stretches_reach_beyond_short_pieces_but_not_beyond_their_document(tmp_path: Path) -> None:
    for name in ("train.txt", "valid.txt", "test.txt"):
        (tmp_path / name).write_text("\n".join(sentences(600)) + "\n")
    source = open_data(tmp_path, "plain")
    stretches = Stretches(source, 100)
    for split in ("train", "validation"):
        for run in stretches.runs(split):
            whole = "".join(stretches.piece(i) for i in run)
            assert whole.endswith("\n")
            for i in run:
                text = stretches.read(i).texts[0]
                assert text.startswith(stretches.piece(i))
                assert text in whole
                assert len(text) >= 800 or whole.endswith(text)
    assert any(len(stretches.read(i).texts[0]) > len(stretches.piece(i)) for i in source.splits["train"])


def test_the_score_is_that_of_a_slow_count(book: Path, base: Base) -> None:
    task = make_task(book, base, tokens=20)
    score = task.evaluate(base.net.train(), "validation")
    assert base.net.training
    base.net.eval()
    text = "".join(task.stretches.piece(i) for run in task.stretches.runs("validation") for i in run)
    ids = text_tokenizer(base).encode_stream(text)
    sums, numbers, hits = [], [], 0
    for start in range(0, len(ids), 20):
        block = ids[start : start + 20]
        if len(block) < 2:
            continue
        with torch.no_grad():
            p = base.net.outputs({"tokens": block[None]})["logits"][0].double().softmax(dim=-1).numpy()
        sums.append(-sum(math.log(p[i, block[i + 1]]) for i in range(len(block) - 1)))
        numbers.append(len(block) - 1)
        hits += sum(int(p[i].argmax() == block[i + 1]) for i in range(len(block) - 1))
    perplexity = math.exp(sum(sums) / sum(numbers))
    assert score.accuracy == pytest.approx(1 / perplexity, rel=1e-5)
    assert score.metrics["perplexity"] == pytest.approx(perplexity, rel=1e-5)
    assert score.metrics["next_token_accuracy"] == pytest.approx(hits / sum(numbers))
    bits = sum(sums) / sum(numbers) / math.log(2) * len(ids) / len(text.encode())
    assert score.metrics["bits_per_byte"] == pytest.approx(bits, rel=1e-5)
    assert len(score.values) == len(sums)
    assert score.values.mean() == pytest.approx(score.accuracy)
    assert make_task(book, base, tokens=20, pool_samples=7).evaluate(base.net, "validation").values.shape == (7,)


def test_a_llama_learns_text(book: Path, base: Base) -> None:
    task = make_task(book, base, tokens=32)
    learner = check_learning(task, base.net)
    before, after = (task.evaluate(net, "test") for net in (base.net, learner))
    difference, error = paired_difference(after, before)
    assert difference == pytest.approx(after.accuracy - before.accuracy)
    assert difference > 5 * error > 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 60), st.integers(1, 20)), min_size=2, max_size=20))
def test_values_average_to_the_accuracy(blocks: list[tuple[float, int]]) -> None:
    sums, numbers = (np.array(column, dtype=np.float64) for column in zip(*blocks, strict=True))
    score = language_score(sums, numbers, np.zeros(len(sums)), None, 0.25)
    assert score.accuracy == pytest.approx(math.exp(-sums.sum() / numbers.sum()), rel=1e-9)
    assert 0 <= score.standard_error < np.inf


def test_the_standard_error_is_that_of_repeated_draws() -> None:
    """Blocks of unequal length drawn again and again: the spread of 1/perplexity is what one draw says of itself."""
    rng = np.random.default_rng(0)

    def draw() -> tuple[float, float]:
        documents = np.repeat(np.arange(60), 4)
        numbers = rng.integers(5, 40, 240).astype(np.float64)
        hardness = rng.gamma(20, 0.1, 60)[documents]
        sums = numbers * hardness + rng.normal(0, 1, 240) * np.sqrt(numbers)
        score = language_score(sums, numbers, np.zeros(240), documents, 0.25)
        return score.accuracy, score.standard_error

    drawn = np.array([draw() for _ in range(1000)])
    assert drawn[:, 0].std() == pytest.approx(drawn[:, 1].mean(), rel=0.08)


def test_a_value_says_what_its_block_adds() -> None:
    """Without block i, the accuracy falls by (v_i − accuracy) / (N − 1), to first order."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(5, 40, 500).astype(np.float64)
    sums = numbers * rng.gamma(20, 0.1, 500)
    score = language_score(sums, numbers, np.zeros(500), None, 0.25)
    without = np.exp(-(sums.sum() - sums) / (numbers.sum() - numbers))
    np.testing.assert_allclose(
        (score.values - score.accuracy) / 499,
        score.accuracy - without,
        atol=0.03 * np.abs(without - score.accuracy).max(),
    )


def test_a_net_whose_loss_is_no_number_has_no_accuracy() -> None:
    score = language_score(np.array([np.nan, 1.0]), np.array([3.0, 4.0]), np.zeros(2), None, 0.25)
    assert score.accuracy == 0
    assert score.values.tolist() == [0, 0]
    assert all(np.isfinite(value) for value in score.metrics.values())


def test_many_documents_are_groups_and_few_are_not(tmp_path: Path, base: Base) -> None:
    for i in range(400):
        (tmp_path / f"{i:03d}.txt").write_text("\n".join(sentences(12)) + "\n")
    score = make_task(tmp_path, base, tokens=16).evaluate(base.net, "test")
    assert 30 <= len(np.unique(score.groups)) < len(score.groups)
    few = make_task(tmp_path, base, tokens=16, pool_samples=60).evaluate(base.net, "test")
    assert len(np.unique(few.groups)) == len(few.groups) == 60


def test_short_documents_in_memory_are_read_too(base: Base) -> None:
    samples = [Sample(texts=(text,)) for text in sentences(40)]
    splits = {split: range(10 * i, 10 * i + 10) for i, split in enumerate(SPLITS)}
    source = Samples("sentences", samples, [str(i) for i in range(40)], splits)
    task = LanguageTask(source, section("language-modelling"), text_tokenizer(base), 32)
    assert len(task.evaluate(base.net, "validation").values) == 10  # none runs on into the next
    batch = next(task.train_batches(10, 0))
    shown = {text_tokenizer(base).decode(row[real]) for row, real in zip(batch["tokens"], batch["mask"], strict=True)}
    assert shown == set(sentences(40)[:10])
    assert bool(batch["mask"].any(dim=0).all())  # no column of padding alone


def test_what_does_not_fit_is_refused(tmp_path: Path, book: Path, base: Base) -> None:
    with pytest.raises(InputError, match=r"65 are more than 'tiny-llama' admits; allowed: 2 to 64"):
        make_task(book, base, tokens=65)
    with pytest.raises(InputError, match="does not exist"):
        make_task(tmp_path / "none.txt", base)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe" * 5000)
    with pytest.raises(InputError, match="not UTF-8"):
        make_task(tmp_path / "binary.txt", base)


def test_a_file_that_breaks_later_is_told(tmp_path: Path, base: Base, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(40):
        (tmp_path / f"{i:03d}.txt").write_text("\n".join(sentences(40)) + "\n")
    task = make_task(tmp_path, base, tokens=16)
    broken = task.source.name(task.source.splits["test"][0]).split(" ")[0]
    (tmp_path / broken).write_text("")
    blocks = token_blocks(task.stretches, "test", task.tokenizer, 16, 1000, task._note)
    assert blocks.ids
    assert all(name.startswith(broken) for name in task.faults)
    assert task.faults
    assert f"{broken} byte 0 is skipped" in capsys.readouterr().err
