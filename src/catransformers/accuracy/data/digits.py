"""Handwritten digits that need no download: the 1,797 images of 8 × 8 pixels that scikit-learn ships.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (CC BY
4.0, doi 10.24432/C50P49), the part that scikit-learn has as `load_digits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from catransformers.accuracy.data.samples import Sample, Samples

#: Out of the 1,797: what is not trained on. The test digits are the data set's last.
CALIBRATION, VALIDATION, TEST = 147, 300, 350
GREYS = 16


@dataclass(frozen=True, slots=True)
class _Digit:
    """A digit as an image of 8 × 8 greys."""

    pixels: bytes

    def open(self) -> Image.Image:
        """The image."""
        return Image.frombytes("L", (8, 8), self.pixels)


@cache
def digits() -> Samples:
    """The digits as a source; splits are fixed."""
    data = load_digits()
    greys = (np.asarray(data.images) * (255 / GREYS)).round().astype(np.uint8)  # (n, 8, 8)
    labels = [int(label) for label in data.target]
    samples = [Sample(image=_Digit(grey.tobytes()), label=label) for grey, label in zip(greys, labels, strict=True)]
    ends = np.cumsum([0, len(samples) - CALIBRATION - VALIDATION - TEST, CALIBRATION, VALIDATION, TEST])
    splits = {
        name: list(range(int(start), int(end)))
        for name, start, end in zip(("train", "calibration", "validation", "test"), ends[:-1], ends[1:], strict=True)
    }
    return Samples(
        "scikit-learn's digits", samples, [f"digit {i}" for i in range(len(samples))], splits, tuple("0123456789")
    )
