"""Data splits (train, calibration, validation, test): what the data says, completed by one rule.

Splits that the data names are kept. What is missing is cut out of what is there, at random by a seed and whole samples
at a time (an image with all of its captions; a text with its repeats), so that no two splits share anything:

    nothing named, or one split only    70 % train, 10 % each of the others
    no calibration                      a tenth of train, at most 5,000
    no validation                       a tenth of train, at most 5,000
    no test                             half of validation

Running text is cut by position instead of at random: train, calibration, validation and test follow one another, and
what is cut out of a split is its end.

Calibration data choose what pruning removes; they come out of the training data, never out of what judges the result.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from catransformers.errors import InputError, Problem, Problems

SPLITS: Final = ("train", "calibration", "validation", "test")
Splits = Mapping[str, Sequence[int]]

_TENTHS: Final = {"calibration": 0.1, "validation": 0.1, "test": 0.1}  # of the samples; training gets the rest
_MOST_CUT: Final = 5000
_LEAST: Final = 2  # samples a split

#: Other names that data sets give their splits.
ALIASES: Final = {
    "train": "train",
    "training": "train",
    "restval": "train",  # Karpathy's: images of COCO's validation set that nobody validates on
    "calibration": "calibration",
    "calib": "calibration",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


def random_split(names: Sequence[str], seed: int) -> dict[str, list[int]]:
    """Tenths for calibration, validation and test, the rest for training.

    Depends on the names and the seed, not on the order of the names: the same files, found in another order, are split
    the same.

    Args:
        names: of the samples, without repetition.
        seed: of the draw.

    Returns:
        The indices of each split, ascending.
    """
    by_name = sorted(range(len(names)), key=names.__getitem__)
    order = [by_name[i] for i in np.random.default_rng(seed).permutation(len(names))]
    result: dict[str, list[int]] = {"train": []}
    start = 0
    for split, fraction in _TENTHS.items():
        end = start + max(1, round(fraction * len(names)))
        result[split] = sorted(order[start:end])
        start = end
    result["train"] = sorted(order[start:])
    return result


def split_by_position(indices: Sequence[int]) -> dict[str, list[int]]:
    """Four stretches, one after the other: 70 % train, a tenth each for calibration, validation and test."""
    count, part = len(indices), round(len(indices) / 10)
    ends = [count - 3 * part, count - 2 * part, count - part, count]
    return {split: list(indices[a:b]) for split, (a, b) in zip(SPLITS, pairwise([0, *ends]), strict=True)}


def complete(
    given: Mapping[str, Sequence[int]],
    names: Sequence[str],
    seed: int,
    where: str,
    *,
    noun: str = "samples",
    running: bool = False,
) -> dict[str, list[int]]:
    """All four splits from those that the data names, by the rule of the module.

    Args:
        given: the indices of each split that the data names; empty if it names none.
        names: of all samples.
        seed: of what has to be cut.
        where: the data's path, for messages.
        noun: what a sample is called in messages.
        running: whether the samples are running text, to be cut by position.

    Raises:
        InputError: if there is nothing to train on, or a split would hold fewer than two samples.
    """
    given = {split: indices for split, indices in given.items() if indices}
    if len(given) <= 1:
        every = next(iter(given.values()), range(len(names)))
        drawn = split_by_position(range(len(every))) if running else random_split([names[i] for i in every], seed)
        result = {split: [every[i] for i in drawn[split]] for split in SPLITS}
    else:
        if "train" not in given:
            raise InputError(Problem(where, f"no split 'train', only {', '.join(given)}", ", ".join(SPLITS)))
        result = {split: sorted(given.get(split, ())) for split in SPLITS}
        for split, donor in (("calibration", "train"), ("validation", "train"), ("test", "validation")):
            if split not in given:
                pool = result[donor]
                tenth = min(_MOST_CUT, max(1, round(0.1 * len(given["train"]))))
                count = len(pool) // 2 if split == "test" else tenth
                if running:
                    result[split], result[donor] = pool[len(pool) - count :], pool[: len(pool) - count]
                else:
                    result[split], result[donor] = _cut(pool, count, names, seed)
    need_some(result, where, noun)
    return result


def complete_together(
    given: Mapping[str, Sequence[int]], names: Sequence[str], alike: Sequence[Hashable], seed: int, where: str
) -> dict[str, list[int]]:
    """`complete`, with samples that are alike in one split: what stands twice is not to train and to test.

    Splits that the data name are kept as they are, whatever stands in two of them.

    Args:
        given: as for `complete`.
        names: as for `complete`.
        alike: of all samples, what is equal of two that belong together.
        seed: as for `complete`.
        where: as for `complete`.

    Raises:
        InputError: as `complete` does.
    """
    split_of = {i: split for split, indices in given.items() for i in indices}
    together: dict[tuple[str, Hashable], list[int]] = {}
    for i in range(len(names)) if not given else sorted(split_of):
        together.setdefault((split_of.get(i, ""), alike[i]), []).append(i)
    groups = list(together.values())
    firsts = {
        split: [number for number, (own, _) in enumerate(together) if own == split] for split in given if given[split]
    }
    drawn = complete(firsts, [names[group[0]] for group in groups], seed, where)
    return {split: sorted(i for number in numbers for i in groups[number]) for split, numbers in drawn.items()}


def need_some(splits: Splits, where: str, noun: str) -> None:
    """Stop if a split holds fewer than two samples.

    Raises:
        InputError: naming all such splits.
    """
    problems = Problems(
        Problem(where, f"{len(splits[split])} {noun} in the split {split!r}", f"at least {_LEAST}")
        for split in SPLITS
        if len(splits[split]) < _LEAST
    )
    problems.finish()


def _cut(pool: Sequence[int], count: int, names: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """`count` of the pool, drawn by name and seed, and the rest; both ascending."""
    by_name = sorted(pool, key=names.__getitem__)
    order = np.random.default_rng(seed).permutation(len(by_name))
    return sorted(by_name[i] for i in order[:count]), sorted(by_name[i] for i in order[count:])
