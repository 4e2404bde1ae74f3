"""Model specs: the dimensions of one (pruned) model, and the names by which people set them.

A spec is all that the hardware side needs to know of a model: no weights, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from catransformers.errors import InputError, Problem, nearest

#: The dimensions that pruning changes, per encoder, as users write them: `vision.layers` and so on.
PRUNABLE = ("layers", "ffn_dim", "embed_dim", "heads")

Activation = Literal["gelu", "quick_gelu"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """One transformer encoder.

    Args:
        layers: number of blocks.
        ffn_dim: width of the feed-forward layer.
        embed_dim: width d of the residual stream.
        heads: attention heads of `head_dim` each; the attention width a = heads·head_dim may differ from d.
        head_dim: size of a head; pruning never changes it.
        tokens: sequence length s (patches and the class token, or the text's context length).
    """

    layers: int
    ffn_dim: int
    embed_dim: int
    heads: int
    head_dim: int
    tokens: int

    @property
    def attention_dim(self) -> int:
        """a = heads·head_dim, the width of Q, K and V."""
        return self.heads * self.head_dim


@dataclass(frozen=True, slots=True)
class VisionSpec(EncoderSpec):
    """A vision transformer: an encoder on square patches of a square image."""

    image_size: int
    patch_size: int


@dataclass(frozen=True, slots=True)
class TextSpec(EncoderSpec):
    """A causal text transformer: an encoder on token embeddings."""

    vocab_size: int


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """A CLIP model: a vision and a text encoder that project into one space of `projection_dim`.

    `activation` is `gelu` or `quick_gelu` (the original CLIP's x·σ(1.702x)).
    """

    vision: VisionSpec
    text: TextSpec
    projection_dim: int
    activation: Activation = "gelu"

    family = "clip"

    def dimensions(self) -> dict[str, int]:
        """The prunable dimensions by name, in a fixed order: `{"vision.layers": 12, …, "text.heads": 8}`."""
        return {f"{c}.{d}": getattr(getattr(self, c), d) for c in ("vision", "text") for d in PRUNABLE}

    def with_dimensions(self, values: Mapping[str, int]) -> ClipSpec:
        """This spec with some prunable dimensions replaced.

        Raises:
            InputError: for unknown names and for values outside 1 … this spec's own (pruning never grows); all at once.
        """
        own = self.dimensions()
        problems = []
        for name, value in values.items():
            if name not in own:
                problems.append(Problem(name, "unknown dimension", ", ".join(own), nearest(name, own)))
            elif not 1 <= value <= own[name]:
                problems.append(Problem(name, f"{value} is out of range", f"1 to {own[name]}"))
        if problems:
            raise InputError(problems)
        changed = {
            c: replace(getattr(self, c), **{d: values[f"{c}.{d}"] for d in PRUNABLE if f"{c}.{d}" in values})
            for c in ("vision", "text")
        }
        return replace(self, **changed)

    def to_dict(self) -> dict[str, object]:
        """Plain data that `from_dict` reads back; the `model` object of `--json`."""
        return {
            "family": self.family,
            "projection_dim": self.projection_dim,
            "activation": self.activation,
            "vision": {f.name: getattr(self.vision, f.name) for f in fields(self.vision)},
            "text": {f.name: getattr(self.text, f.name) for f in fields(self.text)},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> ClipSpec:
        """The inverse of `to_dict`.

        Raises:
            InputError: if a key is missing or unknown, a size is no whole number above 0, or the activation is unknown.
        """
        try:
            if data["family"] != cls.family:
                raise InputError(Problem("model.family", f"{data['family']!r} is not {cls.family!r}"))
            spec = cls(
                vision=VisionSpec(**data["vision"]),  # type: ignore[arg-type]
                text=TextSpec(**data["text"]),  # type: ignore[arg-type]
                projection_dim=data["projection_dim"],  # type: ignore[arg-type]
                activation=data["activation"],  # type: ignore[arg-type]
            )
        except (KeyError, TypeError) as error:
            raise InputError(Problem("model spec", f"not a CLIP spec: {error}")) from error
        sizes: dict[str, object] = {"projection_dim": spec.projection_dim}
        for name, encoder in (("vision", spec.vision), ("text", spec.text)):
            sizes |= {f"{name}.{f.name}": getattr(encoder, f.name) for f in fields(encoder)}
        problems = [
            Problem(f"model spec: {name}", f"{value!r} is not a size", "integers from 1")
            for name, value in sizes.items()
            if type(value) is not int or value < 1
        ]
        if spec.activation not in get_args(Activation):
            problems.append(
                Problem("model spec: activation", f"{spec.activation!r} is unknown", ", ".join(get_args(Activation)))
            )
        if problems:
            raise InputError(problems)
        return spec


ModelSpec = ClipSpec
