"""Stand-ins that let a torchvision import whose compiled operators do not load. Opt-in, one function.

A torchvision built for another torch fails at import, because it describes the shapes of operators (`nms`, `qnms`) that
its compiled library should have defined. Nothing that this package uses of torchvision needs them. Declaring the two
names, without an implementation, is enough to import it; calling them afterwards fails loudly. The right cure is a
torchvision that fits the installed torch: this is for machines where there is none to be had.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from functools import cache
from typing import Any, Final

import torch

from catransformers.errors import InputError, Problem

#: Set to 1 to allow the stand-ins wherever this package needs open_clip.
ENVIRONMENT: Final = "CATRANSFORMERS_TORCHVISION_STAND_INS"

_OPERATORS: Final = ("nms", "qnms")
_SIGNATURE: Final = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def is_mismatch(error: Exception) -> bool:
    """Whether an import failed because torchvision's compiled operators are not there."""
    return isinstance(error, RuntimeError) and "torchvision::" in str(error)


@cache
def declare_operators() -> torch.library.Library | None:
    """Import torchvision, with its two missing operators declared first if it needs that.

    Returns:
        The library that holds the declarations (they live as long as it does, here as long as the process), or None
        if torchvision imports as it is, and nothing was declared.

    Raises:
        ImportError: if there is no torchvision, or it is broken in another way.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if not is_mismatch(error):
            raise ImportError(f"torchvision cannot be imported: {error}") from error
    else:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        library.define(name + _SIGNATURE)  # type: ignore[no-untyped-call]
    for module in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
        del sys.modules[module]  # what the failed import left behind
    importlib.import_module("torchvision")
    return library


def import_beside_torchvision(name: str, extra: str) -> Any:
    """A package that imports torchvision.

    Args:
        name: the package.
        extra: the command that installs it.

    Raises:
        InputError: if it is not installed, or torchvision does not fit the installed torch.
    """
    if os.environ.get(ENVIRONMENT) == "1" and importlib.util.find_spec("torchvision") is not None:
        declare_operators()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(Problem(name, f"cannot be imported: {error}", hint=extra)) from error
    except RuntimeError as error:
        if not is_mismatch(error):
            raise
        what = f"cannot be imported: the installed torchvision was not built for torch {torch.__version__}"
        hint = f"install the torchvision that belongs to it, from where torch came from, or set {ENVIRONMENT}=1"
        raise InputError(Problem(name, what, hint=hint)) from error
