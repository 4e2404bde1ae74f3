"""Hugging Face and open_clip state dicts and configurations of CLIP (`CLIPModel`, `CLIP`), both ways.

Our `Clip` has open_clip's names, so to and from open_clip only the configuration is translated. Hugging Face stores
queries, keys and values apart, projections transposed, and has its own names; one table gives both directions.

Which token of a text is pooled: ours, and open_clip's, is the first with the highest id. Hugging Face's is the first
with the id `eos_token_id`, unless that is 2, by which it means the highest id. Both are the same token where the end
token is the last of the vocabulary, as in CLIP's.

Sources: the published configurations and parameter names of Hugging Face transformers (`CLIPModel`) and of open_clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, nextafter
from typing import Any, Final, Literal

import torch
from torch import Tensor

from catransformers.errors import Problem, Problems
from catransformers.models.families.clip import Clip
from catransformers.models.loading.checkpoints import check_names
from catransformers.models.loading.preprocess import Preprocess
from catransformers.workloads.spec import Activation, ClipSpec, EncoderSpec, TextSpec, VisionSpec

#: What a configuration that leaves a key out means by that.
_TEXT_DEFAULTS: Final = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}
_VISION_DEFAULTS: Final = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
_SIZES: Final = frozenset((*_TEXT_DEFAULTS, *_VISION_DEFAULTS)) - {"hidden_act", "layer_norm_eps", "eos_token_id"}
_ACTIVATIONS: Final[Mapping[str, Activation]] = {"gelu": "gelu", "quick_gelu": "quick_gelu"}
_NORM_EPS: Final = 1e-5
#: By this id of the end token Hugging Face means the highest id of each text.
_HIGHEST: Final = 2
#: Numbers that old checkpoints keep beside the weights.
_NOT_WEIGHTS: Final = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")

Change = Literal["", "transposed", "stacked"]


def spec_from_huggingface(config: Mapping[str, Any], where: str) -> ClipSpec:
    """The spec that the configuration of a Hugging Face `CLIPModel` describes.

    Args:
        config: the content of its `config.json`.
        where: whose mistake it is if it is no such model.

    Raises:
        InputError: for everything in it that our `Clip` has not; all of it at once.
    """
    problems = Problems()
    text = _section(config, "text_config", _TEXT_DEFAULTS, where, problems)
    vision = _section(config, "vision_config", _VISION_DEFAULTS, where, problems)
    projection = config.get("projection_dim", 512)
    if type(projection) is not int or projection < 1:
        problems.append(Problem(where, f"projection_dim: {projection!r} is not a size", "integers from 1"))
    problems.finish()
    if text["hidden_act"] != vision["hidden_act"]:
        what = f"activations differ, {text['hidden_act']!r} of texts and {vision['hidden_act']!r} of images"
        problems.append(Problem(where, what, "one for both"))
    if text["eos_token_id"] not in (_HIGHEST, text["vocab_size"] - 1):
        what = f"text_config.eos_token_id: {text['eos_token_id']!r} is not the highest id, which is pooled here"
        problems.append(Problem(where, what, f"{_HIGHEST}, {text['vocab_size'] - 1}"))
    if vision["num_channels"] != 3:
        problems.append(Problem(where, f"vision_config.num_channels: {vision['num_channels']}", "3"))
    problems.finish()
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    return ClipSpec(
        VisionSpec(*_sizes(vision), patches + 1, vision["image_size"], vision["patch_size"]),
        TextSpec(*_sizes(text), text["max_position_embeddings"], text["vocab_size"]),
        projection,
        _ACTIVATIONS[text["hidden_act"]],
    )


def _section(
    config: Mapping[str, Any], key: str, defaults: Mapping[str, Any], where: str, problems: list[Problem]
) -> dict[str, Any]:
    """One encoder's configuration, complete; its mistakes go to `problems`."""
    section, override = config.get(key) or {}, config.get(f"{key}_dict")
    if not isinstance(section, Mapping) or not isinstance(override or {}, Mapping):
        problems.append(Problem(where, f"{key} is not a table"))
        return dict(defaults)
    # An old configuration says it twice, and then the second one counts, with the defaults of what it leaves out.
    values = {**defaults, **section} if not override else {**section, **defaults, **override}
    for name in ("image_size", "patch_size"):
        pair = values.get(name)
        if isinstance(pair, list | tuple) and len(set(pair)) == 1:
            values[name] = pair[0]
    for name in defaults:
        value = values[name]
        if name in _SIZES and (type(value) is not int or value < 1):
            problems.append(Problem(where, f"{key}.{name}: {value!r} is not a size", "integers from 1"))
    if values["hidden_act"] not in _ACTIVATIONS:
        what = f"{key}.hidden_act: {values['hidden_act']!r} is not supported"
        problems.append(Problem(where, what, ", ".join(_ACTIVATIONS)))
    if values["layer_norm_eps"] != _NORM_EPS:
        problems.append(Problem(where, f"{key}.layer_norm_eps: {values['layer_norm_eps']!r}", str(_NORM_EPS)))
    width, heads = values["hidden_size"], values["num_attention_heads"]
    if type(width) is type(heads) is int and heads > 0 and width % heads:
        problems.append(Problem(where, f"{key}: {width} channels are not {heads} equal heads"))
    return values


def _sizes(section: Mapping[str, Any]) -> tuple[int, int, int, int, int]:
    """Layers, neurons, channels, heads and the size of a head."""
    width, heads = section["hidden_size"], section["num_attention_heads"]
    return section["num_hidden_layers"], section["intermediate_size"], width, heads, width // heads


@dataclass(frozen=True, slots=True)
class _Pair:
    """One of our tensors, and what Hugging Face has in its stead.

    Args:
        ours: its name here.
        theirs: its name there; three of them where it is stacked.
        change: how it differs: not at all, `transposed`, or `stacked` from three.
    """

    ours: str
    theirs: tuple[str, ...]
    change: Change = ""


def _pairs(spec: ClipSpec) -> Iterator[_Pair]:
    """All tensors of a CLIP, here and there."""
    yield _Pair("logit_scale", ("logit_scale",))
    yield _Pair("visual.class_embedding", ("vision_model.embeddings.class_embedding",))
    yield _Pair("visual.positional_embedding", ("vision_model.embeddings.position_embedding.weight",))
    yield _Pair("visual.conv1.weight", ("vision_model.embeddings.patch_embedding.weight",))
    yield _Pair("visual.proj", ("visual_projection.weight",), "transposed")
    yield _Pair("positional_embedding", ("text_model.embeddings.position_embedding.weight",))
    yield _Pair("token_embedding.weight", ("text_model.embeddings.token_embedding.weight",))
    yield _Pair("text_projection", ("text_projection.weight",), "transposed")
    for kind in ("weight", "bias"):
        yield _Pair(f"visual.ln_pre.{kind}", (f"vision_model.pre_layrnorm.{kind}",))
        yield _Pair(f"visual.ln_post.{kind}", (f"vision_model.post_layernorm.{kind}",))
        yield _Pair(f"ln_final.{kind}", (f"text_model.final_layer_norm.{kind}",))
    for here, there, encoder in (("visual.", "vision_model", spec.vision), ("", "text_model", spec.text)):
        for i in range(encoder.layers):
            ours, theirs = f"{here}transformer.resblocks.{i}", f"{there}.encoder.layers.{i}"
            for kind in ("weight", "bias"):
                parts = tuple(f"{theirs}.self_attn.{part}_proj.{kind}" for part in "qkv")
                yield _Pair(f"{ours}.attn.in_proj_{kind}", parts, "stacked")
                for name, other in (
                    ("attn.out_proj", "self_attn.out_proj"),
                    ("ln_1", "layer_norm1"),
                    ("ln_2", "layer_norm2"),
                    ("mlp.c_fc", "mlp.fc1"),
                    ("mlp.c_proj", "mlp.fc2"),
                ):
                    yield _Pair(f"{ours}.{name}.{kind}", (f"{theirs}.{other}.{kind}",))


def tensors_from_huggingface(
    spec: ClipSpec, _config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """A Hugging Face `CLIPModel`'s tensors under our names; only what is stacked or transposed is copied.

    Raises:
        InputError: with the name there of every tensor that is missing or too many.
    """
    weights = {name: tensor for name, tensor in tensors.items() if name not in _NOT_WEIGHTS}
    pairs = list(_pairs(spec))
    check_names(dict.fromkeys(name for pair in pairs for name in pair.theirs), weights, where)
    result = {}
    for pair in pairs:
        parts = [weights[name] for name in pair.theirs]
        if pair.change == "stacked" and len({part.shape[1:] for part in parts}) == 1:
            result[pair.ours] = torch.cat(parts)
        else:
            result[pair.ours] = parts[0].T.contiguous() if pair.change == "transposed" else parts[0]
    return result


def to_huggingface(net: Clip) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A `Clip` as Hugging Face's `CLIPModel`: the content of its `config.json`, and its tensors.

    Raises:
        InputError: if heads were pruned without the width, which that class cannot express; per encoder.
    """
    spec = net.spec
    _check_heads(spec, "transformers' CLIPModel")
    own, tensors = net.state_dict(), {}
    for pair in _pairs(spec):
        tensor = own[pair.ours].detach()
        parts = list(tensor.chunk(3)) if pair.change == "stacked" else [tensor]
        for name, part in zip(pair.theirs, parts, strict=True):
            tensors[name] = (part.T if pair.change == "transposed" else part).clone().contiguous()
    shared = {"hidden_act": spec.activation, "layer_norm_eps": _NORM_EPS, "projection_dim": spec.projection_dim}
    config: dict[str, object] = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": spec.projection_dim,
        "text_config": shared
        | _their_sizes(spec.text)
        | {
            "model_type": "clip_text_model",
            "vocab_size": spec.text.vocab_size,
            "max_position_embeddings": spec.text.tokens,
            "eos_token_id": _HIGHEST,
        },
        "vision_config": shared
        | _their_sizes(spec.vision)
        | {
            "model_type": "clip_vision_model",
            "image_size": spec.vision.image_size,
            "patch_size": spec.vision.patch_size,
        },
    }
    return config, tensors


def _their_sizes(encoder: EncoderSpec) -> dict[str, object]:
    return {
        "num_hidden_layers": encoder.layers,
        "hidden_size": encoder.embed_dim,
        "intermediate_size": encoder.ffn_dim,
        "num_attention_heads": encoder.heads,
    }


def to_open_clip(net: Clip, preprocess: Preprocess | None = None) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A `Clip` as open_clip's: the content of its `open_clip_config.json`, and its tensors.

    Args:
        net: the model.
        preprocess: how it wants its images; written down if given.

    Raises:
        InputError: if heads were pruned without the width, which that class cannot express; per encoder.
    """
    spec = net.spec
    _check_heads(spec, "open_clip's CLIP")
    vision, text = spec.vision, spec.text
    model: dict[str, object] = {
        "embed_dim": spec.projection_dim,
        "quick_gelu": spec.activation == "quick_gelu",
        "vision_cfg": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "layers": vision.layers,
            "width": vision.embed_dim,
            "head_width": vision.head_dim,
            "mlp_ratio": _ratio(vision),
        },
        "text_cfg": {
            "context_length": text.tokens,
            "vocab_size": text.vocab_size,
            "width": text.embed_dim,
            "heads": text.heads,
            "layers": text.layers,
            "mlp_ratio": _ratio(text),
        },
    }
    config: dict[str, object] = {"model_cfg": model}
    if preprocess is not None:
        config["preprocess_cfg"] = {
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "interpolation": preprocess.interpolation,
            "resize_mode": preprocess.resize_mode,
        }
    return config, {name: tensor.detach().clone().contiguous() for name, tensor in net.state_dict().items()}


def _ratio(encoder: EncoderSpec) -> float:
    """The ratio of neurons to channels from which open_clip gets the neurons back, as int(channels × ratio)."""
    ratio = encoder.ffn_dim / encoder.embed_dim
    while int(encoder.embed_dim * ratio) < encoder.ffn_dim:
        ratio = nextafter(ratio, inf)
    return ratio


def _check_heads(spec: ClipSpec, library: str) -> None:
    problems = Problems(
        Problem(
            f"{name}.heads",
            f"{library} cannot have {e.heads} heads of {e.head_dim} beside {e.embed_dim} channels",
            hint="save it in this package's own format",
        )
        for name, e in (("vision", spec.vision), ("text", spec.text))
        if e.attention_dim != e.embed_dim
    )
    problems.finish()
