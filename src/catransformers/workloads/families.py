"""The model families, by name: what is asked of a spec without knowing its kind. A new family is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from catransformers.errors import InputError, Problem, unknown_name
from catransformers.workloads import bert, clip, llama, vit
from catransformers.workloads.operators import Workload, WorkloadPart, concatenate
from catransformers.workloads.spec import BertSpec, ClipSpec, LlamaSpec, ModelSpec, VitSpec


@dataclass(frozen=True, slots=True)
class Family:
    """One model family.

    Args:
        from_dict: reads a spec from its plain form.
        parts: a spec and the texts of an image → the parts of one inference; only CLIP minds the texts.
        parameters: a spec → its parameters.
    """

    from_dict: Callable[[Mapping[str, Any]], ModelSpec]
    parts: Callable[[Any, float], list[WorkloadPart]]
    parameters: Callable[[Any], int]


FAMILIES: dict[str, Family] = {
    ClipSpec.family: Family(ClipSpec.from_dict, clip.parts, clip.parameters),
    VitSpec.family: Family(VitSpec.from_dict, lambda spec, _: vit.parts(spec), vit.parameters),
    BertSpec.family: Family(BertSpec.from_dict, lambda spec, _: bert.parts(spec), bert.parameters),
    LlamaSpec.family: Family(LlamaSpec.from_dict, lambda spec, _: llama.parts(spec), llama.parameters),
}


def parts(spec: ModelSpec, texts_per_image: float = 1.0) -> list[WorkloadPart]:
    """The parts of one inference; cost = Σ times × (layers × layer + stem), exactly.

    Args:
        spec: the model.
        texts_per_image: texts that an image of CLIP meets; other families have none.

    Returns:
        CLIP: vision and text; ViT: vision; BERT: text; Llama: prefill and, where there are new tokens, decode.
    """
    return FAMILIES[spec.family].parts(spec, texts_per_image)


def workload(spec: ModelSpec, texts_per_image: float = 1.0) -> Workload:
    """One inference: an image and `texts_per_image` texts (CLIP), an image, a text, or prefill and decode (Llama)."""
    return concatenate(spec.family, [part.workload() for part in parts(spec, texts_per_image)])


def parameters(spec: ModelSpec) -> int:
    """Parameters of the whole model."""
    return FAMILIES[spec.family].parameters(spec)


def spec_from_dict(data: Mapping[str, Any]) -> ModelSpec:
    """A spec of any family from its plain form; the inverse of `to_dict`.

    Raises:
        InputError: for a missing or unknown family, and for what the family's `from_dict` finds.
    """
    if not isinstance(data, Mapping) or "family" not in data:
        raise InputError(Problem("model spec: family", "missing", ", ".join(FAMILIES)))
    family = data["family"]
    if not isinstance(family, str) or family not in FAMILIES:
        raise InputError(unknown_name("model spec: family", "family", str(family), FAMILIES))
    return FAMILIES[family].from_dict(data)
