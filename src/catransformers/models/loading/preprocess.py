"""From an image file to a model's input: resize, crop, normalise, with Pillow and numpy alone.

The same steps as the evaluation transforms of open_clip, timm and transformers' image processors, in their rounding,
but for two things. Images are converted to RGB first, not last, because Pillow resizes palettes and masks without
interpolation. And the tensor backend of transformers 5 resizes in another order than Pillow, with which its Pillow
backend agrees: stretched noise differs by up to a level of 255 in the mean.

Sources: Radford et al. 2021 (arXiv 2103.00020), with mean and standard deviation of its training images as published
with the weights (github.com/openai/CLIP, MIT licence); ImageNet's as torchvision's documentation gives them; the
defaults of transformers' `CLIPImageProcessor`, `ViTImageProcessor` and `DeiTImageProcessor` and of timm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import floor
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from catransformers.errors import InputError, Problem, nearest

Rgb = tuple[float, float, float]

CLIP_MEAN: Final[Rgb] = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Final[Rgb] = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Final[Rgb] = (0.485, 0.456, 0.406)
IMAGENET_STD: Final[Rgb] = (0.229, 0.224, 0.225)
HALF: Final[Rgb] = (0.5, 0.5, 0.5)

#: What an interpolation is called, and Pillow's word for it; its number there is what transformers writes down.
INTERPOLATIONS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
RESIZE_MODES: Final = ("shortest", "squash")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a base model wants its images.

    Args:
        image_size: height and width of the input in pixels.
        mean: per colour, of values in 0 … 1; subtracted.
        std: per colour; divided by.
        interpolation: one of `INTERPOLATIONS`.
        resize_mode: `shortest` (shortest side to size, then the centre) or `squash` (both sides to size).
        resize_size: the size that this means, from `image_size`, which None stands for; the centre is cut out of it.
        floor_crop: whether half a pixel beside the centre is rounded down (transformers), not to even (torchvision).
    """

    image_size: int
    mean: Rgb = CLIP_MEAN
    std: Rgb = CLIP_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    resize_size: int | None = None
    floor_crop: bool = False

    def __call__(self, image: Image.Image) -> Tensor:
        """An image as (3, image_size, image_size) float32, normalised."""
        size, resized = self.image_size, self.resize_size or self.image_size
        image = image.convert("RGB")
        width, height = image.size
        if self.resize_mode == "squash":
            target = (resized, resized)
        else:
            short, long = min(width, height), max(width, height)
            other = int(resized * long / short)
            target = (resized, other) if width <= height else (other, resized)
        if target != image.size:
            image = image.resize(target, INTERPOLATIONS[self.interpolation])
        half = floor if self.floor_crop else round
        left, top = half((target[0] - size) / 2), half((target[1] - size) / 2)
        pixels = np.array(image.crop((left, top, left + size, top + size)), dtype=np.float32) / 255
        normal = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(normal).permute(2, 0, 1).contiguous()

    def to_dict(self) -> dict[str, object]:
        """Plain data that `from_dict` reads back."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, data: object, where: str) -> Preprocess:
        """The inverse of `to_dict`; what has a default may be left out.

        Raises:
            InputError: for every key that is missing, unknown or impossible.
        """
        if not isinstance(data, Mapping):
            raise InputError(Problem(where, f"{data!r} is not a table"))
        known = [field.name for field in fields(cls)]
        problems = [
            Problem(f"{where}.{key}", "unknown key", ", ".join(known), nearest(str(key), known))
            for key in data
            if key not in known
        ]
        if "image_size" not in data:
            problems.append(Problem(f"{where}.image_size", "missing"))
        values = {key: value for key, value in data.items() if key in known}
        for name in ("mean", "std"):
            if name in values:
                values[name] = _rgb(values[name], f"{where}.{name}", problems)
        floor_crop = values.get("floor_crop", False)
        if type(floor_crop) is not bool:
            problems.append(Problem(f"{where}.floor_crop", f"{floor_crop!r} is neither true nor false"))
        return _checked(values, where, problems)


def _checked(values: Mapping[str, Any], where: str, problems: list[Problem]) -> Preprocess:
    """A `Preprocess` of these values, if there are no problems so far, and none with them."""
    for name, known in (("interpolation", tuple(INTERPOLATIONS)), ("resize_mode", RESIZE_MODES)):
        if name in values and values[name] not in known:
            what = f"{name.replace('_', ' ')} {values[name]!r} is not supported"
            problems.append(Problem(where, what, ", ".join(known)))
    size, resized = values.get("image_size", 1), values.get("resize_size")
    if type(size) is not int or size < 1:
        problems.append(Problem(where, f"an image size of {size!r}", "integers from 1"))
    elif resized is not None and (type(resized) is not int or resized < size):
        problems.append(Problem(where, f"a size of {resized!r} before the crop to {size}", f"integers from {size}"))
    if problems:
        raise InputError(problems)
    return Preprocess(**values)


def _rgb(value: object, where: str, problems: list[Problem]) -> Rgb:
    """A value per colour."""
    if isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(v, int | float) for v in value):
        red, green, blue = (float(v) for v in value)
        return red, green, blue
    problems.append(Problem(where, f"{value!r} is not three numbers"))
    return HALF


def preprocess_from(image_size: int, settings: Mapping[str, object], where: str) -> Preprocess:
    """The preprocessing that open_clip's settings of a checkpoint describe (`mean`, `std`, `interpolation`, …).

    Raises:
        InputError: for an interpolation or a resize mode that is not supported; all at once.
    """
    problems: list[Problem] = []
    values: dict[str, object] = {"image_size": image_size}
    values |= {key: settings[key] for key in ("interpolation", "resize_mode") if settings.get(key)}
    for key in ("mean", "std"):
        if settings.get(key):
            values[key] = _rgb(settings[key], f"{where}: {key}", problems)
    return _checked(values, where, problems)


def preprocess_of_timm(settings: Mapping[str, Any], image_size: int, where: str) -> Preprocess:
    """The evaluation transform that timm makes of a model's `pretrained_cfg`.

    Args:
        settings: `mean`, `std`, `interpolation`, `crop_pct`, `crop_mode`; timm's defaults for what is missing.
        image_size: of the model, in pixels.
        where: whose mistake it is if something is not supported.

    Raises:
        InputError: for what is not supported, `crop_mode = "border"` above all.
    """
    problems: list[Problem] = []
    share, mode = settings.get("crop_pct") or 0.875, settings.get("crop_mode") or "center"
    if not isinstance(share, int | float) or not 0 < share <= 1:
        problems.append(Problem(f"{where}: crop_pct", f"{share!r} is out of range", "0 to 1"))
        share = 1
    modes = {"center": "shortest", "squash": "squash"}
    if mode not in modes:
        problems.append(Problem(f"{where}: crop_mode", f"{mode!r} is not supported", ", ".join(modes)))
    values = {
        "image_size": image_size,
        "mean": _rgb(settings.get("mean") or IMAGENET_MEAN, f"{where}: mean", problems),
        "std": _rgb(settings.get("std") or IMAGENET_STD, f"{where}: std", problems),
        "interpolation": settings.get("interpolation") or "bicubic",
        "resize_mode": modes.get(mode, "shortest"),
        "resize_size": floor(image_size / share),
    }
    return _checked(values, where, problems)


#: What transformers' image processors do where a configuration does not say, by a word in their name.
_PROCESSORS: Final[Mapping[str, Mapping[str, Any]]] = {
    "clip": {
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "resample": 3,
        "size": {"shortest_edge": 224},
        "do_center_crop": True,
        "crop_size": 224,
    },
    "deit": {
        "image_mean": HALF,
        "image_std": HALF,
        "resample": 3,
        "size": 256,
        "do_center_crop": True,
        "crop_size": 224,
    },
    "vit": {"image_mean": HALF, "image_std": HALF, "resample": 2, "size": 224, "do_center_crop": False},
}


def preprocess_of_huggingface(
    config: Mapping[str, Any], image_size: int, where: str, family: str = "vit"
) -> Preprocess:
    """What transformers' image processor does, by its `preprocessor_config.json`.

    Args:
        config: the content of that file.
        image_size: of the model, in pixels.
        where: whose mistake it is if something is not supported.
        family: whose defaults count if the file does not name a processor of CLIP, ViT or DeiT: `clip` or `vit`.

    Raises:
        InputError: for everything in it that is not supported; all at once.
    """
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "").casefold()
    kind = next((name for name in _PROCESSORS if name in kind), family)
    settings = {**_PROCESSORS[kind], **{key: value for key, value in config.items() if value is not None}}
    problems = [
        Problem(f"{where}: {key}", f"{settings[key]!r} is not supported", str(value))
        for key, value in (("do_resize", True), ("do_rescale", True), ("rescale_offset", False))
        if settings.get(key, value) != value
    ]
    factor = settings.get("rescale_factor", 1 / 255)
    if not isinstance(factor, int | float) or abs(factor * 255 - 1) > 1e-6:
        problems.append(Problem(f"{where}: rescale_factor", f"{factor!r} is not supported", "1/255"))
    mode, resized = _edges(settings["size"], kind == "clip", f"{where}: size", problems)
    if settings["do_center_crop"]:
        cut = _edges(settings.get("crop_size", image_size), False, f"{where}: crop_size", problems)[1]
    else:
        cut = resized
        if mode == "shortest":
            problems.append(Problem(f"{where}: do_center_crop", "without it images are not square", "true"))
    if not problems and cut != image_size:
        problems.append(Problem(where, f"it makes images of {cut} pixels", f"{image_size}, which the model reads"))
    resample = settings["resample"]
    by_number = {int(value): name for name, value in INTERPOLATIONS.items()}
    normalised = settings.get("do_normalize", True)
    values = {
        "image_size": image_size,
        "mean": _rgb(settings["image_mean"], f"{where}: image_mean", problems) if normalised else (0.0, 0.0, 0.0),
        "std": _rgb(settings["image_std"], f"{where}: image_std", problems) if normalised else (1.0, 1.0, 1.0),
        "interpolation": by_number.get(resample, resample) if isinstance(resample, int) else resample,
        "resize_mode": mode,
        "resize_size": None if problems else resized,
        "floor_crop": True,
    }
    return _checked(values, where, problems)


def preprocess_to_timm(preprocess: Preprocess) -> dict[str, object]:
    """What `preprocess_of_timm` reads back: settings for timm's `pretrained_cfg`."""
    size, resized = preprocess.image_size, preprocess.resize_size or preprocess.image_size
    share = size / resized
    if floor(size / share) != resized:  # timm rounds down, and the division may have done so before
        share = size / (resized + 0.5)
    return {
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.interpolation,
        "crop_pct": share,
        "crop_mode": {"shortest": "center", "squash": "squash"}[preprocess.resize_mode],
    }


def preprocess_to_huggingface(preprocess: Preprocess) -> dict[str, object]:
    """What `preprocess_of_huggingface` reads back: the content of a `preprocessor_config.json`, without its type."""
    size, resized = preprocess.image_size, preprocess.resize_size or preprocess.image_size
    shortest = preprocess.resize_mode == "shortest"
    return {
        "do_resize": True,
        "size": {"shortest_edge": resized} if shortest else {"height": resized, "width": resized},
        "resample": int(INTERPOLATIONS[preprocess.interpolation]),
        "do_center_crop": shortest or resized != size,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }


def _edges(size: object, shortest: bool, where: str, problems: list[Problem]) -> tuple[str, int]:
    """The mode and the length that a size of transformers stands for; a lone number is the shortest edge's if said."""
    if isinstance(size, Mapping):
        sides = {key: value for key, value in size.items() if value is not None}
        height = sides.get("height")
        if set(sides) == {"shortest_edge"} and type(sides["shortest_edge"]) is int:
            return "shortest", sides["shortest_edge"]
        if set(sides) == {"height", "width"} and type(height) is int and height == sides["width"]:
            return "squash", height
    elif type(size) is int:
        return "shortest" if shortest else "squash", size
    problems.append(Problem(where, f"{size!r} is not supported", "shortest_edge, or an equal height and width"))
    return "squash", 1
