"""What the model families share: encoders, the names by which dimensions are set, and reading specs from plain data.

A dimension is *prunable* (architecture: it may only shrink) or *usage* (how long an input is: any value that the model
admits). Both are set by name through one checked path that tells every mistake at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

from catransformers.errors import InputError, Problem, Problems, nearest
from catransformers.reading import Choice, Flag, Number, Rule, Table, Unknown, read_table

#: The dimensions that pruning changes in an encoder.
PRUNABLE = ("layers", "ffn_dim", "embed_dim", "heads")

SIZE = Number(1, whole=True, allowed="integers from 1", kind="is not a size", outside="is not a size")
COUNT = Number(0, whole=True, allowed="integers from 0", kind="is not a size", outside="is not a size")
ABOVE_0 = Number(0, above=True, allowed="", kind="is not a number above 0", outside="is not a number above 0")
FLAG = Flag()


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """One transformer encoder.

    Args:
        layers: number of blocks.
        ffn_dim: width of the feed-forward layer.
        embed_dim: width d of the residual stream.
        heads: attention heads of `head_dim` each; the attention width a = heads·head_dim may differ from d.
        head_dim: size of a head; pruning never changes it.
        tokens: sequence length s (patches and the class token, or the text's length).
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
    """A vision transformer's encoder: on square patches of a square image."""

    image_size: int
    patch_size: int


@dataclass(frozen=True, slots=True)
class TextSpec(EncoderSpec):
    """CLIP's causal text transformer: an encoder on token embeddings."""

    vocab_size: int


def check_dimensions(
    own: Mapping[str, int],
    values: Mapping[str, int],
    usage: Mapping[str, tuple[int, int]] | None = None,
    hints: Mapping[str, str] | None = None,
) -> Problems:
    """The mistakes in dimensions that someone wants to set.

    Args:
        own: the prunable dimensions of the spec and their values; pruning never grows them.
        values: what shall be set.
        usage: lowest and greatest value of what may also be set, and may grow.
        hints: what to say of names that are understood but cannot be set.
    """
    ranges = {name: (1, value) for name, value in own.items()} | dict(usage or {})
    problems = Problems()
    for name, value in values.items():
        if name not in ranges:
            hint = (hints or {}).get(name) or nearest(name, ranges)
            problems.append(Problem(name, "unknown dimension", ", ".join(ranges), hint))
            continue
        low, high = ranges[name]
        if type(value) is not int:
            problems.append(Problem(name, f"{value!r} is not a whole number", f"{low} to {high}"))
        elif not low <= value <= high:
            problems.append(Problem(name, f"{value} is out of range", f"{low} to {high}"))
    return problems


def encoder_dimensions(encoder: EncoderSpec, prefix: str = "") -> dict[str, int]:
    """The prunable dimensions of an encoder by name, in a fixed order."""
    return {prefix + name: getattr(encoder, name) for name in PRUNABLE}


def plain(spec: object) -> dict[str, Any]:
    """The fields of a flat spec as plain data."""
    return {f.name: getattr(spec, f.name) for f in fields(spec)}  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class OneEncoderSpec:
    """What the specs of models that are one encoder and a stem share.

    Args:
        encoder: the encoder.
    """

    encoder: EncoderSpec

    family: ClassVar[str]

    def dimensions(self) -> dict[str, int]:
        """The prunable dimensions by name, in a fixed order: `layers, ffn_dim, embed_dim, heads`."""
        return encoder_dimensions(self.encoder)

    def usage(self) -> dict[str, int]:
        """What else `with_dimensions` may set: nothing, an image's size fixes the tokens."""
        return {}

    def usage_ranges(self) -> dict[str, tuple[int, int]]:
        """The least and the greatest of each `usage`."""
        return {}

    def with_dimensions(self, values: Mapping[str, int]) -> Self:
        """This spec with some prunable dimensions, or `usage`, replaced.

        Raises:
            InputError: for unknown names, for dimensions outside 1 … this spec's own (pruning never grows) and for
                usage outside its range; all at once.
        """
        check_dimensions(self.dimensions(), values, self.usage_ranges()).finish()
        return replace(self, encoder=replace(self.encoder, **values))

    def to_dict(self) -> dict[str, object]:
        """Plain data that `from_dict` reads back; the `model` object of `--json`."""
        return {"family": self.family} | plain(self) | {"encoder": plain(self.encoder)}


def words(*options: str) -> Rule:
    """The rule of one of some words."""
    return Choice(options, "is unknown")


@dataclass(frozen=True, slots=True)
class Encoder:
    """The rule of an encoder: a table of sizes."""

    kind: type[EncoderSpec]

    def read(self, given: object, place: str, problems: Problems, unknown: Unknown) -> EncoderSpec | None:
        """The encoder, or None where one of its sizes is wrong; raises an `InputError` if it is no table."""
        sizes = dict.fromkeys((f.name for f in fields(self.kind)), SIZE)
        if not isinstance(given, Mapping):
            raise InputError(Problem(place, f"{given!r} is not a table", ", ".join(sizes)))
        good = read_table(given, sizes, f"{place}.", problems, unknown=unknown)
        return self.kind(**good) if len(good) == len(sizes) else None


def read_spec(data: object, family: str, rules: Mapping[str, Rule | Table], **defaults: object) -> dict[str, Any]:
    """The fields of a spec from plain data.

    Args:
        data: the table.
        family: whose spec it must be.
        rules: what each key may hold.
        defaults: of the keys that may be left out.

    Raises:
        InputError: for everything that is missing, unknown or impossible.
    """
    known: dict[str, Rule | Table] = {"family": words(family), **rules}
    if not isinstance(data, Mapping):
        raise InputError(Problem("model spec", f"{data!r} is not a table", ", ".join(known)))
    problems = Problems()
    found = read_table({**defaults, **data}, known, "model spec: ", problems)
    problems.finish()
    return {key: value for key, value in found.items() if key != "family"}
