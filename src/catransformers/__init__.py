"""catransformers: transformer models and accelerators that together emit the least carbon.

    >>> import catransformers
    >>> catransformers.estimate("ViT-B-16", "cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2")

Names are imported when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catransformers.designs.estimate import Estimate, estimate
    from catransformers.models.loading.storage import load_model as load

__version__ = "0.1.0"
__all__ = ["Estimate", "estimate", "load"]

_LAZY = {
    "Estimate": ("catransformers.designs.estimate", "Estimate"),
    "estimate": ("catransformers.designs.estimate", "estimate"),
    "load": ("catransformers.models.loading.storage", "load_model"),
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
