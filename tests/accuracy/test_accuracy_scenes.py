"""Scenes: unambiguous captions, splits that share nothing, groups that differ by one change, determinism."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.accuracy.tasks import TASKS, task_kind
from catransformers.accuracy.tasks.scenes import ScenesTask, draw_pairs, tokenize
from catransformers.accuracy.tasks.scenes_images import IMAGE_SIZE, render, scans
from catransformers.accuracy.tasks.scenes_text import (
    AXIS,
    COLOUR,
    COLOURS,
    CONTEXT,
    DIGIT,
    RADIX,
    VOCABULARY,
    Ints,
    Split,
    in_split,
    neighbours,
    random_groups,
    random_scenes,
    scene_codes,
    tokenize_scenes,
    words,
)
from catransformers.errors import InputError

SPLITS: tuple[Split, ...] = get_args(Split)


def all_scenes() -> Ints:
    """Every scene whose two objects differ in colour and digit."""
    rows = np.array(list(itertools.product(*(range(int(radix)) for radix in RADIX))))
    differ = (rows[:, COLOUR] != rows[:, COLOUR + 3]) & (rows[:, DIGIT] != rows[:, DIGIT + 3])
    return rows[differ]


def objects_of(caption: tuple[str, ...]) -> frozenset[tuple[str, tuple[str, ...]]]:
    """What a caption says, read independently: each object with the place it has."""
    middle = next(i for i, word in enumerate(caption) if word in ("left", "right", "above", "below"))
    first, second = caption[1:4], caption[-3:]
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    return frozenset({(caption[middle], first), (opposite[caption[middle]], second)})


def test_every_scene_has_two_captions_and_no_caption_two_scenes() -> None:
    scenes = random_scenes(3000, "train", np.random.default_rng(0))
    meanings = {}
    for scene in scenes:
        told, retold = (words(scene, from_second=value) for value in (False, True))
        assert told != retold
        assert objects_of(told) == objects_of(retold)
        meanings[int(scene_codes(scene))] = objects_of(told)
    assert len(set(meanings.values())) == len(meanings)


def test_a_caption_reads_as_promised() -> None:
    scene = np.array([1, COLOURS.index("red"), 7, 0, COLOURS.index("green"), 3, 0])
    assert " ".join(words(scene, from_second=False)) == "a large red seven left of a small green three"
    assert " ".join(words(scene, from_second=True)) == "a small green three right of a large red seven"
    scene[AXIS] = 1
    assert " ".join(words(scene, from_second=True)) == "a small green three below a large red seven"


def test_several_thousand_captions_in_every_pool_of_combinations() -> None:
    scenes = all_scenes()
    counts = {split: int(in_split(scenes, split).sum()) for split in SPLITS}
    assert sum(counts.values()) == len(scenes) == 40_320  # every scene is in exactly one split
    assert counts["train"] > 25_000
    assert counts["validation"] > 4_000
    assert counts["test"] > 4_000
    assert len(np.unique(scene_codes(scenes))) == len(scenes)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(SPLITS), st.integers(0, 10_000))
def test_swaps_stay_in_their_split(split: Split, seed: int) -> None:
    scenes = random_scenes(20, split, np.random.default_rng(seed))
    around, kinds = neighbours(scenes)
    assert in_split(scenes, split).all()
    assert in_split(around[:, kinds <= 5], split).all()


def test_no_scan_is_in_two_splits_and_all_are_used() -> None:
    seen: list[bytes] = []
    for split in SPLITS:
        images, index = scans(split)
        assert images.shape[1:] == (1, 24, 24)
        assert sum(map(len, index)) == len(images)
        assert all(len(rows) >= 8 for rows in index)
        seen += [image.numpy().tobytes() for image in images]
    assert len(seen) == len(set(seen)) == 1797


def test_pools_hold_combinations_and_scans_that_training_never_sees() -> None:
    rng = np.random.default_rng(3)
    train = random_groups(200, 8, "train", rng).reshape(-1, 7)
    for split in ("calibration", "validation", "test"):
        assert not in_split(train, split).any()  # type: ignore[arg-type]


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(SPLITS), st.integers(1, 8), st.integers(0, 10_000))
def test_groups_differ_by_one_change_from_their_first(split: Split, size: int, seed: int) -> None:
    groups = random_groups(12, size, split, np.random.default_rng(seed))
    assert groups.shape == (12, size, 7)
    assert in_split(groups, split).all()
    assert len(np.unique(scene_codes(groups))) == 12 * size
    around, _ = neighbours(groups[:, 0])
    near = scene_codes(around)
    for group, codes in zip(groups[:, 1:], near, strict=True):
        assert np.isin(scene_codes(group), codes).all()


def test_the_kinds_of_change_are_about_equally_frequent() -> None:
    groups = random_groups(400, 2, "train", np.random.default_rng(0))
    around, kinds = neighbours(groups[:, 0])
    which = scene_codes(around) == scene_codes(groups[:, 1])[:, None]
    counts = np.bincount(kinds[which.argmax(axis=1)], minlength=8)
    assert counts.min() > 15  # equal sizes cannot be swapped: that kind is half as frequent
    assert counts.max() < 90


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_fast_tokens_equal_those_of_the_words(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scenes, second = random_scenes(30, "train", rng), rng.random(30) < 0.5
    captions = [" ".join(words(scene, from_second=bool(s))) for scene, s in zip(scenes, second, strict=True)]
    assert torch.equal(tokenize(captions), torch.from_numpy(tokenize_scenes(scenes, second)))


def test_the_end_token_is_the_highest_and_unknown_words_are_all_named() -> None:
    assert max(VOCABULARY.values()) == VOCABULARY["<end>"] == len(VOCABULARY) - 1
    assert tokenize(["a red one", "a large Red seven left of a small green three"]).argmax(dim=1).tolist() == [4, 11]
    with pytest.raises(InputError) as caught:
        tokenize(["a rad one", "a one elephant", "a " * (CONTEXT - 1)])
    text = str(caught.value)
    assert "did you mean 'red'" in text
    assert "elephant" in text
    assert "at most 10" in text


def test_images_of_a_seed_are_the_same_and_others_differ() -> None:
    task = ScenesTask()
    first, again, other = (next(task.train_batches(64, seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in ("images", "tokens"))
    images = first["images"]
    assert not torch.equal(images, other["images"])
    assert images.shape == (64, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert images.dtype == torch.float32
    assert torch.isfinite(images).all()
    assert images.abs().max() < 8


def test_a_stream_can_be_taken_up_anywhere() -> None:
    stream = ScenesTask().train_batches(9, 3)
    whole = [next(stream) for _ in range(4)]
    later = ScenesTask().train_batches(9, 3, start=2)
    for number in (2, 3):
        batch = next(later)
        assert all(torch.equal(batch[name], whole[number][name]) for name in ("images", "tokens"))


@pytest.mark.parametrize("batch_size", [1, 30, 64])
def test_batches_have_the_size_asked_for(batch_size: int) -> None:
    stream = ScenesTask().train_batches(batch_size, 0)
    for _ in range(2):
        batch = next(stream)
        images, tokens = batch["images"], batch["tokens"]
        assert len(images) == len(tokens) == batch_size
        assert len(torch.unique(tokens, dim=0)) == batch_size


def test_digits_stand_where_the_caption_says() -> None:
    rng = np.random.default_rng(0)
    scenes = random_scenes(300, "train", rng)
    _, ink = render(scenes, "train", rng)
    place = torch.linspace(0, 1, IMAGE_SIZE)
    mass = ink.sum(dim=(2, 3))
    x = (ink.sum(dim=2) * place).sum(dim=2) / mass  # (n, 2)
    y = (ink.sum(dim=3) * place).sum(dim=2) / mass
    apart = torch.stack([x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]], dim=1)
    along = apart[torch.arange(300), torch.from_numpy(scenes[:, AXIS])]
    across = apart[torch.arange(300), torch.from_numpy(1 - scenes[:, AXIS])]
    assert (along > 0.15).all()
    assert (along > across.abs()).all()
    assert mass.min() > 10
    sizes = torch.from_numpy(scenes[:, [0, 3]])
    extent = (ink > 0.2).any(dim=3).sum(dim=2)  # rows with ink
    assert extent[sizes == 1].float().mean() > 1.3 * extent[sizes == 0].float().mean()


def test_the_pools_are_as_described() -> None:
    task = ScenesTask()
    for name in ("validation", "test"):
        pool = task.pool(name)  # type: ignore[arg-type]
        assert pool.images.shape == (1000, 3, IMAGE_SIZE, IMAGE_SIZE)
        assert pool.tokens.shape == (1000, CONTEXT)
        assert np.bincount(pool.groups).tolist() == [8] * 125
        assert len(torch.unique(pool.tokens, dim=0)) == 1000
    assert not torch.equal(task.pool("validation").images, task.pool("test").images)
    with pytest.raises(InputError, match="unknown pool"):
        task.pool("train")  # type: ignore[arg-type]


def test_calibration_is_always_the_same_and_covers_all_pairs() -> None:
    first, again = (ScenesTask().calibration_batches(100) for _ in range(2))
    assert [len(batch["images"]) for batch in first] == [100] * 5 + [12]
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in ("images", "tokens"))


def test_no_pair_of_a_pool_describes_another_pairs_scene() -> None:
    for split in ("validation", "test"):
        scenes, _, _ = draw_pairs(125, 8, split, np.random.default_rng(5))  # type: ignore[arg-type]
        assert len(np.unique(scene_codes(scenes))) == 1000


def test_tasks_by_name() -> None:
    assert task_kind("scenes") is TASKS["scenes"]
    with pytest.raises(InputError, match="did you mean 'scenes'"):
        task_kind("scene")
