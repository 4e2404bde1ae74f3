"""Lazy imports: a heavy library that is loaded when it is first used, not when a module that may need it is.

At run time the name is a stand-in; for type checkers it is the module:

    if TYPE_CHECKING:
        import torch
    else:
        torch = lazy("torch")
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _Lazy:
    """Stands in for a module; its direct submodules are found too."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, attribute: str) -> Any:
        module = import_module(self.__name__)
        try:
            found = getattr(module, attribute)
        except AttributeError:
            if attribute.startswith("_"):
                raise
            found = import_module(f"{self.__name__}.{attribute}")
        setattr(self, attribute, found)
        return found


def lazy(name: str) -> Any:
    """The module `name`, imported when an attribute of it is first asked for.

    Raises:
        ModuleNotFoundError: on that first use, where it is not installed.
    """
    return _Lazy(name)
