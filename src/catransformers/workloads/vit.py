"""A vision transformer that classifies images: its spec and its closed form.

Pre-norm blocks as in `blocks`; around them the patch embedding (a product), class token and positions, the last norm of
the one pooled row that the classifier needs (or of all patches where it goes before their mean), and the classifier.

Source: Dosovitskiy et al., *An Image is Worth 16×16 Words*, ICLR 2021 (arXiv 2010.11929).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from catransformers.errors import Problem, Problems
from catransformers.reading import Number, Rule, Table
from catransformers.workloads.blocks import (
    layer_norm,
    layer_parameters,
    layer_workload,
    linear,
    stored_values,
    with_parameters,
)
from catransformers.workloads.dimensions import (
    COUNT,
    FLAG,
    Encoder,
    OneEncoderSpec,
    VisionSpec,
    read_spec,
    words,
)
from catransformers.workloads.family import Family
from catransformers.workloads.operators import Operator, VectorOp, Workload, WorkloadPart

COMPONENT = "vision"

Pooling = Literal["class", "mean", "normed_mean"]
VitActivation = Literal["gelu", "gelu_tanh", "quick_gelu"]


@dataclass(frozen=True, slots=True)
class VitSpec(OneEncoderSpec):
    """A vision transformer with a linear classifier.

    Args:
        encoder: the encoder; its `tokens` are (image_size ÷ patch_size)² patches and the class token, if there is one.
        classes: outputs of the classifier; 0 for none (the pooled features are the result).
        class_token: whether a learnt token goes before the patches.
        pooling: what the classifier sees: the class token or the mean of the patches, then normalised; or
            `normed_mean`, the mean of the normalised patches (SigLIP's encoders without attention pooling).
        norm_eps: what LayerNorm adds to the variance. It changes no count, no more than the activation does.
        activation: of the FFN: GELU, its approximation by tanh, or x·σ(1.702x).
    """

    encoder: VisionSpec
    classes: int
    class_token: bool = True
    pooling: Pooling = "class"
    norm_eps: float = 1e-6
    activation: VitActivation = "gelu"

    family = "vit"

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return self.encoder.tokens - self.class_token

    def problems(self, where: str = "") -> Problems:
        """What in it disagrees, told by names with `where` before them."""
        problems, encoder = Problems(), self.encoder
        tokens = (encoder.image_size // encoder.patch_size) ** 2 + self.class_token
        if encoder.tokens != tokens:
            what = f"{encoder.tokens} do not fit image and patches"
            problems.append(Problem(f"{where}encoder.tokens", what, str(tokens)))
        if self.pooling == "class" and not self.class_token:
            problems.append(Problem(f"{where}pooling", "there is no class token to take", "mean, normed_mean"))
        return problems

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> VitSpec:
        """The inverse of `to_dict`; `norm_eps` and `activation` may be missing, as older versions wrote it.

        Raises:
            InputError: for every missing, unknown or impossible key, and if image, patches and tokens disagree.
        """
        rules: dict[str, Rule | Table] = {
            "encoder": Encoder(VisionSpec),
            "classes": COUNT,
            "class_token": FLAG,
            "pooling": words(*get_args(Pooling)),
            "norm_eps": Number(0, above=True, allowed="numbers above 0", kind="is out of range"),
            "activation": words(*get_args(VitActivation)),
        }
        spec = cls(**read_spec(data, cls.family, rules, norm_eps=1e-6, activation="gelu"))
        spec.problems("model spec: ").finish()
        return spec


def parameters(spec: VitSpec) -> int:
    """Parameters of the whole model (ViT-B/16 of 224 × 224 with 1000 classes: 86,567,656)."""
    e = spec.encoder
    d = e.embed_dim
    embeddings = (3 * e.patch_size**2 + 1) * d + (e.tokens + spec.class_token) * d
    return e.layers * layer_parameters(e) + embeddings + 2 * d + (d + 1) * spec.classes


def stem_workload(spec: VitSpec) -> Workload:
    """What a vision transformer does once: embed the patches, pool, normalise, classify."""
    e, patches = spec.encoder, spec.patches
    s, d, pixels = e.tokens, e.embed_dim, 3 * e.patch_size**2
    operators: list[Operator] = [
        linear("patch_embed", COMPONENT, patches, pixels, d, bias=True),
        with_parameters("positions", COMPONENT, "add", s, d, (s + spec.class_token) * d),  # and the class token
    ]
    pool = [VectorOp("pool", COMPONENT, "add", patches, d)]
    if spec.pooling == "normed_mean":
        operators += [layer_norm("ln_out", COMPONENT, patches, d), *pool]
    else:
        operators += [*(pool if spec.pooling == "mean" else []), layer_norm("ln_out", COMPONENT, 1, d)]
    if spec.classes:
        operators.append(linear("classifier", COMPONENT, 1, d, spec.classes, bias=True))
    alive = max(patches * (pixels + d), 2 * s * d, d + spec.classes)
    return Workload("vision stem", tuple(operators), stored_values(operators), alive)


def parts(spec: VitSpec) -> list[WorkloadPart]:
    """The one part of a vision transformer: its layers and its stem."""
    return [WorkloadPart(COMPONENT, spec.encoder.layers, layer_workload(spec.encoder, COMPONENT), stem_workload(spec))]


FAMILY = Family(
    VitSpec.from_dict,
    parts,
    parameters,
    net="catransformers.models.families.vit:Vit",
    formats="catransformers.models.formats.vit",
    model_types=("vit", "deit"),
    exports=("huggingface", "timm", "onnx"),
    vision=lambda spec: spec.encoder,
    with_classes=lambda spec, classes: replace(spec, classes=classes),
)
