"""Batches: the same for any number of workers and ranks, taken up anywhere, whole although images are broken."""

import multiprocessing
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from catransformers.accuracy.data import (
    SPLITS,
    Sample,
    Samples,
    UnreadableError,
    batches,
    check,
    find_faults,
    in_order,
    stack,
)
from catransformers.accuracy.data.samples import ImageFile
from catransformers.errors import InputError, Problem


def numbers(count: int) -> Samples:
    """Samples whose labels are their indices."""
    return Samples("numbers", [Sample(label=i) for i in range(count)], [f"n{i}" for i in range(count)], {})


class Make:
    """The label and a random number; some samples are broken. Remembers what it was asked for."""

    def __init__(self, broken: Sequence[int] = ()) -> None:
        self.broken, self.asked = set(broken), []

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        self.asked.append(sample.label)
        if sample.label in self.broken:
            raise UnreadableError("torn")
        return {"labels": torch.tensor(sample.label), "noise": torch.tensor(rng.random())}


def labels(stream: Iterator[dict[str, Tensor]], count: int) -> list[list[int]]:
    return [batch["labels"].tolist() for batch in islice(stream, count)]


def flat(stream: Iterator[dict[str, Tensor]], count: int) -> list[int]:
    return list(chain.from_iterable(labels(stream, count)))


def equal(first: Sequence[dict[str, Tensor]], second: Sequence[dict[str, Tensor]]) -> bool:
    return all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        for a, b in zip(first, second, strict=True)
    )


def test_an_epoch_is_a_permutation_and_epochs_and_seeds_differ() -> None:
    source = numbers(12)
    epochs = [flat(batches(source, range(12), Make(), 4, 0, start=3 * e), 3) for e in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert flat(batches(source, range(12), Make(), 4, 1), 3) != epochs[0]


def test_what_is_left_over_is_dropped_but_not_always_the_same() -> None:
    seen = [flat(batches(numbers(11), range(11), Make(), 4, 0, start=2 * e), 2) for e in range(20)]
    assert all(len(set(epoch)) == 8 for epoch in seen)
    assert set(chain.from_iterable(seen)) == set(range(11))


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 30), size=st.integers(1, 8), start=st.integers(0, 40), broken=st.integers(0, 5))
def test_a_stream_is_taken_up_anywhere(count: int, size: int, start: int, broken: int) -> None:
    bad = range(min(broken, count - 1))
    whole = list(islice(batches(numbers(count), range(count), Make(bad), size, 7), start + 3))
    resumed = list(islice(batches(numbers(count), range(count), Make(bad), size, 7, start=start), 3))
    assert equal(whole[start:], resumed)


def test_nothing_before_the_start_is_read() -> None:
    make = Make()
    next(batches(numbers(1000), range(1000), make, 10, 0, start=57))
    assert len(make.asked) == 10


def test_workers_change_nothing_and_leave_torchs_generator_alone() -> None:
    source, bad = numbers(40), (3, 8, 21)
    told: dict[int, list[tuple[str, str]]] = {0: [], 1: [], 2: []}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    results = [
        list(
            islice(
                batches(
                    source, range(40), Make(bad), 6, 3, start=4, workers=n, on_fault=lambda *f, n=n: told[n].append(f)
                ),
                15,
            )
        )
        for n in told
    ]
    assert equal(results[0], results[1])
    assert equal(results[0], results[2])
    assert told[0] == told[1] == told[2]
    assert sorted(told[0]) == [("n21", "torn"), ("n3", "torn"), ("n8", "torn")]
    assert torch.equal(torch.get_rng_state(), state)


@settings(max_examples=40, deadline=None)
@given(share=st.integers(1, 4), world=st.integers(1, 4), extra=st.integers(0, 20), broken=st.integers(0, 3))
def test_ranks_share_each_batch(share: int, world: int, extra: int, broken: int) -> None:
    size = share * world
    count = size + extra
    bad = range(min(broken, count - 1))
    source = numbers(count)
    whole = list(islice(batches(source, range(count), Make(bad), size, 5), 6))
    parts = [
        list(islice(batches(source, range(count), Make(bad), size, 5, rank=r, world_size=world), 6))
        for r in range(world)
    ]
    joined = [{key: torch.cat([part[i][key] for part in parts]) for key in whole[0]} for i in range(6)]
    assert equal(whole, joined)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be shared equally by 3"):
        batches(numbers(20), range(20), Make(), 8, 0, world_size=3)
    with pytest.raises(InputError, match="batches of 8 of 0 samples"):
        batches(numbers(20), [], Make(), 8, 0)


def test_only_the_given_samples_are_drawn_and_few_make_smaller_batches() -> None:
    chosen = [3, 5, 8, 13]
    assert sorted(labels(batches(numbers(20), chosen, Make(), 100, 0), 1)[0]) == chosen


def test_broken_samples_are_replaced_without_doubles() -> None:
    bad = (0, 5, 6, 17, 30)
    stream = batches(numbers(40), range(40), Make(bad), 8, 0)
    for batch in labels(stream, 25):
        assert len(set(batch)) == 8
        assert not set(batch) & set(bad)


def test_others_keep_their_place_when_one_breaks() -> None:
    whole = labels(batches(numbers(40), range(40), Make(), 8, 0), 5)
    bad = whole[1][2]
    assert labels(batches(numbers(40), range(40), Make([bad]), 8, 0), 5) == [
        [whole[2][2] if label == bad else label for label in batch] for batch in whole
    ]


def test_one_good_sample_is_enough_and_none_is_an_error() -> None:
    assert labels(batches(numbers(3), range(3), Make([0, 2]), 3, 0), 2) == [[1, 1, 1], [1, 1, 1]]
    for workers in (0, 2):
        with pytest.raises(InputError, match=r"none of 3 samples can be read, for example n\d: torn"):
            next(batches(numbers(3), range(3), Make([0, 1, 2]), 2, 0, workers=workers))


def test_a_broken_sample_is_told_once_and_read_once() -> None:
    make, told = Make([4]), []
    labels(batches(numbers(8), range(8), make, 4, 0, on_fault=lambda name, why: told.append((name, why))), 20)
    assert told == [("n4", "torn")]
    assert make.asked.count(4) == 1


def test_the_random_numbers_of_a_sample_are_its_own() -> None:
    def noise(seed: int, size: int) -> dict[int, float]:
        stream = islice(batches(numbers(12), range(12), Make(), size, seed), 12 // size)
        return {int(i): float(x) for b in stream for i, x in zip(b["labels"], b["noise"], strict=True)}

    assert noise(0, 2) == noise(0, 6)
    assert len(set(noise(0, 2).values())) == 12
    assert noise(0, 2) != noise(1, 2)


def test_a_mistake_in_make_is_not_hidden_and_input_errors_keep_their_parts() -> None:
    def buggy(sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        raise ZeroDivisionError

    def refusing(sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        raise InputError(Problem("tokeniser", "no such word"))

    for workers in (0, 1):
        with pytest.raises(ZeroDivisionError):
            next(batches(numbers(4), range(4), buggy, 2, 0, workers=workers))
        with pytest.raises(InputError) as caught:
            next(batches(numbers(4), range(4), refusing, 2, 0, workers=workers))
        assert caught.value.problems == (Problem("tokeniser", "no such word"),)


def test_workers_end_with_the_stream_and_with_an_error_that_is_kept() -> None:
    before = set(multiprocessing.active_children())
    stream = batches(numbers(9), range(9), Make(), 3, 0, workers=2)
    next(stream)
    assert len(set(multiprocessing.active_children()) - before) == 2
    stream.close()
    with pytest.raises(InputError) as kept:
        next(batches(numbers(9), range(9), Make(range(9)), 3, 0, workers=2))
    assert set(multiprocessing.active_children()) <= before
    assert kept.value.problems


@pytest.mark.parametrize("workers", [0, 2])
def test_in_order_gives_each_once_and_leaves_broken_ones_out(workers: int) -> None:
    told: list[str] = []
    stream = in_order(
        numbers(10), range(9, -1, -1), Make([8, 1]), 4, workers=workers, on_fault=lambda name, _: told.append(name)
    )
    assert [batch["labels"].tolist() for batch in stream] == [[9, 7, 6], [5, 4, 3, 2], [0]]
    assert told == ["n8", "n1"]
    with pytest.raises(InputError, match="none of 2 samples"):
        list(in_order(numbers(2), range(2), Make([0, 1]), 1, workers=workers))


def test_samples_of_different_lengths_are_padded_by_the_callers_collate() -> None:
    def make(sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        return {"tokens": torch.ones(sample.label + 1)}

    def pad(made: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {"tokens": torch.nn.utils.rnn.pad_sequence([m["tokens"] for m in made], batch_first=True)}

    (batch,) = in_order(numbers(3), range(3), make, 3, collate=pad)
    assert batch["tokens"].sum(1).tolist() == [1, 2, 3]
    with pytest.raises(RuntimeError):
        stack([make(Sample(label=i), np.random.default_rng(0)) for i in range(2)])


def pictures(folder: Path, count: int) -> Samples:
    paths = [folder / f"{i}.png" for i in range(count)]
    for i, path in enumerate(paths):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(path)
    splits = {split: range(i, count, 4) for i, split in enumerate(SPLITS)}
    return Samples(str(folder), [Sample(ImageFile(path)) for path in paths], [path.name for path in paths], splits)


def red(sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
    assert sample.image is not None
    return {"labels": torch.tensor(sample.image.open().getpixel((0, 0))[0])}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_in_the_middle_is_skipped_counted_and_shown(tmp_path: Path, workers: int) -> None:
    source = pictures(tmp_path, 24)
    check(source)
    (tmp_path / "7.png").write_bytes((tmp_path / "7.png").read_bytes()[:40])
    (tmp_path / "9.png").unlink()
    (tmp_path / "11.png").write_text("no picture")
    told: dict[str, str] = {}
    stream = batches(source, range(24), red, 6, 0, workers=workers, on_fault=told.__setitem__)
    seen = flat(stream, 8)
    assert set(range(24)) - set(seen) == {7, 9, 11}
    assert told.keys() == {"7.png", "9.png", "11.png"}
    assert told["9.png"] == "No such file or directory"
    assert told["11.png"] == "not an image"


def test_broken_images_are_found_before_the_first_trial(tmp_path: Path) -> None:
    source = pictures(tmp_path, 24)
    for i in range(5):
        (tmp_path / f"{i}.png").write_text("no picture")
    seen: list[tuple[int, int]] = []
    faults = find_faults(source, progress=lambda done, every: seen.append((done, every)))
    assert len(faults) == 5
    assert seen[-1] == (24, 24)
    message = r"5 × an image that cannot be read: 0\.png: not an image; 1\.png.*; 2\.png: not an image; …"
    with pytest.raises(InputError, match=message):
        check(source)
    assert len(find_faults(source, decode=False)) == 0
