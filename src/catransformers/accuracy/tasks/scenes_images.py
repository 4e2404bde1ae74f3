"""How scenes look: real handwritten digits, coloured, placed and disturbed on a small canvas.

The digits are the 1,797 scans of 8 × 8 pixels that ship with scikit-learn (Alpaydin and Kaynak, "Optical Recognition of
Handwritten Digits", UCI Machine Learning Repository, 1998, CC BY 4.0). Every split has scans of its own. All
randomness comes from one numpy generator, so a seed gives the same images.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from catransformers.accuracy.tasks.scenes_text import AXIS, COLOUR, DIGIT, SIZE, Ints, Split

IMAGE_SIZE: Final = 40
_SPLIT_SEED: Final = 1998
_SCAN_SHARES: Final = (("validation", 0.15), ("test", 0.15), ("calibration", 0.05))  # of each digit's scans

#: Red, green and blue of each colour of `scenes_text.COLOURS`, 0 … 1.
_COLOURS: Final = np.array(
    [
        (0.90, 0.12, 0.12),  # red
        (0.12, 0.75, 0.15),  # green
        (0.15, 0.25, 0.95),  # blue
        (0.95, 0.90, 0.10),  # yellow
        (0.98, 0.52, 0.05),  # orange
        (0.62, 0.15, 0.80),  # purple
        (0.10, 0.85, 0.90),  # cyan
        (0.95, 0.95, 0.95),  # white
    ]
)
#: Images are normalised by these, about the mean and standard deviation of all pixels.
MEAN: Final = 0.2
DEVIATION: Final = 0.2
#: Edge of a small and of a large digit's box as a share of the canvas, least and most.
_BOX: Final = np.array([(0.31, 0.36), (0.46, 0.50)])


@cache
def scans(split: Split) -> tuple[Tensor, tuple[Ints, ...]]:
    """The scans of a split, smoothly enlarged, values 0 … 1: (n, 1, 24, 24), and the rows of each of the ten digits."""
    data = load_digits()
    images = torch.from_numpy(data.images / 16.0).float()[:, None]
    images = F.interpolate(images, scale_factor=3, mode="bicubic", align_corners=False).clamp(0, 1)
    rng = np.random.default_rng(_SPLIT_SEED)
    chosen = []
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(data.target == digit))
        parts: dict[str, Ints] = {}
        start = 0
        for name, share in _SCAN_SHARES:
            stop = start + round(share * len(rows))
            parts[name] = rows[start:stop]
            start = stop
        parts["train"] = rows[start:]
        chosen.append(parts[split])
    ends = np.cumsum([len(rows) for rows in chosen])
    index = tuple(np.arange(end - len(rows), end) for rows, end in zip(chosen, ends, strict=True))
    return images[torch.from_numpy(np.concatenate(chosen))], index


def _choose_scans(digits: Ints, split: Split, rng: np.random.Generator) -> Tensor:
    """A random scan of the split for each digit of (n, 2): (2n, 1, 24, 24)."""
    images, index = scans(split)
    counts = np.array([len(rows) for rows in index])
    starts = np.array([rows[0] for rows in index])
    flat = digits.ravel()
    rows = starts[flat] + np.floor(rng.random(len(flat)) * counts[flat]).astype(np.int64)
    return images[torch.from_numpy(rows)]


def _place(boxes: NDArray[np.float64], axis: Ints, rng: np.random.Generator, disorder: float) -> NDArray[np.float64]:
    """Centres (n, 2 objects, 2 coordinates x y), in shares of the canvas, of boxes with edges (n, 2).

    Along the axis the two boxes stand beside one another with random gaps; across it they are offset a little, at
    most 0.35 of their distance, so that left is not above.
    """
    n = len(axis)
    slack = np.maximum(1 - boxes.sum(axis=1), 0)
    cuts = np.sort(rng.random((n, 2)), axis=1) * slack[:, None]
    along = np.stack([cuts[:, 0] + boxes[:, 0] / 2, cuts[:, 1] + boxes[:, 0] + boxes[:, 1] / 2], axis=1)
    reach = 0.35 * (along[:, 1] - along[:, 0])
    offset = rng.uniform(-1, 1, n) * reach
    half = boxes.max(axis=1) / 2 + reach / 2
    middle = rng.uniform(half, np.maximum(1 - half, half + 1e-9))
    across = np.stack([middle - offset / 2, middle + offset / 2], axis=1)
    across = np.clip(across, boxes / 2, 1 - boxes / 2)
    along += (1 - disorder) * (np.array([0.25, 0.75]) - along)
    across += (1 - disorder) * (0.5 - across)
    horizontal = (axis == 0)[:, None]
    return np.stack([np.where(horizontal, along, across), np.where(horizontal, across, along)], axis=2)


def render(
    scenes: Ints,
    split: Split,
    rng: np.random.Generator,
    disorder: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Draw scenes (n, 7) with scans of `split`.

    Random: the scans, position, scale, rotation (±12°), shear, stretch, colour, brightness, background tint and
    gradient, pixel noise.

    Args:
        scenes: (n, 7), see `scenes_text`.
        split: whose scans are drawn.
        rng: source of everything random.
        disorder: 0 … 1 scales what is random in the digits' place and shape; at 0 they stand at fixed places. Only
            the training of the base model uses less than 1.

    Returns:
        Normalised images (n, 3, IMAGE_SIZE, IMAGE_SIZE), and the ink of both digits (n, 2, IMAGE_SIZE, IMAGE_SIZE),
        0 … 1.
    """
    n = len(scenes)
    objects = scenes[:, :6].reshape(n, 2, 3)
    ink = _choose_scans(objects[:, :, DIGIT], split, rng)
    least, most = np.moveaxis(_BOX[objects[:, :, SIZE]], 2, 0)
    boxes = (least + most) / 2 + disorder * (most - least) * rng.uniform(-0.5, 0.5, least.shape)  # (n, 2)
    centres = _place(boxes, scenes[:, AXIS], rng, disorder)
    masks = _draw(ink, boxes, centres, rng, disorder).view(n, 2, 1, IMAGE_SIZE, IMAGE_SIZE)
    colours = _COLOURS[objects[:, :, COLOUR]] + rng.normal(0, 0.035, (n, 2, 3))
    colours = np.clip(colours * rng.uniform(0.85, 1.05, (n, 2, 1)), 0, 1)
    paint = torch.from_numpy(colours).float()[..., None, None]  # (n, 2, 3, 1, 1)
    canvas = _background(n, rng)
    for number in range(2):
        canvas = torch.lerp(canvas, paint[:, number].expand_as(canvas), masks[:, number])
    noise = torch.from_numpy(rng.standard_normal(canvas.shape, dtype=np.float32))
    level = torch.from_numpy(rng.uniform(0.0, 0.05, (n, 1, 1, 1))).float()
    return (canvas + noise * level - MEAN) / DEVIATION, masks[:, :, 0]


def _draw(
    ink: Tensor,
    boxes: NDArray[np.float64],
    centres: NDArray[np.float64],
    rng: np.random.Generator,
    disorder: float,
) -> Tensor:
    """Scans (2n, 1, 24, 24) drawn at their places on empty canvases: (2n, 1, IMAGE_SIZE, IMAGE_SIZE), 0 … 1."""
    edge, centre = boxes.ravel(), centres.reshape(-1, 2)
    count = len(edge)
    angle = disorder * rng.uniform(-0.21, 0.21, count)
    shear = disorder * rng.uniform(-0.15, 0.15, count)
    stretch = np.exp(disorder * rng.uniform(-0.1, 0.1, (count, 2)))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    slant = np.tile(np.eye(2), (count, 1, 1))
    slant[:, 0, 1] = shear
    # Canvas coordinates (−1 … 1 around the canvas) to scan coordinates (−1 … 1 around the box).
    linear = stretch[:, :, None] * (slant @ turn) / edge[:, None, None]
    shift = -np.einsum("nij,nj->ni", linear, 2 * centre - 1)
    theta = torch.from_numpy(np.concatenate([linear, shift[:, :, None]], axis=2)).float()
    grid = F.affine_grid(theta, [count, 1, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    mask = F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    strength = torch.from_numpy(rng.uniform(1.1, 1.5, (count, 1, 1, 1))).float()
    return (mask * strength).clamp(max=1)


def _background(n: int, rng: np.random.Generator) -> Tensor:
    """Dark canvases (n, 3, IMAGE_SIZE, IMAGE_SIZE): a grey, a tint and a linear gradient, 0 … 0.35."""
    level = rng.uniform(0.0, 0.22, (n, 1)) + rng.normal(0, 0.03, (n, 3))
    slope = rng.uniform(-0.06, 0.06, (n, 2, 1, 1, 1))
    ramp = np.linspace(-1, 1, IMAGE_SIZE)
    canvas = level[:, :, None, None] + slope[:, 0] * ramp[None, None, None, :] + slope[:, 1] * ramp[None, None, :, None]
    return torch.from_numpy(np.clip(canvas, 0, 0.35)).float()
