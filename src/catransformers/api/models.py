"""`ct.models()`: the models that are known by name."""

from __future__ import annotations

from dataclasses import dataclass

from catransformers.display import Displayed
from catransformers.registry import FAMILIES
from catransformers.workloads import families
from catransformers.workloads.zoo import MODEL_NAMES, named_spec

#: Names whose weights are in this package.
SHIPPED = ("embedded",)


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that is known by name.

    Args:
        name: what `estimate`, `sweep` and a study's `model.base` take.
        family: `clip`, `vit`, `bert` or `llama`.
        parameters: of the whole model.
        shipped: whether its weights come with this package.
    """

    name: str
    family: str
    parameters: int
    shipped: bool


class ModelTable(Displayed, list[NamedModel]):
    """Named models, in a fixed order."""


def models(family: str | None = None) -> ModelTable:
    """The models that are known by name.

    Args:
        family: only those of this family.

    Raises:
        InputError: for an unknown family.
    """
    if family is not None:
        FAMILIES.check(family, "family")
    found = [(name, named_spec(name)) for name in MODEL_NAMES]
    return ModelTable(
        NamedModel(name, spec.family, families.parameters(spec), name in SHIPPED)
        for name, spec in found
        if family in (None, spec.family)
    )
