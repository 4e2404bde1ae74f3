"""What scenes say: two digits with size, colour and place, their captions, splits, and groups that look alike.

A scene is a row of seven small integers: size, colour and digit of the first object, the same of the second, and the
axis. The first object is the left one (axis 0) or the upper one (axis 1), so each scene has exactly one row, while two
captions describe it: "A left of B" and "B right of A". The two objects differ in colour and in digit.

Splits hold out combinations: a scene's *key* is its pair of colours and its pair of digits, whichever object has which.
Swapping attributes, sizes or places never changes the key, so no such neighbour of a held-out scene is seen in
training. The idea of neighbours by one swap is that of Winoground (Thrush et al., CVPR 2022): without binding
attributes to objects they cannot be told apart.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "calibration", "validation", "test"]
Ints = NDArray[np.int64]

SIZES: Final = ("small", "large")
COLOURS: Final = ("red", "green", "blue", "yellow", "orange", "purple", "cyan", "white")
DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RELATIONS: Final = (("left", "of"), ("above",), ("right", "of"), ("below",))  # by axis + 2 × told from the second

#: Word to token id. The end token has the highest id, so that CLIP's pooling finds it; 0 pads.
VOCABULARY: Final = {
    word: index
    for index, word in enumerate(
        ("<pad>", "a", *SIZES, *COLOURS, *DIGITS, "left", "right", "of", "above", "below", "<start>", "<end>")
    )
}
CONTEXT: Final = 12  # start, ten words at most, end

SIZE, COLOUR, DIGIT, AXIS = 0, 1, 2, 6  # columns; the second object's are 3 further
RADIX: Final = np.array([2, len(COLOURS), 10, 2, len(COLOURS), 10, 2])  # values of each column
_SPLIT_SEED: Final = 20_250_502
_SPLIT_SHARES: Final = (("validation", 0.12), ("test", 0.12), ("calibration", 0.04))  # of the keys; the rest trains


def scene_codes(scenes: Ints) -> Ints:
    """One number a scene: (…, 7) to (…,); equal numbers are equal scenes."""
    codes = np.zeros(scenes.shape[:-1], dtype=np.int64)
    for column, radix in enumerate(RADIX):
        codes = codes * radix + scenes[..., column]
    return codes


def _pair(first: Ints, second: Ints, n: int) -> Ints:
    """Number of the unordered pair, 0 … n² − 1."""
    return np.minimum(first, second) * n + np.maximum(first, second)


@cache
def _key_splits() -> dict[Split, NDArray[np.bool_]]:
    """Which keys (colour pair, digit pair) belong to which split: boolean tables (n_colours², 100)."""
    n = len(COLOURS)
    colours = [i * n + j for i in range(n) for j in range(i + 1, n)]
    digits = [i * 10 + j for i in range(10) for j in range(i + 1, 10)]
    keys = np.array([(c, d) for c in colours for d in digits])
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(keys))
    tables: dict[Split, NDArray[np.bool_]] = {}
    start = 0
    for split, share in _SPLIT_SHARES:
        stop = start + round(share * len(keys))
        tables[split] = _table(keys[order[start:stop]])  # type: ignore[index]
        start = stop
    tables["train"] = _table(keys[order[start:]])
    return tables


def _table(keys: Ints) -> NDArray[np.bool_]:
    table = np.zeros((len(COLOURS) ** 2, 100), dtype=np.bool_)
    table[keys[:, 0], keys[:, 1]] = True
    return table


def in_split(scenes: Ints, split: Split) -> NDArray[np.bool_]:
    """Which scenes (…, 7) belong to a split; those whose objects share colour or digit belong to none."""
    colours = _pair(scenes[..., COLOUR], scenes[..., COLOUR + 3], len(COLOURS))
    digits = _pair(scenes[..., DIGIT], scenes[..., DIGIT + 3], 10)
    return _key_splits()[split][colours, digits]


def random_scenes(count: int, split: Split, rng: np.random.Generator) -> Ints:
    """`count` scenes (count, 7), uniform over those of the split."""
    keys = np.argwhere(_key_splits()[split])
    chosen = keys[rng.integers(len(keys), size=count)]  # (count, 2)
    colours = np.stack(np.divmod(chosen[:, 0], len(COLOURS)), axis=1)
    digits = np.stack(np.divmod(chosen[:, 1], 10), axis=1)
    colours = rng.permuted(colours, axis=1)
    digits = rng.permuted(digits, axis=1)
    sizes = rng.integers(2, size=(count, 2))
    axis = rng.integers(2, size=count)
    columns = [sizes[:, 0], colours[:, 0], digits[:, 0], sizes[:, 1], colours[:, 1], digits[:, 1], axis]
    return np.stack(columns, axis=1)


def neighbours(scenes: Ints) -> tuple[Ints, Ints]:
    """Every scene that one change makes of each scene.

    Args:
        scenes: (n, 7).

    Returns:
        The neighbours (n, k, 7) and the kind of change (k,): 0 colours swapped, 1 digits swapped, 2 sizes swapped,
        3 relation inverted, 4 relation turned, 5 one size, 6 one colour, 7 one digit. Some equal the scene itself
        (sizes swapped that are equal) or belong to no split (a colour twice).
    """
    result: list[Ints] = []
    kinds: list[int] = []

    def add(kind: int) -> Ints:
        changed = scenes.copy()
        result.append(changed)
        kinds.append(kind)
        return changed

    second_first = [3, 4, 5, 0, 1, 2]
    for kind, column in ((0, COLOUR), (1, DIGIT), (2, SIZE)):
        add(kind)[:, [column, column + 3]] = scenes[:, [column + 3, column]]
    add(3)[:, :6] = scenes[:, second_first]
    add(4)[:, AXIS] = 1 - scenes[:, AXIS]
    turned = add(4)
    turned[:, :6], turned[:, AXIS] = scenes[:, second_first], 1 - scenes[:, AXIS]
    for kind, column in ((5, SIZE), (6, COLOUR), (7, DIGIT)):
        radix = int(RADIX[column])
        for place in (column, column + 3):
            for step in range(1, radix):
                add(kind)[:, place] = (scenes[:, place] + step) % radix
    return np.stack(result, axis=1), np.array(kinds)


def random_groups(count: int, size: int, split: Split, rng: np.random.Generator) -> Ints:
    """`count` groups of `size` different scenes of a split: one, and others that one change makes of it.

    Every kind of change is as likely as another, however many neighbours it has (weighted sampling without
    replacement by exponential keys, Efraimidis and Spirakis, 2006). No scene stands twice among all groups.

    Returns:
        (count, size, 7); fewer groups only if the split has no more.
    """
    groups: list[Ints] = []
    found, attempts, seen = 0, 0, np.zeros(0, dtype=np.int64)
    while found < count and attempts < 50:
        attempts += 1
        base = random_scenes(count - found + max(4, (count - found) // 4), split, rng)
        drawn = _draw_neighbours(base, size - 1, split, rng)
        codes = scene_codes(drawn)  # (n, size)
        fresh = np.zeros(codes.size, dtype=np.bool_)
        fresh[np.unique(codes.ravel(), return_index=True)[1]] = True
        kept = fresh.reshape(codes.shape).all(axis=1) & ~np.isin(codes, seen).any(axis=1)
        drawn, codes = drawn[kept][: count - found], codes[kept][: count - found]
        groups.append(drawn)
        seen = np.concatenate([seen, codes.ravel()])
        found += len(drawn)
    return np.concatenate(groups)


def _draw_neighbours(base: Ints, number: int, split: Split, rng: np.random.Generator) -> Ints:
    """Scenes (n, 7), each with `number` random neighbours of the split: (n', number + 1, 7), if it has so many."""
    if number == 0:
        return base[:, None]
    candidates, kinds = neighbours(base)
    valid = in_split(candidates, split) & (scene_codes(candidates) != scene_codes(base)[:, None])  # (n, k)
    of_kind = np.zeros((len(base), int(kinds.max()) + 1))
    for kind in range(of_kind.shape[1]):
        of_kind[:, kind] = valid[:, kinds == kind].sum(axis=1)
    keys = rng.exponential(size=valid.shape) * of_kind[:, kinds]
    keys[~valid] = np.inf
    order = np.argsort(keys, axis=1)[:, :number]
    enough = valid.sum(axis=1) >= number
    drawn = np.take_along_axis(candidates, order[:, :, None], axis=1)
    groups: Ints = np.concatenate([base[:, None], drawn], axis=1)[enough]
    return groups


def words(scene: Ints, *, from_second: bool) -> tuple[str, ...]:
    """The caption of one scene (7,), told from its first object or from its second."""
    first, second = (3, 0) if from_second else (0, 3)
    relation = RELATIONS[int(scene[AXIS]) + 2 * from_second]
    return (*_object_words(scene, first), *relation, *_object_words(scene, second))


def _object_words(scene: Ints, start: int) -> tuple[str, ...]:
    size, colour, digit = (int(value) for value in scene[start : start + 3])
    return ("a", SIZES[size], COLOURS[colour], DIGITS[digit])


@cache
def _relation_ids() -> tuple[Ints, Ints]:
    """Token ids of the four relations, padded to two words, and their numbers of words."""
    ids = [[VOCABULARY[word] for word in relation] for relation in RELATIONS]
    return np.array([[*row, 0][:2] for row in ids]), np.array([len(row) for row in ids])


def tokenize_scenes(scenes: Ints, from_second: NDArray[np.bool_]) -> Ints:
    """Token ids (n, CONTEXT) of the captions of scenes (n, 7); the same as `tokenize` of their words, but fast."""
    told = np.where(from_second[:, None], scenes[:, [3, 4, 5, 0, 1, 2]], scenes[:, :6])
    offsets = np.array([VOCABULARY[SIZES[0]], VOCABULARY[COLOURS[0]], VOCABULARY[DIGITS[0]]])
    article = np.full((len(scenes), 1), VOCABULARY["a"])
    relation_ids, relation_lengths = _relation_ids()
    relation = scenes[:, AXIS] + 2 * from_second
    start = np.full((len(scenes), 1), VOCABULARY["<start>"])
    end = np.full((len(scenes), 1), VOCABULARY["<end>"])
    head = np.concatenate([start, article, told[:, :3] + offsets], axis=1)
    tail = np.concatenate([article, told[:, 3:] + offsets, end], axis=1)
    tokens = np.zeros((len(scenes), CONTEXT), dtype=np.int64)
    tokens[:, :5] = head
    tokens[:, 5:7] = relation_ids[relation]
    columns = 5 + relation_lengths[relation][:, None] + np.arange(tail.shape[1])
    np.put_along_axis(tokens, columns, tail, axis=1)
    return tokens
