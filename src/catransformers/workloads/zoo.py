"""Named model specs: the embedded model, and CLIP, ViT, BERT and Llama models by their published dimensions.

Sources, all of them architecture facts:

- CLIP: open_clip's model configurations (`ViT-B-16` … `ViT-H-14`); TinyCLIP (Wu et al., ICCV 2023, table 1 and names).
- ViT: Dosovitskiy et al., ICLR 2021 (arXiv 2010.11929), table 1, for base and large; Touvron et al., *DeiT*, ICML 2021
  (arXiv 2012.12877), table 1, for tiny and small. 1000 classes of ImageNet.
- BERT: Devlin et al., NAACL 2019 (arXiv 1810.04805), section 3, with its vocabulary of 30,522 word pieces and two
  classes; DistilBERT (Sanh et al., 2019, arXiv 1910.01108), whose `pre_classifier` counts as its pooler; MiniLM (Wang
  et al., NeurIPS 2020, arXiv 2002.10957) in 6 layers, as an encoder without classifier.
- Llama: Touvron et al., 2023 (arXiv 2307.09288), with the dimensions of arXiv 2302.13971, table 2; Grattafiori et al.,
  2024 (arXiv 2407.21783), table 3, and Meta's model cards of Llama 3.2; TinyLlama (Zhang et al., 2024, arXiv
  2401.02385), table 1; their rotary embeddings (theta, scaling) and norms' epsilon from the configurations that are
  published with the weights.

The embedded model is this project's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from catransformers.errors import InputError, unknown_name
from catransformers.workloads.families import spec_from_dict
from catransformers.workloads.llama import RopeScaling
from catransformers.workloads.operators import Workload
from catransformers.workloads.spec import (
    BertSpec,
    ClipSpec,
    EncoderSpec,
    LlamaSpec,
    ModelSpec,
    TextSpec,
    VisionSpec,
    VitSpec,
)
from catransformers.workloads.traced import TracedSpec

CLIP_CONTEXT = 77
CLIP_VOCABULARY = 49408
BERT_VOCABULARY = 30522

#: Usage that the named models start from; `with_dimensions` sets others.
BERT_TOKENS = 128
PROMPT_TOKENS, NEW_TOKENS = 512, 128


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


def _vit(layers: int, width: int, heads: int, patch: int = 16, image: int = 224) -> VitSpec:
    """FFN = 4 × width, 1000 classes, class token."""
    tokens = (image // patch) ** 2 + 1
    return VitSpec(VisionSpec(layers, 4 * width, width, heads, width // heads, tokens, image, patch), 1000)


def _bert(layers: int, width: int, heads: int, *, token_types: int = 2, classes: int = 2) -> BertSpec:
    """FFN = 4 × width, 512 positions; without token types it is a DistilBERT, of which the pooler ends in a ReLU."""
    encoder = EncoderSpec(layers, 4 * width, width, heads, width // heads, BERT_TOKENS)
    return BertSpec(
        encoder,
        BERT_VOCABULARY,
        token_types=token_types,
        classes=classes,
        pooler_activation="tanh" if token_types else "relu",
    )


def _llama(
    layers: int,
    width: int,
    ffn: int,
    heads: tuple[int, int],
    *,
    vocabulary: int,
    max_tokens: int,
    tied: bool = False,
    stretch: float | None = None,
) -> LlamaSpec:
    """heads = (query heads, key and value heads), each of width ÷ query heads.

    `stretch` is Llama 3's: rotary embeddings of base 500,000 for 8,192 tokens, stretched by this factor; None is Llama
    2's, of base 10,000.
    """
    return LlamaSpec(
        layers,
        ffn,
        width,
        *heads,
        head_dim=width // heads[0],
        vocab_size=vocabulary,
        tied_embeddings=tied,
        max_tokens=max_tokens,
        prompt_tokens=PROMPT_TOKENS,
        new_tokens=NEW_TOKENS,
        norm_eps=1e-5,
        rope_theta=10_000.0 if stretch is None else 500_000.0,
        rope_scaling=None if stretch is None else RopeScaling(stretch, 1.0, 4.0, 8192),
    )


#: CLIP models, the family that is pruned and trained.
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

#: All named models but the embedded one.
MODELS: dict[str, ModelSpec] = {
    **ZOO,
    "vit-tiny-patch16-224": _vit(12, 192, 3),
    "vit-small-patch16-224": _vit(12, 384, 6),
    "vit-base-patch16-224": _vit(12, 768, 12),
    "vit-large-patch16-224": _vit(24, 1024, 16),
    "bert-base": _bert(12, 768, 12),
    "bert-large": _bert(24, 1024, 16),
    "distilbert-base": _bert(6, 768, 12, token_types=0),
    "MiniLM-L6-H384": _bert(6, 384, 12, classes=0),
    "Llama-2-7B": _llama(32, 4096, 11008, (32, 32), vocabulary=32000, max_tokens=4096),
    "Llama-3.1-8B": _llama(32, 4096, 14336, (32, 8), vocabulary=128256, max_tokens=131072, stretch=8.0),
    "Llama-3.2-1B": _llama(16, 2048, 8192, (32, 8), vocabulary=128256, max_tokens=131072, tied=True, stretch=32.0),
    "Llama-3.2-3B": _llama(28, 3072, 8192, (24, 8), vocabulary=128256, max_tokens=131072, tied=True, stretch=32.0),
    "TinyLlama-1.1B": _llama(22, 2048, 5632, (32, 4), vocabulary=32000, max_tokens=2048),
}

#: Names by which other libraries know these models; case, underscores and an owner's name before a slash do not matter.
_ALIASES = {
    "bert-base-uncased": "bert-base",
    "bert-large-uncased": "bert-large",
    "distilbert-base-uncased": "distilbert-base",
    "all-MiniLM-L6-v2": "MiniLM-L6-H384",
    "MiniLM-L6-H384-uncased": "MiniLM-L6-H384",
    "Llama-2-7b-hf": "Llama-2-7B",
    "TinyLlama-1.1B-Chat-v1.0": "TinyLlama-1.1B",
}

MODEL_NAMES = ("embedded", *MODELS)


@cache
def embedded_spec() -> ClipSpec:
    """The spec of the model that ships with the package (`data/embedded/model.json`)."""
    text = files("catransformers.data").joinpath("embedded/model.json").read_text(encoding="utf-8")
    return ClipSpec.from_dict(json.loads(text)["spec"])


def named_spec(name: str) -> ModelSpec:
    """The spec of a named model.

    Case does not matter, underscores count as dashes, `ViT-B/16` is `ViT-B-16`, and other libraries' names for the same
    models (`google/vit-base-patch16-224`, `bert-base-uncased`) are known.

    Raises:
        InputError: for an unknown name; the nearest one is offered.
    """
    names = {_plain(known): known for known in MODEL_NAMES} | {_plain(alias): to for alias, to in _ALIASES.items()}
    known = names.get(_plain(name)) or names.get(_plain(name.rpartition("/")[2]))
    if known is None:
        raise InputError(unknown_name("model", "model", name, MODEL_NAMES))
    return embedded_spec() if known == "embedded" else MODELS[known]


def read_model(model: str | ModelSpec | Workload | Mapping[str, Any]) -> ModelSpec:
    """The spec that somebody means.

    Args:
        model: a spec, its plain form, a name, or a traced workload.

    Raises:
        InputError: for an unknown name, and for what is wrong with a plain form.
    """
    if isinstance(model, str):
        return named_spec(model)
    if isinstance(model, Workload):
        return TracedSpec(model)
    return spec_from_dict(model) if isinstance(model, Mapping) else model


def _plain(name: str) -> str:
    return name.replace("/", "-").replace("_", "-").casefold()
