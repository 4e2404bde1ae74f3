"""Optional dependencies: which extra of this package brings a library, and the error where it is not installed.

The core (`estimate`, `sweep`, `carbon`, `schedule`) needs none of them. This table and the one in `pyproject.toml` say
the same; a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from catransformers.errors import InputError, Problem

#: Library as it is imported → the extra that brings it.
EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("jinja2", "markupsafe", "matplotlib", "plotly"), "figures"),
        **dict.fromkeys(("botorch", "gpytorch", "PIL", "safetensors", "scipy", "sklearn", "torch"), "search"),
        "ax": "ax",
        "open_clip": "clip",
        "datasets": "data",
        "huggingface_hub": "hf",
        "tokenizers": "hf",
        "transformers": "hf",
        "codecarbon": "measure",
        "pynvml": "measure",
        "pymoo": "nsga2",
        "onnx": "onnx",
        "onnxscript": "onnx",
        "timm": "vit",
    }
)


def install(extra: str) -> str:
    """The command that installs an extra: `pip install "catransformers[search]"`."""
    return f'pip install "catransformers[{extra}]"'


def not_installed(error: ModuleNotFoundError) -> InputError | None:
    """What to tell a user whose environment lacks an optional library; None if it is none of them.

    Args:
        error: as Python's import system raises it.
    """
    library = (error.name or "").partition(".")[0]
    if library not in EXTRAS:
        return None
    extra = EXTRAS[library]
    return InputError(Problem(library, "is not installed, and this needs it", hint=install(extra)))
