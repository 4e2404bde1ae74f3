"""A model family as one row: spec, closed form, net, Hugging Face format, inputs and exports; and what any spec can do.

The row of a family stands as `FAMILY` beside its closed form, and its name in `catransformers.registry.FAMILIES`. Nets
and formats need torch, so a row names them as `"module:attribute"` and `"module"`; they are imported when used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from catransformers.workloads.dimensions import VisionSpec
from catransformers.workloads.operators import WorkloadPart


class ModelSpec(Protocol):
    """What is asked of the spec of any model: its dimensions, and what of them can be set."""

    @property
    def family(self) -> str:
        """The name of its family."""

    def dimensions(self) -> dict[str, int]:
        """The prunable dimensions by name, in a fixed order."""

    def usage(self) -> dict[str, int]:
        """What else `with_dimensions` may set: how long its inputs are."""

    def with_dimensions(self, values: Mapping[str, int]) -> ModelSpec:
        """This spec with some dimensions or usage replaced.

        Raises:
            InputError: for unknown names and values out of range, all at once; pruning never grows.
        """

    def to_dict(self) -> dict[str, object]:
        """Plain data that the family's `from_dict` reads back."""


@dataclass(frozen=True, slots=True)
class Family:
    """One model family.

    Args:
        from_dict: reads a spec from its plain form.
        parts: a spec → the parts of one inference; where it reads pairs, the spec and the texts of an image.
        parameters: a spec → its parameters.
        net: the class of its net, which takes the spec.
        formats: module that reads and writes Hugging Face's layout (`spec_from_huggingface`, `to_huggingface`, …).
        model_types: what Hugging Face's `config.json` calls it.
        exports: formats beside the package's own in which its models are written.
        vision: a spec → the encoder that sees images; None if it reads none.
        vocabulary: a spec → rows of its table of tokens; None if it reads no texts.
        processor: of images, whose defaults count where a checkpoint names none: `clip` or `vit`.
        with_classes: a spec and a number of classes → a spec with such a classifier; None if there can be none.
        generates: whether it continues texts, token by token (a language model).
    """

    from_dict: Callable[[Mapping[str, Any]], ModelSpec]
    parts: Callable[..., list[WorkloadPart]]
    parameters: Callable[[Any], int]
    net: str
    formats: str = ""
    model_types: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()
    vision: Callable[[Any], VisionSpec] | None = None
    vocabulary: Callable[[Any], int] | None = None
    processor: str = "vit"
    with_classes: Callable[[Any, int], Any] | None = None
    generates: bool = False

    @property
    def pairs(self) -> bool:
        """Whether it compares images with texts, each by an encoder of its own."""
        return self.vision is not None and self.vocabulary is not None
