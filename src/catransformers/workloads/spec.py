"""The specs of all families that ship: the dimensions of one (pruned) model, and the names by which people set them.

A spec is all that the hardware side needs to know of a model: no weights, no torch. Each shares a file with its
family's closed form; `ModelSpec` is what all have in common.
"""

from catransformers.workloads.bert import BertSpec
from catransformers.workloads.clip import Activation, ClipSpec
from catransformers.workloads.dimensions import PRUNABLE, EncoderSpec, TextSpec, VisionSpec
from catransformers.workloads.family import ModelSpec
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
