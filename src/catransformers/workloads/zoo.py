"""Named model specs: the embedded model, open_clip's CLIP models and TinyCLIP's, by their published dimensions.

Sources: open_clip's model configurations (`ViT-B-16` … `ViT-H-14`); TinyCLIP (Wu et al., ICCV 2023, table 1 and model
names) for the others; both are architecture facts. The embedded model is this project's own.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from catransformers.errors import InputError, unknown_name
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

CLIP_CONTEXT = 77
CLIP_VOCABULARY = 49408


def _clip(
    vision: tuple[int, int, int, int],
    text: tuple[int, int, int],
    projection: int,
    *,
    head_dim: int = 64,
) -> ClipSpec:
    """vision = (layers, width, patch, image size), text = (layers, width, heads); FFN = 4 × width."""
    layers, width, patch, image = vision
    text_layers, text_width, text_heads = text
    return ClipSpec(
        VisionSpec(layers, 4 * width, width, width // head_dim, head_dim, (image // patch) ** 2 + 1, image, patch),
        TextSpec(
            text_layers,
            4 * text_width,
            text_width,
            text_heads,
            text_width // text_heads,
            CLIP_CONTEXT,
            CLIP_VOCABULARY,
        ),
        projection,
    )


ZOO: dict[str, ClipSpec] = {
    "ViT-B-16": _clip((12, 768, 16, 224), (12, 512, 8), 512),
    "ViT-B-32": _clip((12, 768, 32, 224), (12, 512, 8), 512),
    "ViT-L-14": _clip((24, 1024, 14, 224), (12, 768, 12), 768),
    "ViT-H-14": _clip((32, 1280, 14, 224), (24, 1024, 16), 1024, head_dim=80),
    "TinyCLIP-8M-16": _clip((10, 256, 16, 224), (3, 256, 4), 512),
    "TinyCLIP-39M-16": _clip((12, 512, 16, 224), (6, 512, 8), 512),
    "TinyCLIP-40M-32": _clip((12, 512, 32, 224), (6, 512, 8), 512),
    "TinyCLIP-61M-32": _clip((12, 640, 32, 224), (9, 512, 8), 512),
}

MODEL_NAMES = ("embedded", *ZOO)


@cache
def embedded_spec() -> ClipSpec:
    """The spec of the model that ships with the package (`data/embedded/model.json`)."""
    text = files("catransformers.data").joinpath("embedded/model.json").read_text(encoding="utf-8")
    return ClipSpec.from_dict(json.loads(text)["spec"])


def named_spec(name: str) -> ClipSpec:
    """The spec of a named model. Case does not matter, slashes count as dashes (`ViT-B/16`).

    Raises:
        InputError: for an unknown name; the nearest one is offered.
    """
    known = {n.casefold(): n for n in MODEL_NAMES}.get(name.replace("/", "-").casefold())
    if known is None:
        raise InputError(unknown_name("model", "model", name, MODEL_NAMES))
    return embedded_spec() if known == "embedded" else ZOO[known]
