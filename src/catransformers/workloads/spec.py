"""Model specs: the dimensions of one (pruned) model, and the names by which people set them.

A spec is all that the hardware side needs to know of a model: no weights, no torch. This file has CLIP's and names the
others; each of them shares a file with its family's closed form. All have one interface: `family`, `dimensions()`
(what pruning may shrink), `usage()` (what else may be set), `with_dimensions`, `to_dict` and `from_dict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from catransformers.reading import Rule, Table
from catransformers.workloads.bert import BertSpec
from catransformers.workloads.dimensions import (
    PRUNABLE,
    SIZE,
    Encoder,
    EncoderSpec,
    TextSpec,
    VisionSpec,
    check_dimensions,
    encoder_dimensions,
    plain,
    read_spec,
    words,
)
from catransformers.workloads.llama import LlamaSpec
from catransformers.workloads.vit import VitSpec

__all__ = [
    "PRUNABLE",
    "Activation",
    "BertSpec",
    "ClipSpec",
    "EncoderSpec",
    "LlamaSpec",
    "ModelSpec",
    "TextSpec",
    "VisionSpec",
    "VitSpec",
]

Activation = Literal["gelu", "quick_gelu"]


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
        return encoder_dimensions(self.vision, "vision.") | encoder_dimensions(self.text, "text.")

    def usage(self) -> dict[str, int]:
        """What else `with_dimensions` may set: nothing, every text fills the context."""
        return {}

    def with_dimensions(self, values: Mapping[str, int]) -> ClipSpec:
        """This spec with some prunable dimensions replaced.

        Raises:
            InputError: for unknown names and for values outside 1 … this spec's own (pruning never grows); all at once.
        """
        check_dimensions(self.dimensions(), values).finish()
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
            "vision": plain(self.vision),
            "text": plain(self.text),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClipSpec:
        """The inverse of `to_dict`.

        Raises:
            InputError: if a key is missing or unknown, a size is no whole number above 0, or the activation is unknown.
        """
        rules: dict[str, Rule | Table] = {
            "projection_dim": SIZE,
            "activation": words(*get_args(Activation)),
            "vision": Encoder(VisionSpec),
            "text": Encoder(TextSpec),
        }
        return cls(**read_spec(data, cls.family, rules))


ModelSpec = ClipSpec | VitSpec | BertSpec | LlamaSpec
