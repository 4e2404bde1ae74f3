"""Structured pruning of a CLIP: a smaller, dense model out of a larger one, without touching what is kept.

Each encoder shrinks along four dimensions, all at once and independent of each other:

- *layers*: whole blocks go; the others keep their order.
- *heads*: rows of Q, K and V and columns of the output projection go, per layer the least important ones, so the
  attention width becomes narrower than the residual stream.
- *ffn_dim*: neurons go, a row of the first and a column of the second matrix, per layer its own choice.
- *embed_dim*: channels of the residual stream go, one choice for the whole encoder, because all blocks share it:
  embeddings, positions, class token, patch filters, norms, and every matrix that reads or writes the stream.

What is kept are the original numbers, unscaled. For heads and neurons that makes removal *equal* to zeroing. For
channels it is equal only up to LayerNorm: its mean and variance are then taken over fewer channels, so what remains
is rescaled. That is left as it is on purpose: rescaling the norms' gains to undo it would be right for one input
statistic only, the importance scores price the effect in (`importance.py` differentiates through the norms), and the
fine-tune that follows every pruning moves these gains first.

Sources: Michel et al., Are Sixteen Heads Really Better than One?, NeurIPS 2019 (heads); Molchanov et al., Importance
Estimation for Neural Network Pruning, CVPR 2019 (neurons, channels).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from catransformers.errors import InputError, IntegrityError, Problem
from catransformers.models.clip import Clip
from catransformers.models.importance import EncoderImportance, Importance
from catransformers.models.storage import assign_tensors
from catransformers.workloads.spec import ClipSpec, EncoderSpec


@dataclass(frozen=True, slots=True)
class EncoderSelection:
    """What is kept of one encoder: ascending indices into the base model.

    Args:
        layers: (L,) kept blocks.
        embed: (d,) kept channels of the residual stream.
        heads: per kept block (h,) kept heads.
        ffn: per kept block (f,) kept FFN neurons.
    """

    layers: tuple[int, ...]
    embed: tuple[int, ...]
    heads: tuple[tuple[int, ...], ...]
    ffn: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """What is kept of both encoders."""

    vision: EncoderSelection
    text: EncoderSelection


#: What each axis of a tensor runs along: `embed`, `ffn`, `attention` (heads × head_dim), `qkv` (three of those), or
#: an axis that pruning leaves alone. The names are those of a block, then those of an encoder's stem.
_BLOCK_AXES: Mapping[str, tuple[str, ...]] = {
    "ln_1.weight": ("embed",),
    "ln_1.bias": ("embed",),
    "attn.in_proj_weight": ("qkv", "embed"),
    "attn.in_proj_bias": ("qkv",),
    "attn.out_proj.weight": ("embed", "attention"),
    "attn.out_proj.bias": ("embed",),
    "ln_2.weight": ("embed",),
    "ln_2.bias": ("embed",),
    "mlp.c_fc.weight": ("ffn", "embed"),
    "mlp.c_fc.bias": ("ffn",),
    "mlp.c_proj.weight": ("embed", "ffn"),
    "mlp.c_proj.bias": ("embed",),
}
_STEM_AXES: Mapping[str, tuple[str, ...]] = {
    "visual.class_embedding": ("embed",),
    "visual.positional_embedding": ("token", "embed"),
    "visual.conv1.weight": ("embed", "colour", "row", "column"),
    "visual.ln_pre.weight": ("embed",),
    "visual.ln_pre.bias": ("embed",),
    "visual.ln_post.weight": ("embed",),
    "visual.ln_post.bias": ("embed",),
    "visual.proj": ("embed", "projection"),
    "positional_embedding": ("token", "embed"),
    "token_embedding.weight": ("vocabulary", "embed"),
    "ln_final.weight": ("embed",),
    "ln_final.bias": ("embed",),
    "text_projection": ("embed", "projection"),
    "logit_scale": (),
}
_BLOCK_NAME = re.compile(r"(?P<prefix>(visual\.)?transformer\.resblocks\.)(?P<layer>\d+)\.(?P<name>.+)")


def top(scores: Tensor, number: int) -> tuple[int, ...]:
    """The `number` largest of `scores` (n,), as ascending indices; of equals the earlier ones.

    Raises:
        ValueError: if a score is not finite or there are fewer than `number`.
    """
    if not bool(scores.isfinite().all()):
        raise ValueError("importance scores must be finite")
    if not 1 <= number <= len(scores):
        raise ValueError(f"cannot keep {number} of {len(scores)}")
    order = torch.sort(scores, descending=True, stable=True).indices
    return tuple(sorted(order[:number].tolist()))


def _select_encoder(encoder: EncoderSpec, scores: EncoderImportance) -> EncoderSelection:
    layers = top(scores.layers, encoder.layers)
    return EncoderSelection(
        layers=layers,
        embed=top(scores.embed, encoder.embed_dim),
        heads=tuple(top(scores.heads[layer], encoder.heads) for layer in layers),
        ffn=tuple(top(scores.ffn[layer], encoder.ffn_dim) for layer in layers),
    )


def select(spec: ClipSpec, importance: Importance) -> Selection:
    """The most important parts that make up `spec`.

    Args:
        spec: the dimensions to keep.
        importance: scores of the base model; heads and neurons compete within their layer.

    Raises:
        ValueError: if the scores are not finite or too few for the spec.
    """
    return Selection(
        vision=_select_encoder(spec.vision, importance.vision),
        text=_select_encoder(spec.text, importance.text),
    )


def _indices(kept: EncoderSelection, position: int | None, head_dim: int) -> Mapping[str, Tensor]:
    """Per prunable axis the kept indices, as (n,) tensors; `position` is the block's place in the pruned encoder."""
    result = {"embed": torch.tensor(kept.embed)}
    if position is not None:
        base_heads = torch.tensor(kept.heads[position])
        attention = (base_heads[:, None] * head_dim + torch.arange(head_dim)).flatten()
        result |= {"ffn": torch.tensor(kept.ffn[position]), "attention": attention}
    return result


def _gather(tensor: Tensor, axes: tuple[str, ...], indices: Mapping[str, Tensor]) -> Tensor:
    """`tensor` with only the kept indices along each prunable axis, on the tensor's device."""
    result = tensor.detach()
    for number, axis in enumerate(axes):
        if axis == "qkv":
            rows = indices["attention"]
            width = tensor.shape[number] // 3
            index = torch.cat([rows, rows + width, rows + 2 * width])
        elif axis in indices:
            index = indices[axis]
        else:
            continue
        result = result.index_select(number, index.to(tensor.device))
    return result


def extract(model: Clip, selection: Selection) -> Clip:
    """The model that consists of the selected parts of `model`, with independent weights.

    Args:
        model: the base; left as it is.
        selection: what to keep. All blocks of an encoder keep equally many heads and neurons.

    Returns:
        A new `Clip` on the same device, in the same training mode.

    Raises:
        IntegrityError: if the base has a tensor that pruning does not know, or lacks one.
    """
    spec = _spec_of(model.spec, selection)
    with torch.device("meta"):
        pruned = Clip(spec)
    source = model.state_dict()
    places = {
        "visual.transformer.resblocks.": {layer: i for i, layer in enumerate(selection.vision.layers)},
        "transformer.resblocks.": {layer: i for i, layer in enumerate(selection.text.layers)},
    }
    tensors: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in source.items():
        is_vision = name.startswith("visual.")
        kept = selection.vision if is_vision else selection.text
        head_dim = (model.spec.vision if is_vision else model.spec.text).head_dim
        block = _BLOCK_NAME.fullmatch(name)
        axes = _BLOCK_AXES.get(block["name"]) if block else _STEM_AXES.get(name)
        if axes is None:
            unknown.append(name)
        elif block is None:
            tensors[name] = _gather(tensor, axes, _indices(kept, None, head_dim))
        elif (position := places[block["prefix"]].get(int(block["layer"]))) is not None:
            target = f"{block['prefix']}{position}.{block['name']}"
            tensors[target] = _gather(tensor, axes, _indices(kept, position, head_dim))
    if unknown:
        raise IntegrityError(f"the model has tensors that pruning does not know: {', '.join(unknown)}")
    assign_tensors(pruned, tensors, "pruning")
    return pruned.train(model.training)


def _spec_of(base: ClipSpec, selection: Selection) -> ClipSpec:
    sizes: Mapping[str, Callable[[EncoderSelection], int]] = {
        "layers": lambda kept: len(kept.layers),
        "ffn_dim": lambda kept: len(kept.ffn[0]),
        "embed_dim": lambda kept: len(kept.embed),
        "heads": lambda kept: len(kept.heads[0]),
    }
    return base.with_dimensions(
        {
            f"{component}.{dimension}": size(getattr(selection, component))
            for component in ("vision", "text")
            for dimension, size in sizes.items()
        }
    )


def prune(model: Clip, spec: ClipSpec, importance: Importance) -> Clip:
    """The model of `spec` made of the most important parts of `model`.

    Args:
        model: the base; left as it is.
        spec: what to reach: the base's spec with any of its eight dimensions between 1 and the base's own.
        importance: scores of the base's parts (`importance.importance`).

    Returns:
        A new `Clip` with independent weights; at full size its outputs are bit-identical to the base's.

    Raises:
        InputError: if the spec is not a pruned version of the base's; all differences at once.
        IntegrityError: if the base has a tensor that pruning does not know, or lacks one.
    """
    own, wanted = model.spec.dimensions(), spec.dimensions()
    problems = [
        Problem(name, f"{value} is out of range", f"1 to {own[name]}")
        for name, value in wanted.items()
        if not 1 <= value <= own[name]
    ]
    if not problems and model.spec.with_dimensions(wanted) != spec:
        problems = [Problem("model spec", "differs from the base in more than its prunable dimensions", ", ".join(own))]
    if problems:
        raise InputError(problems)
    return extract(model, select(spec, importance))
