"""Lazy imports: a heavy library that is loaded when it is first used, not when a module that may need it is.

At run time the name is a stand-in; for type checkers it is the module:

    if TYPE_CHECKING:
        import torch
    else:
        torch = lazy("torch")
"""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import resolve_name
from types import ModuleType
from typing import TYPE_CHECKING, Any

from catransformers.extras import not_installed

if TYPE_CHECKING:
    from inspect import Signature


class _Lazy:
    """Stands in for a module; its direct submodules are found too."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, attribute: str) -> Any:
        module = sys.modules.get(self.__name__) or import_module(self.__name__)
        try:
            return getattr(module, attribute)
        except AttributeError:
            if attribute.startswith("_"):
                raise
            return import_module(f"{self.__name__}.{attribute}")


def lazy(name: str) -> Any:
    """The module `name`, imported when an attribute of it is first asked for.

    Raises:
        ModuleNotFoundError: on that first use, where it is not installed.
    """
    return _Lazy(name)


class CallablePackage(ModuleType):
    """A package that can also be called: `ct.search(…)` runs a study, `ct.search.space` is its module.

    A package becomes one by `sys.modules[__name__].__class__ = CallablePackage` and a name `CALLED`,
    `"module:function"`, whose function is imported at the first call.
    """

    CALLED: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives, see `CALLED`."""
        return self._called()(*args, **kwargs)

    @property
    def __signature__(self) -> Signature:
        from inspect import signature  # noqa: PLC0415 - slow to import, for completion only

        return signature(self._called())

    def _called(self) -> Any:
        try:
            return resolve_name(self.CALLED)
        except ModuleNotFoundError as error:
            raise not_installed(error) or error from error
