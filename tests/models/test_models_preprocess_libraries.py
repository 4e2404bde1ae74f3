"""Preprocessing as timm's evaluation transform and transformers' image processors do it, and their settings in ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from catransformers.errors import InputError
from catransformers.models.loading.preprocess import (
    CLIP_MEAN,
    HALF,
    IMAGENET_MEAN,
    INTERPOLATIONS,
    Preprocess,
    preprocess_of_huggingface,
    preprocess_of_timm,
)

SIZES = [(50, 37), (37, 50), (33, 33), (32, 32), (64, 45), (31, 90), (224, 225)]


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_pct": 0.9, "interpolation": "bicubic", "mean": HALF, "std": HALF},
        {"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"},
        {"crop_pct": 0.8, "crop_mode": "squash", "interpolation": "lanczos"},
        {},
    ],
)
def test_it_equals_timm_s_evaluation_transform(timm: Any, settings: dict[str, Any]) -> None:
    given = timm.data.resolve_data_config(pretrained_cfg={"input_size": (3, 32, 32), **settings})
    theirs = timm.data.create_transform(**given, is_training=False)
    ours = preprocess_of_timm(settings, 32, "here")
    for size in SIZES:
        torch.testing.assert_close(ours(picture(*size)), theirs(picture(*size)), atol=2e-6, rtol=0)


PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("CLIPImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
    "clip, larger before the crop": ("CLIPImageProcessor", {"size": {"shortest_edge": 37}, "crop_size": 32}),
    "vit": ("ViTImageProcessor", {"size": {"height": 32, "width": 32}}),
    "vit of an old version": ("ViTImageProcessor", {"size": 32}),
    "deit": ("DeiTImageProcessor", {"size": {"height": 37, "width": 37}, "crop_size": 32, "image_mean": IMAGENET_MEAN}),
    "no normalisation": ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "do_normalize": False}),
    "lanczos": ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "resample": 1}),
}


@pytest.mark.parametrize("backend", ["", "Pil"])
@pytest.mark.parametrize("name", PROCESSORS)
def test_it_equals_transformers_processors(transformers: Any, name: str, backend: str) -> None:
    kind, settings = PROCESSORS[name]
    theirs = getattr(transformers, kind + backend, None)
    if theirs is None:
        pytest.skip(f"this transformers has no {kind}{backend}")
    theirs = theirs(**settings)
    ours = preprocess_of_huggingface({"image_processor_type": kind, **settings}, 32, "here")
    level = 1 / 255 / min(ours.std)  # what one step of a byte makes
    for size in SIZES:
        expected = theirs(picture(*size), return_tensors="pt")["pixel_values"][0]
        result = ours(picture(*size))
        assert result.shape == expected.shape
        if backend == "Pil":
            torch.testing.assert_close(result, expected, atol=2e-6, rtol=0)
        else:  # tensors are resized along the other side first, and noise is where that shows most
            assert float((result - expected).abs().mean()) < level


@pytest.mark.parametrize("kind", ["CLIPImageProcessor", "ViTImageProcessor", "DeiTImageProcessor"])
def test_what_a_file_leaves_out_is_the_processor_s_default(transformers: Any, kind: str) -> None:
    processor = getattr(transformers, kind)()
    written = {key: value for key, value in processor.to_dict().items() if value is not None}
    assert preprocess_of_huggingface({"image_processor_type": kind}, 224, "here") == preprocess_of_huggingface(
        written, 224, "here"
    )


def test_plain_data_and_back() -> None:
    own = Preprocess(32, mean=HALF, interpolation="lanczos", resize_size=37, floor_crop=True)
    assert Preprocess.from_dict(own.to_dict(), "here") == own
    assert Preprocess.from_dict({"image_size": 32}, "here") == Preprocess(32)
    wrong = {"mean": [1, 2], "interpolation": "magic", "resize_mode": "longest", "floor_crop": 1, "sice": 3}
    with pytest.raises(InputError) as caught:
        Preprocess.from_dict(wrong, "file: preprocess")
    told = str(caught.value)
    for part in ("image_size: missing", "mean: [1, 2]", "'magic'", "'longest'", "floor_crop: 1", "sice: unknown key"):
        assert part in told, part
    with pytest.raises(InputError, match="not a table"):
        Preprocess.from_dict(3, "here")
    with pytest.raises(InputError, match="a size of 16 before the crop to 32"):
        Preprocess.from_dict({"image_size": 32, "resize_size": 16}, "here")


def test_what_timm_s_settings_ask_for_in_vain_is_named() -> None:
    with pytest.raises(InputError) as caught:
        preprocess_of_timm({"crop_pct": 2, "crop_mode": "border", "interpolation": "random"}, 32, "here")
    assert [p.where for p in caught.value.problems] == ["here: crop_pct", "here: crop_mode", "here"]
    assert preprocess_of_timm({"mean": CLIP_MEAN}, 32, "here").mean == CLIP_MEAN


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"do_resize": False}, "do_resize"),
        ({"rescale_factor": 1.0}, "rescale_factor"),
        ({"size": {"longest_edge": 32}}, "longest_edge"),
        ({"size": {"shortest_edge": 32}}, "images are not square"),
        ({"size": {"height": 48, "width": 48}}, "images of 48 pixels"),
        ({"size": 32, "resample": 9}, "interpolation 9 is not supported"),
        ({"size": 32, "image_mean": 0.5}, "image_mean"),
    ],
)
def test_what_a_processor_asks_for_in_vain_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        preprocess_of_huggingface({"image_processor_type": "ViTImageProcessor", **settings}, 32, "here")


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_every_interpolation_keeps_a_plain_colour(name: str) -> None:
    plain = Image.new("RGB", (40, 25), (10, 200, 90))
    result = Preprocess(16, mean=(0, 0, 0), std=(1, 1, 1), interpolation=name, resize_size=20)(plain)
    torch.testing.assert_close(result[:, 3, 5], torch.tensor([10, 200, 90]) / 255)
    assert bool((result == result[:, :1, :1]).all())
