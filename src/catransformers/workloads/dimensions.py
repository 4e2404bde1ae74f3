"""What the model families share: encoders, the names by which dimensions are set, and reading specs from plain data.

A dimension is *prunable* (architecture: it may only shrink) or *usage* (how long an input is: any value that the model
admits). Both are set by name through one checked path that tells every mistake at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from catransformers.errors import InputError, Problem, nearest

#: The dimensions that pruning changes in an encoder.
PRUNABLE = ("layers", "ffn_dim", "embed_dim", "heads")

#: What a key of a spec may hold: integers from a lowest one, true or false, or one of some words.
Rule = int | type[bool] | tuple[str, ...]


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
) -> list[Problem]:
    """The mistakes in dimensions that someone wants to set.

    Args:
        own: the prunable dimensions of the spec and their values; pruning never grows them.
        values: what shall be set.
        usage: lowest and greatest value of what may also be set, and may grow.
        hints: what to say of names that are understood but cannot be set.
    """
    ranges = {name: (1, value) for name, value in own.items()} | dict(usage or {})
    problems = []
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


def sizes_of(kind: type[EncoderSpec]) -> dict[str, Rule]:
    """The rules of an encoder's keys: sizes from 1."""
    return {f.name: 1 for f in fields(kind)}


def read_keys(data: object, rules: Mapping[str, Rule], where: str, others: tuple[str, ...] = ()) -> list[Problem]:
    """The mistakes in a table of a spec: missing, unknown and impossible keys.

    Args:
        data: the table.
        rules: what each key may hold.
        where: what to call the table in a message, ending in what goes before a key.
        others: keys that someone else checks; only their absence is told.
    """
    if not isinstance(data, Mapping):
        return [Problem(where.rstrip(".: "), f"{data!r} is not a table", ", ".join((*rules, *others)))]
    known = (*rules, *others)
    problems = [Problem(f"{where}{key}", "missing") for key in known if key not in data]
    problems += [
        Problem(f"{where}{key}", "unknown key", ", ".join(known), nearest(str(key), known))
        for key in data
        if key not in known
    ]
    for key, rule in rules.items():
        if key not in data:
            continue
        value = data[key]
        if isinstance(rule, tuple):
            if value not in rule:
                problems.append(Problem(f"{where}{key}", f"{value!r} is unknown", ", ".join(rule)))
        elif rule is bool:
            if type(value) is not bool:
                problems.append(Problem(f"{where}{key}", f"{value!r} is neither true nor false"))
        elif type(value) is not int or value < rule:
            problems.append(Problem(f"{where}{key}", f"{value!r} is not a size", f"integers from {rule}"))
    return problems


def finish(problems: list[Problem]) -> None:
    """Raise what was found.

    Raises:
        InputError: if there is any problem.
    """
    if problems:
        raise InputError(problems)
