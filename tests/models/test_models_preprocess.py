"""Preprocessing: open_clip's pictures to the last bit or two, from any kind of file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from catransformers.errors import InputError
from catransformers.models.loading.preprocess import CLIP_MEAN, CLIP_STD, Preprocess, preprocess_from


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize("size", [(50, 37), (37, 50), (33, 33), (32, 32), (20, 64), (31, 90), (224, 225)])
@pytest.mark.parametrize(("interpolation", "mode"), [("bicubic", "shortest"), ("bilinear", "squash")])
def test_it_equals_open_clips_transform(open_clip: Any, size: tuple[int, int], interpolation: str, mode: str) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    theirs = image_transform_v2(PreprocessCfg(size=32, interpolation=interpolation, resize_mode=mode), is_train=False)
    ours = Preprocess(32, interpolation=interpolation, resize_mode=mode)
    image = picture(*size)
    torch.testing.assert_close(ours(image), theirs(image), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"])
def test_every_kind_of_image_has_three_colours(mode: str) -> None:
    result = Preprocess(16)(picture(40, 30, mode))
    assert result.shape == (3, 16, 16)
    assert result.dtype == torch.float32
    assert result.is_contiguous()


def test_white_becomes_the_normalised_one() -> None:
    white = Image.new("RGB", (9, 5), "white")
    expected = [(1 - m) / s for m, s in zip(CLIP_MEAN, CLIP_STD, strict=True)]
    torch.testing.assert_close(Preprocess(4)(white).mean(dim=(1, 2)), torch.tensor(expected))


def test_settings_of_a_checkpoint_are_read_or_refused() -> None:
    assert preprocess_from(224, {}, "here") == Preprocess(224)
    own = preprocess_from(64, {"mean": [0.5, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": None}, "here")
    assert own == Preprocess(64, mean=(0.5, 0.5, 0.5), interpolation="bilinear")
    with pytest.raises(InputError) as caught:
        preprocess_from(64, {"interpolation": "random", "resize_mode": "longest"}, "here")
    assert len(caught.value.problems) == 2
