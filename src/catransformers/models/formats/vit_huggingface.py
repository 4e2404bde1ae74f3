"""Hugging Face state dicts and configurations of vision transformers, both ways, with class names.

The architecture is read off `config.json` (transformers is not needed): `ViTForImageClassification`, or `ViTModel`,
whose last hidden state of the class token is our `features`. Names of tensors as the checkpoints have them and as
transformers 5 has them in memory are both understood; queries, keys and values become one matrix.

Left out, by name and nothing else: the mask token of masked pretraining, which no forward pass without a mask reads;
and `ViTModel`'s pooler (a dense layer and tanh after the features), only where there is no classifier. A pooler beside
a classifier, or any other tensor, stays and is then refused as unexpected.

Source: transformers (Wolf et al., arXiv 1910.03771), Apache-2.0: published configurations, names and shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from catransformers.errors import InputError, Problem, Problems
from catransformers.models.families.vit import Vit
from catransformers.workloads.dimensions import VisionSpec
from catransformers.workloads.vit import VitActivation, VitSpec

_ACTIVATIONS: Final[Mapping[str, VitActivation]] = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
_CLASSIFIER: Final = "ViTForImageClassification"
_FEATURES: Final = "ViTModel"
#: Sizes of the encoder, with the defaults of `ViTConfig`, which a configuration may leave out.
_SIZES: Final[Mapping[str, int]] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
}
_EPS: Final = 1e-12
#: Classes where a configuration has neither `num_labels` nor `id2label`.
_LABELS: Final = 2

_PREFIX: Final = "vit."
_STEM: Final[Mapping[str, str]] = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
_HEAD: Final[Mapping[str, str]] = {"head.weight": "classifier.weight", "head.bias": "classifier.bias"}
#: Modules of a block: in checkpoints, and in the memory of transformers 5.
_BLOCK: Final[Mapping[str, tuple[str, str]]] = {
    "norm1": ("layernorm_before", "layernorm_before"),
    "norm2": ("layernorm_after", "layernorm_after"),
    "attn.proj": ("attention.output.dense", "attention.o_proj"),
    "mlp.fc1": ("intermediate.dense", "mlp.fc1"),
    "mlp.fc2": ("output.dense", "mlp.fc2"),
}
_QKV: Final = (
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
)
_STEM_NAMES: Final = {theirs: ours for ours, theirs in {**_STEM, **_HEAD}.items()}
_IN_BLOCK: Final = re.compile(r"(?:encoder\.layer|layers)\.(\d+)\.(.+)\.(weight|bias)")


def spec_from_huggingface(config: Mapping[str, Any], where: str) -> VitSpec:
    """The spec of a ViT by its `config.json`.

    Raises:
        InputError: if it is anything else than a plain ViT, or its sizes make none; all of it is named.
    """
    problems, classes = _kind_problems(config, where)
    sizes = {}
    for key, default in _SIZES.items():
        value = config.get(key, default)
        if (
            key in ("image_size", "patch_size")
            and isinstance(value, list | tuple)
            and len(value) == 2
            and value[0] == value[1]
        ):
            value = value[0]
        if type(value) is not int or value < 1:
            problems.append(Problem(f"{where}: {key}", f"{value!r} is not a size", "integers from 1"))
        sizes[key] = value
    activation, eps = config.get("hidden_act", "gelu"), config.get("layer_norm_eps", _EPS)
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        problems.append(Problem(f"{where}: hidden_act", f"{activation!r} is not supported", ", ".join(_ACTIVATIONS)))
    if type(eps) not in (int, float) or not eps > 0:
        problems.append(Problem(f"{where}: layer_norm_eps", f"{eps!r} is out of range", "numbers above 0"))
    for key, needed in (("qkv_bias", True), ("num_channels", 3)):
        if config.get(key, needed) != needed:
            problems.append(Problem(f"{where}: {key}", f"{config[key]!r} cannot be expressed here", str(needed)))
    if problems:
        raise InputError(problems)
    width, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    head_dim = config.get("head_dim", width // heads)
    if type(head_dim) is not int or head_dim < 1 or ("head_dim" not in config and width % heads):
        raise InputError(Problem(f"{where}: num_attention_heads", f"{heads} heads do not divide the width {width}"))
    image, patch = sizes["image_size"], sizes["patch_size"]
    if patch > image:
        raise InputError(Problem(f"{where}: patch_size", f"{patch} is more than the image's {image}"))
    tokens = (image // patch) ** 2 + 1
    encoder = VisionSpec(
        sizes["num_hidden_layers"], sizes["intermediate_size"], width, heads, head_dim, tokens, image, patch
    )
    return VitSpec(encoder, classes, norm_eps=float(eps), activation=_ACTIVATIONS[activation])


def _kind_problems(config: Mapping[str, Any], where: str) -> tuple[list[Problem], int]:
    """What speaks against the kind of model that a configuration names; and its classes, 0 without a classifier."""
    problems, kind = [], config.get("model_type")
    if kind == "deit":
        what = "DeiT with its distillation token cannot be expressed here"
        problems.append(Problem(f"{where}: model_type", what, "vit", "DeiT without that token is published as ViT"))
    elif kind != "vit":
        problems.append(Problem(f"{where}: model_type", f"{kind!r} is not a plain vision transformer", "vit"))
    labels = config.get("id2label")
    count = config.get("num_labels", len(labels) if isinstance(labels, Mapping) else None)
    architectures = config.get("architectures") or [_CLASSIFIER if count is not None else None]
    if kind != "deit" and architectures[0] not in (_CLASSIFIER, _FEATURES):
        what = f"{architectures[0]!r} is not supported" if architectures[0] else "missing, and no labels either"
        problems.append(Problem(f"{where}: architectures", what, f"{_CLASSIFIER}, {_FEATURES}"))
    if type(count) not in (int, type(None)):
        problems.append(Problem(f"{where}: num_labels", f"{count!r} is not a number of classes"))
    classes = _LABELS if count is None else count
    return problems, 0 if architectures[0] == _FEATURES else classes


def tensors_from_huggingface(
    spec: VitSpec, config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """Hugging Face's tensors by our names; what is unknown keeps its name, what is left out the module says.

    Args:
        spec: what `spec_from_huggingface` made of the configuration.
        config: the configuration (all that matters of it is in the spec).
        tensors: by their names, with or without `vit.` in front.
        where: what to call them in a message.

    Raises:
        InputError: if two tensors have the same meaning.
    """
    ours: dict[str, Tensor] = {}
    parts: dict[str, dict[int, tuple[str, Tensor]]] = {}
    for full, tensor in tensors.items():
        name = full.removeprefix(_PREFIX)
        if name == "embeddings.mask_token" or (name.startswith("pooler.dense.") and not spec.classes):
            continue
        target, part = _our_name(name)
        target = target or full
        if target in ours or part in parts.get(target, {}):
            raise InputError(Problem(where, f"{full} means the same as another tensor"))
        if part is None:
            ours[target] = tensor
        else:
            parts.setdefault(target, {})[part] = (full, tensor)
    for target, found in parts.items():
        if len(found) == len(_QKV):
            ours[target] = torch.cat([found[index][1] for index in range(len(_QKV))])
        else:  # under their own names, so that they and what is missing are told
            ours |= dict(found.values())
    return ours


def _our_name(name: str) -> tuple[str | None, int | None]:
    """Our name of a tensor, None if there is none; and which third of it (Q, K, V) it is, None for all."""
    if name in _STEM_NAMES:
        return _STEM_NAMES[name], None
    match = _IN_BLOCK.fullmatch(name)
    if match is None:
        return None, None
    number, module, kind = match.groups()
    for part, theirs in enumerate(_QKV):
        if module in theirs:
            return f"blocks.{number}.attn.qkv.{kind}", part
    found = next((ours for ours, theirs in _BLOCK.items() if module in theirs), None)
    return found and f"blocks.{number}.{found}.{kind}", None


def to_huggingface(net: Vit, class_names: Sequence[str] | None = None) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A net as Hugging Face's: the `config.json`, and the tensors by the names of published checkpoints.

    Heads that do not fill the width are written as `head_dim`, which the ViT of transformers 5 reads; classes that do
    not know it refuse the tensors' shapes. Without a classifier the tensors are those of
    `ViTModel(config, add_pooling_layer=False)`.

    Raises:
        InputError: if the classes cannot express it: a mean instead of the class token, or another number of names.
    """
    spec, e = net.spec, net.spec.encoder
    problems = Problems()
    if spec.pooling != "class":
        what = f"{spec.pooling!r}: Hugging Face's ViT classifies the class token"
        problems.append(Problem("pooling", what, "class", "save it for timm"))
    if class_names is not None and len(class_names) != spec.classes:
        problems.append(Problem("class_names", f"{len(class_names)} names for {spec.classes} classes"))
    problems.finish()
    activation = next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == spec.activation)
    config: dict[str, object] = {
        "architectures": [_CLASSIFIER if spec.classes else _FEATURES],
        "model_type": "vit",
        "hidden_size": e.embed_dim,
        "num_hidden_layers": e.layers,
        "num_attention_heads": e.heads,
        "intermediate_size": e.ffn_dim,
        "hidden_act": activation,
        "layer_norm_eps": spec.norm_eps,
        "image_size": e.image_size,
        "patch_size": e.patch_size,
        "num_channels": 3,
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    if e.heads * e.head_dim != e.embed_dim:
        config["head_dim"] = e.head_dim
    if spec.classes:
        names = class_names or [f"LABEL_{number}" for number in range(spec.classes)]
        config["id2label"] = {str(number): name for number, name in enumerate(names)}
        config["label2id"] = {name: number for number, name in enumerate(names)}
    return config, _huggingface_tensors(net)


def _huggingface_tensors(net: Vit) -> dict[str, Tensor]:
    """A net's tensors by the names of checkpoints."""
    prefix = _PREFIX if net.spec.classes else ""
    tensors = {}
    for name, tensor in net.state_dict().items():
        if name in _HEAD:
            tensors[_HEAD[name]] = tensor
        elif name in _STEM:
            tensors[prefix + _STEM[name]] = tensor
        else:
            _, number, rest = name.split(".", 2)
            module, _, kind = rest.rpartition(".")
            block = f"{prefix}encoder.layer.{number}."
            if module == "attn.qkv":
                for (theirs, _), part in zip(_QKV, tensor.chunk(len(_QKV)), strict=True):
                    tensors[f"{block}{theirs}.{kind}"] = part
            else:
                tensors[f"{block}{_BLOCK[module][0]}.{kind}"] = tensor
    return tensors
