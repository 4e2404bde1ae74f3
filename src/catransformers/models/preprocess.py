"""From an image file to a CLIP's input: resize, crop, normalise, with Pillow and numpy alone.

The same steps as open_clip's evaluation transform, in its rounding, but for one thing: images are converted to RGB
first, not last, because Pillow resizes palettes and masks without interpolation.

Source: Radford et al. 2021; mean and standard deviation of the training images as published with the weights
(github.com/openai/CLIP, `clip.py`; open_clip's `constants.py` has the same), MIT licence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from catransformers.errors import InputError, Problem

Rgb = tuple[float, float, float]

CLIP_MEAN: Final[Rgb] = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Final[Rgb] = (0.26862954, 0.26130258, 0.27577711)

_INTERPOLATION: Final = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_RESIZE_MODES: Final = ("shortest", "squash")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a base model wants its images.

    Args:
        image_size: height and width of the input in pixels.
        mean: per colour, of values in 0 … 1; subtracted.
        std: per colour; divided by.
        interpolation: `bicubic` or `bilinear`.
        resize_mode: `shortest` (shortest side to size, then the centre) or `squash` (both sides to size).
    """

    image_size: int
    mean: Rgb = CLIP_MEAN
    std: Rgb = CLIP_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"

    def __call__(self, image: Image.Image) -> Tensor:
        """An image as (3, image_size, image_size) float32, normalised."""
        size = self.image_size
        image = image.convert("RGB")
        width, height = image.size
        if self.resize_mode == "squash":
            target = (size, size)
        else:
            short, long = min(width, height), max(width, height)
            other = int(size * long / short)
            target = (size, other) if width <= height else (other, size)
        if target != image.size:
            image = image.resize(target, _INTERPOLATION[self.interpolation])
        left, top = round((target[0] - size) / 2), round((target[1] - size) / 2)
        pixels = np.array(image.crop((left, top, left + size, top + size)), dtype=np.float32) / 255
        normal = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(normal).permute(2, 0, 1).contiguous()


def preprocess_from(image_size: int, settings: Mapping[str, object], where: str) -> Preprocess:
    """The preprocessing that open_clip's settings of a checkpoint describe (`mean`, `std`, `interpolation`, …).

    Raises:
        InputError: for an interpolation or a resize mode that is not supported; all at once.
    """
    interpolation = str(settings.get("interpolation") or "bicubic")
    mode = str(settings.get("resize_mode") or "shortest")
    problems = []
    if interpolation not in _INTERPOLATION:
        problems.append(Problem(where, f"interpolation {interpolation!r} is not supported", ", ".join(_INTERPOLATION)))
    if mode not in _RESIZE_MODES:
        problems.append(Problem(where, f"resize mode {mode!r} is not supported", ", ".join(_RESIZE_MODES)))
    if problems:
        raise InputError(problems)
    return Preprocess(
        image_size,
        mean=_rgb(settings.get("mean"), CLIP_MEAN),
        std=_rgb(settings.get("std"), CLIP_STD),
        interpolation=interpolation,
        resize_mode=mode,
    )


def _rgb(value: object, default: Rgb) -> Rgb:
    if isinstance(value, list | tuple) and len(value) == 3:
        red, green, blue = (float(v) for v in value)
        return red, green, blue
    return default
