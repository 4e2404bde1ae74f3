"""One door to vision transformers in other libraries' formats: timm's and Hugging Face's, in and out."""

from catransformers.models.formats.vit_huggingface import (
    spec_from_huggingface,
    tensors_from_huggingface,
    to_huggingface,
)
from catransformers.models.formats.vit_timm import (
    spec_from_timm,
    spec_of_timm_model,
    tensors_from_timm,
    timm_arguments,
    to_timm,
)
from catransformers.models.loading.checkpoints import class_names_of_huggingface

__all__ = [
    "class_names_of_huggingface",
    "spec_from_huggingface",
    "spec_from_timm",
    "spec_of_timm_model",
    "tensors_from_huggingface",
    "tensors_from_timm",
    "timm_arguments",
    "to_huggingface",
    "to_timm",
]
