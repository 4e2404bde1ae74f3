"""What is asked of a spec without knowing its family; the families are rows of `catransformers.registry.FAMILIES`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catransformers.errors import InputError, Problem
from catransformers.registry import FAMILIES
from catransformers.workloads.family import Family, ModelSpec
from catransformers.workloads.operators import Workload, WorkloadPart, concatenate
from catransformers.workloads.traced import TracedSpec


def family_of(spec: ModelSpec) -> Family:
    """The row of a spec's family.

    Raises:
        InputError: if no such family is registered.
    """
    return FAMILIES.find(spec.family)


def parts(spec: ModelSpec, texts_per_image: float = 1.0) -> list[WorkloadPart]:
    """The parts of one inference; cost = Σ times × (layers × layer + stem), exactly.

    Args:
        spec: the model.
        texts_per_image: texts that an image of CLIP meets; other families have none.

    Returns:
        CLIP: vision and text; ViT: vision; BERT: text; Llama: prefill and, where there are new tokens, decode.
    """
    family = family_of(spec)
    return family.parts(spec, texts_per_image) if family.pairs else family.parts(spec)


def workload(spec: ModelSpec, texts_per_image: float = 1.0) -> Workload:
    """One inference: an image and `texts_per_image` texts (CLIP), an image, a text, or prefill and decode (Llama)."""
    if isinstance(spec, TracedSpec):
        return spec.work
    return concatenate(spec.family, [part.workload() for part in parts(spec, texts_per_image)])


def parameters(spec: ModelSpec) -> int:
    """Parameters of the whole model."""
    return spec.parameters if isinstance(spec, TracedSpec) else family_of(spec).parameters(spec)


def spec_from_dict(data: Mapping[str, Any]) -> ModelSpec:
    """A spec of any family from its plain form; the inverse of `to_dict`.

    Raises:
        InputError: for a missing or unknown family, and for what the family's `from_dict` finds.
    """
    if not isinstance(data, Mapping) or "family" not in data:
        raise InputError(Problem("model spec: family", "missing", ", ".join(FAMILIES)))
    return FAMILIES.find(str(data["family"])).from_dict(data)
